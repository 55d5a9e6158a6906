"""The released bundles on a small phantom: quick, and enough to notice a release that is wrong.

The floors lie well below what the released models reach. They do not measure quality; the cards do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from acuity.anatomy import Sequence, labels_to_regions
from acuity.imaging.forward_model import downsample_cubic, upsample_cubic
from acuity.imaging.point_spread import PointSpread
from acuity.imaging.regions import mask_box
from acuity.models.bundle import Bundle, load_bundle
from acuity.models.segmentation import segment
from acuity.models.super_resolution import super_resolve
from acuity.research.degradations.volumes import Halved, interpolated, low_resolution
from acuity.research.metrics.image import peak_signal_noise_ratio
from acuity.research.metrics.overlap import dice
from acuity.research.synthetic.phantom import Phantom, make_phantom
from acuity.volume import Volume
from tests.bundles.conftest import REPOSITORY, X4

BUNDLES = REPOSITORY / "bundles"
DICE_FLOOR = 0.8  # in each region
GAIN_FLOOR = {"brain_mri_super_resolution": 1.0}  # dB over tricubic interpolation, 2 mm to 1 mm
MARGINS = ((8, 26), (12, 12), (12, 12))  # voxels round the tumor; unequal, so that a mirrored mask misses it
SWAPS = [(Sequence.T1, Sequence.T1C), (Sequence.T2, Sequence.FLAIR), (Sequence.T1C, Sequence.FLAIR)]


@dataclass(frozen=True)
class Crop:
    """The surroundings of the phantom's tumor."""

    volumes: dict[Sequence, Volume]
    brain: Volume
    truth: NDArray[np.bool_]  # (3, I, J, K): ET, TC, WT


def cut(volume: Volume, box: tuple[slice, ...]) -> Volume:
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [s.start for s in box]
    return replace(volume, array=np.ascontiguousarray(volume.array[box]), affine=affine)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(seed=3, core_ml=8.0, edema_ml=14.0)


@pytest.fixture(scope="module")
def crop(phantom: Phantom) -> Crop:
    tumor = mask_box(phantom.labels.array > 0)
    assert tumor is not None
    box = tuple(slice(s.start - before, s.stop + after) for s, (before, after) in zip(tumor, MARGINS, strict=True))
    return Crop(
        {sequence: cut(volume, box) for sequence, volume in phantom.volumes.items()},
        cut(phantom.brain, box),
        labels_to_regions(phantom.labels.array[box]).astype(bool),
    )


@pytest.fixture(scope="module")
def segmentation() -> Bundle:
    return load_bundle(BUNDLES, "brain_tumor_segmentation")


def regions_found(volumes: Mapping[Sequence, Volume], crop: Crop, bundle: Bundle) -> NDArray[np.bool_]:
    return labels_to_regions(segment(volumes, crop.brain, bundle).labels.array).astype(bool)


def dices(found: NDArray[np.bool_], crop: Crop) -> list[float]:
    return [dice(mask, truth) for mask, truth in zip(found, crop.truth, strict=True)]


@pytest.fixture(scope="module")
def found(crop: Crop, segmentation: Bundle) -> NDArray[np.bool_]:
    return regions_found(crop.volumes, crop, segmentation)


def test_the_tumor_is_found_in_each_region(found: NDArray[np.bool_], crop: Crop) -> None:
    assert min(dices(found, crop)) > DICE_FLOOR


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["left and right", "front and back", "head and feet"])
def test_a_mirrored_mask_would_be_noticed(found: NDArray[np.bool_], crop: Crop, axis: int) -> None:
    assert min(dices(np.flip(found, axis + 1), crop)) < DICE_FLOOR


@pytest.mark.parametrize(("one", "other"), SWAPS)
def test_swapped_channels_would_be_noticed(
    found: NDArray[np.bool_], crop: Crop, segmentation: Bundle, one: Sequence, other: Sequence
) -> None:
    """A release whose channels are in another order scores best on images in that order."""
    swapped = {**crop.volumes, one: crop.volumes[other], other: crop.volumes[one]}
    assert np.mean(dices(regions_found(swapped, crop, segmentation), crop)) < np.mean(dices(found, crop)) - 0.01


def test_weights_of_another_network_would_be_noticed(crop: Crop, segmentation: Bundle) -> None:
    """Of the same architecture, but not trained: nothing else tells them apart."""
    state = segmentation.network.state_dict()
    generator = torch.Generator().manual_seed(0)
    for name, value in state.items():
        if name.endswith("weight") and value.ndim > 1:
            state[name] = torch.randn(value.shape, generator=generator) * value.std()
    other = load_bundle(BUNDLES, "brain_tumor_segmentation")
    other.network.load_state_dict(state)
    assert min(dices(regions_found(crop.volumes, crop, other), crop)) < DICE_FLOOR


@pytest.mark.parametrize("sequence", [Sequence.T1C, Sequence.FLAIR])
def test_super_resolution_gains_over_interpolation(crop: Crop, sequence: Sequence) -> None:
    bundle = load_bundle(BUNDLES, "brain_mri_super_resolution")
    truth = crop.volumes[sequence]
    low = low_resolution(truth)
    sharp = super_resolve(low, bundle.network).volume.array[tuple(slice(n) for n in truth.shape)]
    assert gain(sharp, interpolated(truth, low), truth.array) > GAIN_FLOOR[bundle.name]


@pytest.mark.parametrize(
    "spread",
    [
        PointSpread("kspace"),
        PointSpread("hann"),
        PointSpread("hamming", 1.2),
        PointSpread("box"),
        PointSpread("gaussian", 0.6),
        PointSpread("gaussian", 1.3),
    ],
    ids=str,
)
def test_super_resolution_gains_whatever_the_blur(crop: Crop, spread: PointSpread) -> None:
    """The blur is not told, and the network was trained for another."""
    halved = Halved(spread)
    truth = halved.covered(crop.volumes[Sequence.T1C])
    low = halved(truth)
    sharp = super_resolve(low, load_bundle(BUNDLES, "brain_mri_super_resolution").network).volume.array
    assert gain(sharp, interpolated(truth, low), truth.array) > 0.5


@pytest.mark.parametrize("name", X4)
def test_each_method_gains_over_interpolation_at_x4(phantom: Phantom, name: str) -> None:
    """On one axial slice; and it looks the same way round: a mirrored one would lose."""
    truth = phantom.volumes[Sequence.T2].array[4:148, 8:184, 80] / 1000
    low = downsample_cubic(truth, (4.0, 4.0))
    network = load_bundle(BUNDLES, name).network
    with torch.inference_mode():
        sharp = network(torch.from_numpy(low)[None, None])[0, 0].numpy()
    assert gain(sharp, upsample_cubic(low, (4.0, 4.0), truth.shape), truth) > 0


def gain(preds: NDArray, baseline: NDArray, truth: NDArray) -> float:
    """PSNR over that of the baseline in dB."""
    scale = float(truth.max())
    return peak_signal_noise_ratio(preds, truth, data_range=scale) - peak_signal_noise_ratio(
        baseline, truth, data_range=scale
    )
