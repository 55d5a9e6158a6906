"""Super-resolving volumes: geometry, consistency, and leaving alone what needs nothing."""

import numpy as np
import pytest
import torch
from scipy.ndimage import center_of_mass, gaussian_filter, shift

from acuity.errors import PreparationError
from acuity.imaging.blur import PROFILES
from acuity.imaging.denoising import nyquist_energy
from acuity.imaging.forward_model import downsample_cubic, resize_cubic
from acuity.models.super_resolution import make_consistent, super_resolve
from acuity.volume import Volume

OBLIQUE = np.array([[0.0, -1.6, 1.2, 10.0], [2.0, 0, 0, -20.0], [0, 1.2, 1.6, 30.0], [0, 0, 0, 1]])


def phantom():
    """Ellipsoids of many gray values in an empty field, float32 (64, 72, 56)."""
    rng, shape = np.random.default_rng(3), (64, 72, 56)
    grid = np.stack(np.meshgrid(*(np.arange(n) - n / 2 for n in shape), indexing="ij"), -1)
    image = np.where(((grid / (np.array(shape) * 0.42)) ** 2).sum(-1) < 1, 500.0, 0)
    for _ in range(140):
        center, axes = rng.uniform(-0.25, 0.25, 3) * shape, rng.uniform(1.5, 8, 3)
        image[(((grid - center) / axes) ** 2).sum(-1) < 1] = rng.uniform(200, 1000)
    return image.astype(np.float32)


def acquired(truth, width):
    """SciPy's Gaussian of a full width in measured voxels, then the values halfway between neighbors, at 2 mm."""
    blurred = gaussian_filter(truth, width * 2 / np.sqrt(8 * np.log(2)))
    middle = shift(blurred, -0.5, order=3, mode="nearest")[::2, ::2, ::2]
    return Volume(middle.clip(0).astype(np.float32), np.diag([2.0, 2, 2, 1]))


def error(image, truth):
    return float((image - truth).square().mean())


class Brighten(torch.nn.Module):
    """A generator whose effect is easy to see."""

    def __init__(self, gain):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain))

    def forward(self, image):
        return image * self.gain


class Checkerboard(torch.nn.Module):
    """Adds the pattern that a transposed convolution or a pixel shuffle can leave."""

    def __init__(self, amplitude):
        super().__init__()
        self.amplitude = torch.nn.Parameter(torch.tensor(amplitude))

    def forward(self, image):
        i, j = (torch.arange(n) % 2 for n in image.shape[-2:])
        return torch.where(image > 0.1, image + self.amplitude * (1 - 2 * ((i[:, None] + j) % 2)), image)


class Truth(torch.nn.Module):
    """Gives the slices of a known image, one after the other, whatever it is shown."""

    def __init__(self, slices):
        super().__init__()
        self.slices = torch.nn.Parameter(slices)
        self.next = 0

    def forward(self, image):
        self.next += len(image)
        return self.slices[self.next - len(image) : self.next, None]


def brighten(gain=1.0):
    return Brighten(gain).eval().requires_grad_(False)


def blob(shape, center, affine, width=2.0):
    array = np.zeros(shape, dtype=np.float32)
    array[center] = 1000
    return Volume(gaussian_filter(array, width), affine)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 2.0), (2.0, 2.0, 0.7)])
def test_a_blob_stays_where_it_is_in_millimeters(spacing):
    volume = blob((20, 24, 18), (7, 14, 10), OBLIQUE)
    result = super_resolve(volume, brighten(), spacing=spacing).volume
    assert result.grid.spacing == pytest.approx(spacing)
    before, after = (v.affine @ [*center_of_mass(np.clip(v.array, 0, None)), 1] for v in (volume, result))
    assert np.linalg.norm(before - after) < 0.05


@pytest.mark.parametrize(
    ("spacing", "wanted"),
    [((2.0, 2.0, 2.0), (1.0, 1.0, 1.0)), ((2.0, 2.0, 4.0), (1.0, 1.0, 1.0)), ((4.0, 2.0, 2.0), (1.0, 1.0, 2.0))],
)
def test_what_a_network_makes_up_is_left_out_and_said(spacing, wanted):
    """A brightness that nobody measured; what is left is near interpolation, edges to nothing included."""
    array = gaussian_filter(np.random.default_rng(0).random((24, 28, 20)), 1.2).astype(np.float32) * 400
    array[:8] = 0
    volume = Volume(array, np.diag([*spacing, 1.0]))
    plain = super_resolve(volume, brighten(), spacing=wanted)
    result = super_resolve(volume, brighten(1.3), spacing=wanted)
    assert result.residual > 0.2
    assert result.residual_after < 0.25 * result.residual
    assert result.share < 0.2
    np.testing.assert_allclose(result.volume.array.mean(), plain.volume.array.mean(), rtol=0.03)
    assert result.volume.array.min() >= 0
    described = result.describe_blur()
    assert described["network_share"] == pytest.approx(result.share, abs=1e-3)
    assert [axis is None for axis in described["axes"]] == [a == b for a, b in zip(spacing, wanted, strict=True)]


@pytest.mark.parametrize("width", [0.6, 1.0, 1.4])
def test_a_perfect_network_is_believed_and_a_blurred_one_sharpened_whatever_the_blur(width):
    """The blur is not told. The network knows the truth, or the truth without its finest detail."""
    truth = phantom()
    low = acquired(truth, width)
    measured, bright = low.array, float(np.percentile(low.array[low.array > 0], 99.9))
    fine = torch.from_numpy(truth / bright)
    coarse = torch.from_numpy(np.asarray(measured) / bright)
    plain = resize_cubic(coarse, truth.shape, (0.5, 0.5, 0.5)).clamp_min(0)
    held = make_consistent(fine, plain, coarse, (0.5, 0.5, 0.5))
    assert held.share > 0.8
    assert error(held.volume, fine) < 0.35 * error(plain, fine)
    half = torch.lerp(plain, fine, 0.5)
    assert error(make_consistent(half, plain, coarse, (0.5, 0.5, 0.5)).volume, fine) < error(half, fine)


def test_the_residual_is_the_largest_in_parts_of_the_bright_end():
    volume = Volume(np.full((24, 24, 24), 50, np.float32), np.diag([2.0, 2, 2, 1]))
    result = super_resolve(volume, brighten(1.2))
    # The network brightens twice: in the plane of the slices and across it.
    assert result.residual == pytest.approx(1.2**2 - 1, rel=1e-3)


def test_a_volume_at_its_target_is_not_touched_whatever_its_slice_profile():
    volume = blob((12, 12, 12), (6, 6, 6), np.eye(4))
    cubic, box = (super_resolve(volume, brighten(2.0), slice_profile=p).volume.array for p in ("cubic", "box"))
    np.testing.assert_allclose(cubic, volume.array, atol=1e-3)
    np.testing.assert_array_equal(cubic, box)


def test_outside_the_mask_is_interpolated_only():
    volume = Volume(np.full((40, 40, 40), 100, np.float32), np.diag([2.0, 2, 2, 1]))
    mask = np.zeros(volume.shape, np.uint8)
    mask[18:22, 18:22, 18:22] = 1
    seen = []
    network = brighten()
    network.register_forward_hook(lambda m, i, o: seen.append(o.shape))
    super_resolve(volume, network, mask=volume.with_array(mask))
    assert max(max(shape[-2:]) for shape in seen) <= 2 * (4 + 16)


@pytest.mark.parametrize("axis", range(3))
def test_slices_of_2d_acquisitions_can_have_slice_profiles_only(axis):
    spacing = [1.0, 1.0, 1.0, 1.0]
    spacing[axis] = 4.0
    array = gaussian_filter(np.random.default_rng(0).random((24, 24, 24)), 1) + 0.2
    volume = Volume((100 * array).astype(np.float32), np.diag(spacing))
    found = {profile: super_resolve(volume, brighten(), slice_profile=profile).blurs for profile in ("box", "cubic")}
    for profile, blurs in found.items():
        assert [blur is None for blur in blurs] == [other != axis for other in range(3)]
        assert {spread for _, spread in blurs[axis].members} <= PROFILES or profile == "cubic"
    assert {spread for _, spread in found["cubic"][axis].members} - PROFILES


@pytest.mark.parametrize("fusion", [False, True])
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (2.0, 2.0, 0.5), (0.5, 0.5, 2.0)])
def test_progress_runs_to_one(fusion, spacing):
    done: list[float] = []
    volume = blob((8, 8, 8), (4, 4, 4), np.diag([2.0, 2, 2, 1]))
    super_resolve(volume, brighten(), spacing=spacing, progress=done.append, fusion=fusion)
    assert done == sorted(done)
    assert not done or done[-1] == pytest.approx(1)


def test_two_axes_that_change_do_so_in_one_pass_in_their_plane():
    seen = []
    network = brighten()
    network.register_forward_hook(lambda m, i, o: seen.append(o.shape))
    super_resolve(blob((12, 9, 10), (6, 4, 5), np.diag([4.0, 1, 4, 1])), network)
    assert sum(shape[0] for shape in seen) == 9
    assert {shape[-2:] for shape in seen} == {(48, 40)}


def test_fusion_treats_both_planes_across_the_slices_alike():
    """With axes i and j exchanged it gives the same, exchanged; one plane does not."""

    class Ripple(Brighten):
        """Along the slices' axis, where shrinking cannot see it, as strong as the image is curved across that."""

        def forward(self, image):
            curved = image - torch.nn.functional.avg_pool2d(image, (3, 1), 1, (1, 0))
            return image + self.gain * curved * (1 - 2 * (torch.arange(image.shape[-1]) % 2))

    network = Ripple(1.0).requires_grad_(False)
    affine = np.diag([1.0, 1.0, 4.0, 1.0])
    volume = blob((18, 14, 8), (7, 8, 4), affine)
    turned = Volume(np.ascontiguousarray(volume.array.transpose(1, 0, 2)), affine)
    difference = {}
    for fusion in (False, True):
        a, b = (super_resolve(v, network, fusion=fusion).volume.array for v in (volume, turned))
        difference[fusion] = np.abs(a - b.transpose(1, 0, 2)).max()
    assert difference[True] < 1e-4 * volume.array.max()
    assert difference[False] > 1e-2 * volume.array.max()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "needs an image with signal"),
        *[(value, "1 of the image's 120 voxels hold no finite number") for value in (np.nan, np.inf, -np.inf)],
    ],
)
def test_an_image_without_signal_or_not_finite_is_refused(value, message):
    array = np.zeros((4, 5, 6), np.float32)
    array[1, 2, 3] = value
    with pytest.raises(PreparationError, match=message):
        super_resolve(Volume(array, np.diag([2.0, 2, 2, 1])), brighten())


def test_coarser_than_measured_is_refused():
    with pytest.raises(ValueError, match="coarser"):
        super_resolve(blob((8, 8, 8), (4, 4, 4), np.eye(4)), brighten(), spacing=(2.0, 1.0, 1.0))


def test_noise_that_is_removed_before_is_not_put_back():
    """Rician noise in thick slices along the first axis, which are those that are denoised."""
    rng = np.random.default_rng(0)
    truth = gaussian_filter(rng.standard_normal((8, 48, 48)), (0.5, 6, 6))
    truth = 100 + 30 * truth / np.abs(truth).max()
    noisy = np.hypot(truth + 5 * rng.standard_normal(truth.shape), 5 * rng.standard_normal(truth.shape))
    volume = Volume(noisy.astype(np.float32), np.diag([4.0, 1.0, 1.0, 1.0]))
    error, residual = {}, {}
    for denoising in (None, "before", "after"):
        result = super_resolve(volume, brighten(), denoising=denoising)
        again = downsample_cubic(result.volume.array, (4, 1, 1))
        error[denoising] = np.sqrt(np.mean((again - truth) ** 2))
        residual[denoising] = np.abs(again - volume.array).max() / np.percentile(noisy, 99.9)
    assert error["before"] < 0.5 * error[None]
    assert residual["before"] > 0.05
    assert residual["after"] < residual["before"]  # the noise was measured, so most of it stays
    assert error["before"] < 0.7 * error["after"]


def test_a_checkerboard_of_the_network_is_removed_after_and_not_before():
    """In the plane of the slices, at the frequency that shrinking by two cannot see."""
    array = gaussian_filter(np.random.default_rng(0).random((40, 40, 6)), (3, 3, 1)) + 0.2
    volume = Volume((100 * array).astype(np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))
    network = Checkerboard(0.05).requires_grad_(False)
    energy = {}
    for denoising in (None, "before", "after"):
        result = super_resolve(volume, network, spacing=(1.0, 1.0, 2.0), denoising=denoising)
        energy[denoising] = nyquist_energy(result.volume.array[..., 3])
    clean = nyquist_energy(super_resolve(volume, brighten(), spacing=(1.0, 1.0, 2.0)).volume.array[..., 3])
    assert energy["before"] == pytest.approx(energy[None], rel=0.1)
    assert energy["after"] - clean < 0.2 * (energy[None] - clean)
