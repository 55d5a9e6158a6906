"""Random crops: where they lie, and that they repeat."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import ndimage

from acuity.research.sampling.augmentation import Augmentation
from acuity.research.sampling.patches import Crop, Patches, PreparedCase, Source, draw_center, draw_matrix, take

NOTHING = Augmentation(soften=0, contrast=0, noise=0, missing=0)  # except gain and offset


@pytest.fixture
def case():
    """A brain with a tumor off the middle."""
    image = torch.zeros(4, 40, 44, 36)
    image[:, 12:24, 14:28, 10:20] = torch.rand(4, 12, 14, 10, generator=torch.Generator().manual_seed(0)) / 2 + 0.5
    regions = torch.zeros(3, 40, 44, 36, dtype=torch.uint8)
    regions[:, 15:20, 18:25, 13:17] = 1
    return PreparedCase("phantom", image.half(), regions)


@pytest.mark.parametrize("seed", range(20))
def test_any_crop_is_sampled_linearly_with_0_outside(seed):
    rng = np.random.default_rng(seed)
    volume = torch.randn(2, 20, 24, 16, generator=torch.Generator().manual_seed(seed))
    crop = Crop(rng.uniform(-10, 30, 3), draw_matrix(rng))  # within, across the border and beyond it
    size = (8, 1, 12)
    offsets = np.moveaxis(np.indices(size), 0, -1) - (np.array(size) - 1) / 2
    places = np.moveaxis(crop.center + offsets @ crop.matrix.T, -1, 0)
    expected = [ndimage.map_coordinates(v, places, order=1, mode="grid-constant") for v in volume.numpy()]
    np.testing.assert_allclose(take(volume, crop, size).numpy(), np.stack(expected), atol=1e-4)


def test_tumor_centers_lie_about_the_tumor(case):
    rng = np.random.default_rng(0)
    centers = np.array([draw_center(case, 1.0, rng) for _ in range(50)])
    assert np.abs(centers - np.array([17, 21, 14.5])).max() < 12
    nowhere = PreparedCase("healthy", case.image, torch.zeros_like(case.regions))
    assert np.isfinite(draw_center(nowhere, 1.0, rng)).all()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_tumors_do_not_enhance_as_often_as_told(case, share):
    augmentation = dataclasses.replace(NOTHING, unenhanced=share)
    patches = Patches([Source([case])], (24, 24, 24), tumor_share=1.0, augmentation=augmentation)
    batch = patches.draw(60, np.random.default_rng(0))
    enhancing, whole_tumor = batch.target[:, 0].flatten(1).any(dim=1), batch.target[:, 2].flatten(1).any(dim=1)
    assert (enhancing & ~whole_tumor).sum() == 0
    assert (~enhancing & whole_tumor).sum() / whole_tumor.sum() == pytest.approx(share, abs=0.15 * (0 < share < 1))


def test_turned_patches_lie_in_each_plane_as_often():
    """The patch's slices are those across the axis that its third one follows."""
    across = []
    for n in range(300):
        matrix = draw_matrix(np.random.default_rng(n), turned=True)
        across.append(int(np.abs(matrix[:, 2]).argmax()))
        lengths = np.linalg.norm(matrix, axis=0)
        assert (lengths > 0.8).all() and (lengths < 1.2).all()
    assert np.bincount(across) / 300 == pytest.approx([1 / 3] * 3, abs=0.08)
    assert {int(np.abs(draw_matrix(np.random.default_rng(n))[:, 2]).argmax()) for n in range(100)} == {2}


def test_patches_are_turned_if_told():
    """A brain whose slices along i are of one value each."""
    image = torch.arange(1.0, 41).reshape(1, 40, 1, 1).expand(4, -1, 40, 40).half()
    regions = torch.zeros(3, 40, 40, 40, dtype=torch.uint8)
    regions[:, 19:21, 19:21, 19:21] = 1
    ramp = PreparedCase("ramp", image, regions)

    def varies_across(turned):
        patches = Patches([Source([ramp])], (2, 2, 3), tumor_share=1.0, augmentation=NOTHING, turned=turned)
        drawn = [patches.draw(1, np.random.default_rng(n)).image[0, 0] for n in range(60)]
        return np.mean([float((p[..., 2] - p[..., 0]).abs().mean()) > 1.5 for p in drawn])

    assert varies_across(False) == 0
    assert 0.15 < varies_across(True) < 0.55


def test_a_batch_depends_on_its_seed_alone(case):
    patches = Patches([Source([case])], (8, 8, 1))
    first, again, other = (patches.draw(2, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first.image.shape == (2, 4, 8, 8, 1)
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.target, again.target)
    assert not torch.equal(first.image, other.image)


def gray(value: float) -> PreparedCase:
    """A brain of one value all over."""
    return PreparedCase(f"{value:g}", torch.full((4, 12, 12, 12), value).half(), torch.zeros((3, 12, 12, 12)))


def test_each_source_gets_its_share_of_the_patches():
    sources = [Source([gray(1)], 0.2), Source(lambda rng: gray(10), 0.3), Source([gray(100)], 0.5)]
    patches = Patches(sources, (2, 2, 2), augmentation=NOTHING)
    rng = np.random.default_rng(0)
    means = [float(patches.draw(1, rng).image.mean()) for _ in range(300)]
    shares = np.bincount(np.log10(means).round().astype(int)) / 300  # gain and offset always vary
    np.testing.assert_allclose(shares, [0.2, 0.3, 0.5], atol=0.08)


def test_cases_are_drawn_by_their_weights():
    source = Source([gray(1), gray(2), gray(3)], weights=[0.2, 0.7, 0.1])
    drawn = Counter(source.draw(np.random.default_rng(n)).name for n in range(400))
    assert [drawn[name] / 400 for name in "123"] == pytest.approx([0.2, 0.7, 0.1], abs=0.07)


def test_a_function_is_called_once_for_a_batch():
    """To make a brain takes longer than a step of a 2D network."""
    made = [gray(1)]
    patches = Patches([Source(lambda rng: made.pop(), 0.9), Source([gray(2)], 0.1)], (2, 2, 2))
    assert len(patches.draw(8, np.random.default_rng(0)).image) == 8


def test_a_source_smaller_than_the_patch_is_padded_with_zeros():
    cube = gray(1)
    batch = Patches([Source([cube])], (40, 40, 40), augmentation=NOTHING).draw(4, np.random.default_rng(0))
    inside = (batch.image != 0).flatten(1).float().mean(dim=1)
    assert ((inside > 0) & (inside < 12**3 * 1.6 / 40**3)).all()


def test_shares_that_do_not_sum_to_1_are_refused():
    with pytest.raises(ValueError, match="the shares of the sources sum to 0.9"):
        Patches([Source([gray(1)], 0.4), Source([gray(2)], 0.5)], (2, 2, 2))
