"""Brains without a tumor: which half is free, where the plane between the halves lies, and what is mirrored."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from acuity.anatomy import Sequence, labels_to_regions
from acuity.research.sampling.patches import PreparedCase
from acuity.research.synthetic import tumor_free
from acuity.research.synthetic.phantom import make_phantom
from acuity.research.synthetic.tumor_free import midplane, mirrored_half, mirrored_volumes, tumor_free_brains
from acuity.volume import Volume

SHAPE = (64, 40, 30)
MIDDLE = 30.0  # the plane's i; the box of 64 has its own middle at 31.5


def brain(middle: float = MIDDLE) -> NDArray[np.bool_]:
    """An ellipsoid with its plane of symmetry at i = ``middle``."""
    i, j, k = np.indices(SHAPE)
    return ((i - middle) / 26) ** 2 + ((j - 19.5) / 18) ** 2 + ((k - 14.5) / 13) ** 2 < 1


def image(middle: float = MIDDLE, seed: int = 0) -> NDArray[np.float32]:
    """Symmetric but for noise, as hemispheres are."""
    i, j, k = np.indices(SHAPE)
    symmetric = 400 + 150 * np.cos(np.abs(i - middle) / 3) * np.sin(j / 4) + 50 * np.cos(k / 3)
    noise = 20 * np.random.default_rng(seed).standard_normal(SHAPE)
    return np.where(brain(middle), symmetric + noise, 0).astype(np.float32)


def labels(first: int, last: int) -> NDArray[np.uint8]:
    """Tumor in the columns ``first`` to ``last``."""
    found = np.zeros(SHAPE, np.uint8)
    found[first : last + 1, 15:22, 10:18] = 2
    found[first : last + 1, 17:19, 12:15] = 4
    return found


def prepared(first: int, last: int, middle: float = MIDDLE) -> PreparedCase:
    scores = np.stack([np.where(brain(middle), image(middle, seed) / 100 - 4, 0) for seed in range(4)])
    regions = labels_to_regions(labels(first, last)).astype(np.uint8)
    return PreparedCase("case", torch.from_numpy(scores.astype(np.float16)), torch.from_numpy(regions))


@pytest.mark.parametrize("total", [60, 61, 56, 70])
def test_the_plane_of_a_shifted_brain_is_found(total):
    """On a voxel or between two, off the middle of the box."""
    assert midplane(torch.from_numpy(image(total / 2))) == total
    # Half as many voxels of twice the size reach as far.
    assert midplane(torch.from_numpy(image(30.5)[::2]), spacing=2.0) == 30


@pytest.mark.parametrize(("first", "last", "free"), [(8, 20, slice(31, 57)), (40, 50, slice(4, 30))])
def test_a_mirrored_half_is_symmetric_and_healthy(first, last, free):
    case = prepared(first, last)
    half = mirrored_half(case)
    assert half is not None and half.name == "case, mirrored"
    assert half.image.shape == case.image.shape and half.image.dtype == torch.float16
    assert not half.regions.any() and case.regions.any()
    # i + i' = 60: symmetric, and nothing where the mirror image lies outside.
    assert torch.equal(half.image[:, :61], half.image[:, :61].flip(1)) and not half.image[:, 61:].any()
    # The free side's values are the case's, scaled so that the whole has the case's mean and deviation.
    for mirrored, original in zip(half.image.float(), case.image.float(), strict=True):
        inside = original[free] != 0
        assert torch.equal(mirrored[free] != 0, inside)
        likeness = torch.corrcoef(torch.stack([mirrored[free][inside], original[free][inside]]))[0, 1]
        assert float(likeness) > 0.9999
        values, wanted = mirrored[mirrored != 0], original[original != 0]
        assert float(values.mean()) == pytest.approx(float(wanted.mean()), abs=5e-3)
        assert float(values.std()) == pytest.approx(float(wanted.std()), abs=5e-3)
    assert torch.equal(half.image[:, 30] != 0, case.image[:, 30] != 0)


@pytest.mark.parametrize(("first", "last"), [(10, 50), (33, 45), (10, 27)])
def test_none_of_a_tumor_in_both_halves_or_near_the_plane(first, last):
    assert mirrored_half(prepared(first, last)) is None


def test_a_tumor_just_off_the_plane_leaves_a_half():
    assert mirrored_half(prepared(35, 45)) is not None and mirrored_half(prepared(10, 25)) is not None


def volumes(axis: int, sign: float, first: int, last: int) -> tuple[dict[Sequence, Volume], Volume]:
    """Whole images, the brain near their low end, the patient's left and right along ``axis``."""
    affine = np.eye(4)
    affine[:3, :3] = np.roll(np.diag([sign, 1.0, 1.0]), axis, axis=1)
    affine[:3, 3] = [5.0, -8.0, 2.0]

    def laid(array: NDArray) -> NDArray:
        wide = np.pad(array, ((0, 20), (3, 3), (2, 2)))
        return np.ascontiguousarray(wide.transpose(np.roll(range(3), axis)))

    images = {sequence: Volume(laid(image(seed=n)), affine) for n, sequence in enumerate(Sequence)}
    return images, Volume(laid(labels(first, last)), affine)


@pytest.mark.parametrize(("axis", "sign"), [(0, 1.0), (0, -1.0), (1, 1.0), (2, -1.0)])
def test_whole_volumes_are_mirrored_along_the_patients_left_and_right(axis, sign):
    images, truth = volumes(axis, sign, 8, 20)
    assert np.abs(truth.grid.direction[0]).argmax() == axis
    mirrored = mirrored_volumes(images, truth)
    assert mirrored is not None and list(mirrored) == list(Sequence)
    for sequence, volume in mirrored.items():
        assert volume.grid.same_as(images[sequence].grid) and volume.array.dtype == np.float32
        found, before = (np.moveaxis(v.array, axis, 0) for v in (volume, images[sequence]))
        np.testing.assert_array_equal(found[:61], found[60::-1])
        np.testing.assert_array_equal(found[30:], before[30:])
        assert found[35:50].any() and not found[61:].any()
    assert mirrored_volumes(*volumes(axis, sign, 10, 50)) is None


def test_a_half_wider_than_the_other_is_not_cut_at_the_brains_box():
    """What the tumor's side has lost at the surface, the mirror image of the other one brings back."""
    images, truth = volumes(0, 1.0, 20, 24)
    for volume in images.values():
        volume.array[:10] = 0
    mirrored = mirrored_volumes(images, truth)
    assert mirrored is not None
    for sequence, volume in mirrored.items():
        np.testing.assert_array_equal(volume.array[:61], volume.array[60::-1])
        np.testing.assert_array_equal(volume.array[30:], images[sequence].array[30:])
        assert volume.array[6].any()


def test_brains_to_train_on_hold_no_tumor(monkeypatch):
    monkeypatch.setattr(tumor_free, "make_phantom", partial(make_phantom, spacing_mm=8.0))
    brains = tumor_free_brains([prepared(8, 20), prepared(10, 50)], phantoms=2)
    assert [case.name for case in brains] == ["case, mirrored", "phantom 1000", "phantom 1001"]
    assert not any(case.regions.any() for case in brains) and all(case.image.any() for case in brains)
    assert not torch.equal(brains[1].image, brains[2].image)
