"""Augmentation: each change against a judge of its own, and that draws repeat."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats

from acuity.research.sampling.augmentation import (
    HOSPITAL,
    STANDARD,
    Augmentation,
    at_resolution,
    blurred,
    change_contrast,
    depth_within,
    in_thick_slices,
    patchy,
    perturb,
    soften,
    with_bias_field,
    with_rician_noise,
    with_rim,
    without_enhancement,
)

NOTHING = Augmentation(soften=0, contrast=0, noise=0, missing=0)


@pytest.fixture
def image():
    """A brain of noise with a border of zeros."""
    result = torch.zeros(4, 24, 28, 20)
    result[:, 4:20, 4:24, 4:16] = torch.randn(4, 16, 20, 12, generator=torch.Generator().manual_seed(0))
    return result


def test_softening_keeps_the_mean_and_loses_detail(image):
    image = image[:, 4:20, 4:24, 4:16]
    for factors, share in (((2.0, 2.0, 2.0), 1.0), ((2.0, 2.0, 2.0), 0.4), ((1.0, 1.0, 4.0), 0.6)):
        result = soften(image, factors, share)
        assert result.shape == image.shape
        assert result.mean().item() == pytest.approx(image.mean().item(), abs=0.02)
        assert result.std() < 0.95 * image.std()


def test_contrast_changes_between_the_ends_alone():
    values = torch.linspace(-2, 3, 50)
    changed = change_contrast(values, 1.6)
    assert changed.mean().item() == pytest.approx(values.mean().item(), abs=1e-5)
    assert changed.std().item() == pytest.approx(values.std().item(), rel=1e-5)
    assert (changed.diff() > 0).all()  # order is kept
    assert changed.diff()[0] < 0.2 * changed.diff()[-1]  # dark grays move together
    torch.testing.assert_close(change_contrast(values, 1.0), values, atol=1e-5, rtol=0)
    constant = torch.full((9,), 0.7)
    assert change_contrast(constant, 2.0) is constant


def test_coarser_resolution_is_pillows_bicubic_there_and_back():
    plane = np.random.default_rng(0).uniform(0, 1, (48, 64)).astype(np.float32)
    low = Image.fromarray(plane).resize((32, 24), Image.Resampling.BICUBIC)
    wanted = np.asarray(low.resize((64, 48), Image.Resampling.BICUBIC))
    found = at_resolution(torch.from_numpy(plane)[None, :, :, None], (2.0, 2.0, 2.0))[0, :, :, 0].numpy()
    inner = (slice(8, -8), slice(8, -8))  # Pillow has another edge
    np.testing.assert_allclose(found[inner], wanted[inner], atol=1e-5)


def test_no_coarser_resolution_changes_nothing(image):
    torch.testing.assert_close(at_resolution(image, (1.0, 0.5, 0.8)), image)


def test_thick_slices_are_means_along_one_axis():
    ramp = torch.arange(24.0)[:, None, None] + 100 * torch.arange(4.0)[None, :, None]
    found = in_thick_slices(ramp.expand(2, 24, 4, 3), 0, 4.0)
    # A ramp's means lie on the ramp, and cubic interpolation keeps it but for the ends.
    torch.testing.assert_close(found[:, 6:-6], ramp.expand(2, 24, 4, 3)[:, 6:-6], atol=1e-3, rtol=0)
    spikes = torch.zeros(1, 24, 1, 1)
    spikes[0, ::4] = 1
    torch.testing.assert_close(in_thick_slices(spikes, 0, 4.0), torch.full_like(spikes, 0.25), atol=1e-5, rtol=0)


def test_thicker_slices_and_stronger_blur_lose_more(image):
    for change in (lambda x, n: in_thick_slices(x, 2, n), blurred, lambda x, n: at_resolution(x, (n, n, n))):
        spread = [change(image, n).std().item() for n in (1.2, 2.0, 3.0)]
        assert image.std().item() > spread[0] > spread[1] > spread[2]


def test_blurring_mixes_no_sequences(image):
    image[0] = 0
    result = blurred(image, 1.0)
    assert (result[0] == 0).all()
    assert result.sum().item() == pytest.approx(image.sum().item(), rel=1e-3)


def test_a_constant_bias_field_scales_what_lies_above_the_darkest():
    channel = torch.tensor([-2.0, -1.0, 3.0]).reshape(3, 1, 1)
    coefficients = np.zeros((3, 3, 3))
    coefficients[0, 0, 0] = np.log(2)
    torch.testing.assert_close(with_bias_field(channel, coefficients).ravel(), torch.tensor([-2.0, 0.0, 8.0]))


def test_a_bias_field_is_smooth_and_follows_its_axes():
    channel = torch.ones(12, 10, 8)
    channel[0, 0, 0] = 0  # what intensities count from
    coefficients = np.zeros((3, 3, 3))
    coefficients[0, 1, 0] = 0.3  # rises linearly along j
    field = with_bias_field(channel, coefficients)[1:].log()
    torch.testing.assert_close(field, torch.linspace(-0.3, 0.3, 10)[None, :, None].expand(11, 10, 8))


def test_rician_noise_has_the_moments_of_the_rice_distribution():
    channel = torch.full((40, 40, 40), -1.0)
    channel[0, 0, 0] = -2.0  # the darkest of the brain, where the signal is 0
    sigma = 0.8
    noisy = with_rician_noise(channel, torch.ones_like(channel, dtype=torch.bool), sigma, 0) + 2
    expected = stats.rice(1 / sigma, scale=sigma)
    assert noisy.mean().item() == pytest.approx(expected.mean(), abs=0.01)
    assert noisy.std().item() == pytest.approx(expected.std(), abs=0.01)


def test_a_wrong_mask_is_wrong_near_its_border(image):
    brain = image[0] != 0
    distance_out = ndimage.distance_transform_edt(~brain.numpy())
    rim = patchy(depth_within(~brain, 3.0), 0)
    assert rim.any()
    assert not (rim & brain).any()
    assert distance_out[rim.numpy()].max() <= 4
    kept = with_rim(image, rim, np.array([1.0, 2, 3, 4]), 0)
    torch.testing.assert_close(kept[:, ~rim], image[:, ~rim])
    np.testing.assert_allclose(kept[:, rim].mean(dim=1), [1, 2, 3, 4], atol=0.15)
    bitten = patchy(depth_within(brain, 3.0), 0)
    assert bitten.any()
    assert not (bitten & ~brain).any()
    assert not depth_within(torch.ones_like(brain), 3.0).any()  # a crop inside the brain has no border


@pytest.mark.parametrize("augmentation", [STANDARD, HOSPITAL, dataclasses.replace(HOSPITAL, rim=1.0)])
@pytest.mark.parametrize("spacing", [1.0, 2.0])
def test_draws_repeat_vary_and_leave_their_input(image, augmentation, spacing):
    before = image.clone()
    results = [perturb(image, np.random.default_rng(s), augmentation, spacing=spacing) for s in (0, 0, 1, 2, 3, 4)]
    torch.testing.assert_close(image, before)
    assert torch.equal(results[0], results[1])
    assert all(not torch.equal(a, b) for a, b in zip(results[1:], results[2:], strict=False))
    assert all(r.isfinite().all() and r.shape == image.shape and r.dtype == torch.float32 for r in results)


@pytest.fixture
def enhancing(image):
    """T1c is twice T1 and 1 but where the tumor enhances, a cube of 5 voxels about (10, 12, 9); its regions."""
    regions = torch.zeros(3, *image.shape[1:])
    for region, width in zip(regions, (2, 3, 5), strict=True):
        region[10 - width : 11 + width, 12 - width : 13 + width, 9 - width : 10 + width] = 1
    image[1] = (2 * image[0] + 1 + 3 * regions[0]) * (image[0] != 0)
    return image, regions


def test_a_tumor_without_enhancement_looks_as_in_t1(enhancing):
    image, regions = enhancing
    before = image.clone()
    changed, without = without_enhancement(image, regions)
    torch.testing.assert_close(image, before)
    torch.testing.assert_close(changed[[0, 2, 3]], image[[0, 2, 3]])
    inside = regions[0] > 0
    np.testing.assert_allclose(changed[1][inside], 2 * image[0][inside] + 1, atol=0.35)  # it was 3 more
    far = torch.from_numpy(ndimage.distance_transform_edt(~inside.numpy()) > 12)
    assert torch.equal(changed[1][far], image[1][far])
    assert not without[0].any()
    assert torch.equal(without[1:], regions[1:])
    assert regions[0].any()


def test_what_does_not_enhance_or_has_no_tissue_round_it_stays(enhancing):
    image, regions = enhancing
    flat = torch.stack([torch.zeros_like(regions[0]), *regions[1:]])
    assert without_enhancement(image, flat)[0] is image
    everywhere = torch.stack([regions[0], regions[1], torch.ones_like(regions[2])])
    assert without_enhancement(image, everywhere)[1] is everywhere


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Augmentation) if f.name != "unenhanced"])
def test_each_change_is_off_at_0_and_on_at_1(image, name):
    """Beside gain and offset, which are an affine function of each channel."""

    def is_affine(augmentation):
        result = perturb(image, np.random.default_rng(3), augmentation)
        inside = (image[0] != 0) & (result != 0).any(dim=0)
        if not torch.equal((result != 0).any(dim=0), image[0] != 0):
            return False
        return all(
            abs(np.corrcoef(a[inside], b[inside])[0, 1]) > 0.99999 if b.any() else False
            for a, b in zip(image.numpy(), result.numpy(), strict=True)
        )

    assert is_affine(NOTHING)
    assert not is_affine(dataclasses.replace(NOTHING, **{name: 1.0}))


def test_sequences_are_missing_as_often_as_told_and_flair_twice_as_often_as_another(image):
    augmentation = dataclasses.replace(NOTHING, missing=0.4, two_missing=0.3, three_missing=0.2)
    results = [perturb(image, np.random.default_rng(s), augmentation) for s in range(400)]
    lost = np.array([(result == 0).all(dim=(1, 2, 3)).numpy() for result in results])
    shares = np.bincount(lost.sum(axis=1), minlength=4) / len(lost)
    np.testing.assert_allclose(shares, [0.1, 0.4, 0.3, 0.2], atol=0.07)
    np.testing.assert_allclose(lost[lost.sum(axis=1) == 1].mean(axis=0), [0.2, 0.2, 0.2, 0.4], atol=0.1)
    assert not any(result[:, image[0] == 0].any() for result in results)


def test_a_slice_is_perturbed_too(image):
    for seed in range(20):
        result = perturb(image[..., 8:9], np.random.default_rng(seed), HOSPITAL)
        assert result.shape == (4, 24, 28, 1)
        assert result.isfinite().all()


def test_changes_that_exclude_each_other_cannot_be_certain_together():
    with pytest.raises(ValueError, match="soften, coarse, thick, blur exclude each other, but sum to 1.2"):
        Augmentation(soften=0.4, coarse=0.8)
