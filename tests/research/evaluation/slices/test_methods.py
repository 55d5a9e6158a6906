"""Interpolations on one grid, and networks from bundles and files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from acuity.errors import BundleError, BundleNotFoundError, DataError
from acuity.networks.srrescycgan import SRResCycGAN
from acuity.networks.srresnet import SRResNet
from acuity.research.evaluation.slices.methods import (
    bundle_methods,
    denoised,
    interpolations,
    weights_method,
    with_denoising,
)
from tests.research.evaluation.bundles import add_bundle, add_convolution

CPU = torch.device("cpu")


@pytest.mark.parametrize("scale", [2, 4])
@torch.inference_mode()
def test_the_outer_faces_coincide(scale):
    """A ramp stays the same ramp: new pixel n lies at (n + 0.5) / scale - 0.5; away from the edges."""
    lr = torch.arange(24.0).expand(24, 24)[None, None] / 24
    place = ((np.arange(24 * scale) + 0.5) / scale - 0.5) / 24
    inside = slice(6 * scale, -6 * scale)
    for method in interpolations(scale):
        sr = method(lr)
        assert sr.shape == (1, 1, 24 * scale, 24 * scale)
        # Nearest is at most half a pixel off; Lanczos's lobes do not quite keep a slope.
        tolerance = {"nearest": 0.5 / 24, "Lanczos": 0.02 / 24}.get(method.name, 1e-6)
        np.testing.assert_allclose(sr[0, 0, 30, inside], place[inside], atol=tolerance)
        np.testing.assert_allclose(sr.mT[0, 0, inside, 30], place[inside], atol=tolerance)


@torch.inference_mode()
def test_interpolations_are_pillows():
    rng = np.random.default_rng(0)
    image = rng.random((20, 28), dtype=np.float32)
    found = {method.name: method(torch.from_numpy(image)[None, None])[0, 0].numpy() for method in interpolations(4)}
    for name in ("nearest", "bilinear", "bicubic", "Lanczos"):
        theirs = np.array(Image.fromarray(image).resize((112, 80), Image.Resampling[name.upper()]))
        # At the edges Pillow drops the taps outside, torch repeats the last pixel.
        np.testing.assert_allclose(found[name][8:-8, 8:-8], theirs[8:-8, 8:-8], atol=1e-5)


@torch.inference_mode()
def test_bundles_of_the_scale_take_part(tmp_path):
    network = add_bundle(tmp_path, "brain_mri_sr_x4_small", scale=4).eval()
    add_bundle(tmp_path, "brain_mri_sr_x2_other", scale=2)
    add_convolution(tmp_path, "no_scale")
    (method,) = bundle_methods(tmp_path, 4, CPU)
    assert (method.name, method.source, method.origin["version"]) == ("small", "bundle", "0.0.1")
    lr = torch.rand(1, 1, 8, 12)
    torch.testing.assert_close(method(lr), network(lr))
    (other,) = bundle_methods(tmp_path, 2, CPU)
    assert other(lr).shape == (1, 1, 16, 24)


def test_bundles_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(BundleNotFoundError, match="holds no bundle that enlarges by 4"):
        bundle_methods(tmp_path, 4, CPU)
    add_bundle(tmp_path, "small", scale=2)
    with pytest.raises(BundleNotFoundError, match="holds no bundle that enlarges by 4"):
        bundle_methods(tmp_path, 4, CPU)
    torch.save(SRResNet(features=8, blocks=1).state_dict(), tmp_path / "small" / "models" / "model.pt")
    with pytest.raises(BundleError, match="The bundle small cannot be used"):
        bundle_methods(tmp_path, 2, CPU)


@torch.inference_mode()
def test_weights_are_recognized(tmp_path):
    torch.manual_seed(0)
    network = SRResNet(features=4, blocks=1).eval()
    torch.save(network.state_dict(), tmp_path / "gray.pt")
    method = weights_method("mine", tmp_path / "gray.pt", 4, CPU)
    assert (method.name, method.source, method.origin["architecture"]) == ("mine", "weights", "SRResNet")
    lr = torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(method(lr), network(lr))
    torch.save(SRResNet(3, 3, features=4, blocks=1).state_dict(), tmp_path / "color.pt")
    assert weights_method("theirs", tmp_path / "color.pt", 4, CPU).source == "natural images"


@torch.inference_mode()
def test_srrescycgan_is_given_the_interpolated_image(tmp_path):
    torch.manual_seed(0)
    network = SRResCycGAN(features=4, blocks=2).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    method = weights_method("cycle", tmp_path / "weights.pt", 4, CPU)
    lr = torch.rand(1, 1, 8, 8)
    bilinear = next(m for m in interpolations(4) if m.name == "bilinear")
    torch.testing.assert_close(method(lr), network(bilinear(lr)))


def test_weights_of_another_scale_are_refused(tmp_path):
    torch.save(SRResNet(features=4, blocks=1, scale=2).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(DataError, match="enlarges by 2, not by 4"):
        weights_method("mine", tmp_path / "weights.pt", 4, CPU)


def test_denoising_is_before_or_after():
    torch.manual_seed(0)
    lr = (0.5 + 0.1 * torch.randn(1, 1, 32, 32)).clamp_min(0)
    bicubic = interpolations(2)[2]
    plain, before = with_denoising([bicubic], "before")
    _, after = with_denoising([bicubic], "after")
    names = [method.name for method in (plain, before, after)]
    assert names == ["bicubic", "bicubic, denoised before", "bicubic, denoised after"]
    torch.testing.assert_close(plain(lr), bicubic.upscale(lr))
    torch.testing.assert_close(before(lr), bicubic.upscale(denoised(lr)))
    torch.testing.assert_close(after(lr), denoised(bicubic.upscale(lr)))
    assert before(lr).std() < 0.8 * plain(lr).std()
