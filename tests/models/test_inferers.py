"""The MONAI inferers of bundles do what the library does, on volumes in NIfTI's axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import gaussian_filter

from acuity.models import inferers
from acuity.models.inferers import CoarseToFineInferer, SuperResolutionInferer
from acuity.models.segmentation import at_working_spacing, coarse_to_fine
from acuity.models.super_resolution import SuperResolution, super_resolve
from acuity.networks.cascade import CoarseToFine
from acuity.networks.equiunet import EquiUnet
from acuity.networks.initialization import start_as_interpolation
from acuity.networks.srresnet import SRResNet
from acuity.volume import RAS_LPS, Volume


@pytest.mark.parametrize(
    "options",
    [{}, {"denoising": "before"}, {"denoising": "after"}, {"fusion": True}, {"slice_profile": "box"}],
)
def test_options_reach_the_library(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []

    def listened(volume: Volume, network: torch.nn.Module, **given: Any) -> SuperResolution:
        told.append({name: value for name, value in given.items() if name != "progress"})
        return super_resolve(volume, network, **given)

    monkeypatch.setattr(inferers, "super_resolve", listened)
    torch.manual_seed(0)
    network = SRResNet(features=4, blocks=1, scale=4).eval().requires_grad_(False)
    start_as_interpolation(network)
    rng = np.random.default_rng(0)
    signal = 100 + 80 * gaussian_filter(rng.standard_normal((16, 14, 8)), 1.5)
    array = np.abs(signal + 8 * rng.standard_normal(signal.shape)).astype(np.float32)
    affine = np.array([[0, -1.5, 0, 4], [1.2, 0, 0, -3], [0, 0, 4, 7], [0, 0, 0, 1.0]])  # RAS
    result = SuperResolutionInferer((1.0, 1.0, 2.0), **options)(
        MetaTensor(torch.from_numpy(array)[None, None], affine=torch.from_numpy(affine)[None]), network
    )
    volume = Volume(array, RAS_LPS @ affine)
    expected = super_resolve(volume, network, spacing=(1.0, 1.0, 2.0), **options).volume
    np.testing.assert_allclose(result.numpy()[0, 0], expected.array, atol=1e-3)
    np.testing.assert_allclose(RAS_LPS @ result.affine.numpy()[0], expected.affine, atol=1e-9)
    default = {"spacing": (1.0, 1.0, 2.0), "denoising": None, "fusion": False, "slice_profile": "cubic"}
    assert told == [default | options]


def test_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="one volume of one channel"):
        SuperResolutionInferer()(MetaTensor(torch.ones(2, 1, 4, 4, 4)), torch.nn.Identity())


def test_images_of_one_millimeter_are_seen_as_they_are_and_others_at_one_millimeter() -> None:
    network = CoarseToFine(EquiUnet(width=16), EquiUnet(width=16)).eval()
    image = torch.randn(1, 4, 16, 16, 16)
    turned = torch.tensor([[0.0, 0, 1, 3], [-1, 0, 0, 5], [0, 1, 0, 7], [0, 0, 0, 1]], dtype=torch.float64)
    with torch.inference_mode():
        logits = CoarseToFineInferer()(MetaTensor(image, affine=turned[None]), network)
        torch.testing.assert_close(logits.as_tensor()[0], coarse_to_fine(image[0], network))
    for spacing in ((2.0, 2.0, 2.0), (1.0, 1.0, 3.0)):
        affine = turned @ torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
        with torch.inference_mode():
            logits = CoarseToFineInferer()(MetaTensor(image, affine=affine[None]), network)
            expected = at_working_spacing(lambda brain: coarse_to_fine(brain, network), image[0], spacing)
        torch.testing.assert_close(logits.as_tensor()[0], expected)


def test_what_is_no_brain_has_a_probability_of_zero() -> None:
    network = CoarseToFine(EquiUnet(width=16), EquiUnet(width=16)).eval()
    image = torch.zeros(1, 4, 20, 20, 20)
    image[..., 2:18, 3:19, 1:17] = torch.randn(16, 16, 16)
    with torch.inference_mode():
        logits = CoarseToFineInferer()(MetaTensor(image, affine=torch.eye(4)[None]), network).as_tensor()
    brain = (image[0] != 0).any(dim=0)
    assert (torch.sigmoid(logits)[0][:, ~brain] == 0).all()
    assert (torch.sigmoid(logits)[0][:, brain] > 0).all()
    with pytest.raises(ValueError, match="image 1 is 0 everywhere"):
        CoarseToFineInferer()(MetaTensor(torch.zeros_like(image), affine=torch.eye(4)[None]), network)
