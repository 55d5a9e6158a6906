"""Features of voxels: against closed forms in mm, on grids that lie in any way."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from acuity.anatomy import Sequence
from acuity.research.forest.features import FEATURES, voxel_features
from acuity.volume import Volume
from tests.dicom_builder import oblique_affine


def volume(array, affine):
    return Volume(np.asarray(array, np.float32), affine)


def positions(brain):
    """(I, J, K, 3) in mm from the middle of the grid."""
    indices = np.stack(np.meshgrid(*map(np.arange, brain.shape), indexing="ij"), axis=-1)
    return (indices - (np.array(brain.shape) - 1) / 2) @ brain.affine[:3, :3].T


def four(array):
    """The image as FLAIR, nothing as the other sequences."""
    return np.stack([np.zeros_like(array)] * 3 + [array]).astype(np.float32)


def test_derivatives_of_a_quadratic_are_those_of_calculus():
    """Gaussian windows leave a quadratic's derivatives as they are, and differences are exact on it."""
    brain = volume(np.ones((61, 41, 25)), oblique_affine((0.8, 1.3, 2.5)))
    x = positions(brain)
    hessian = np.array([[0.03, 0.01, 0.0], [0.01, -0.02, 0.004], [0.0, 0.004, 0.008]])
    slope = np.array([0.2, -0.1, 0.3])
    image = 0.5 * np.einsum("...a,ab,...b", x, hessian, x) + x @ slope
    voxels = np.array([[30, 20, 12], [34, 18, 13], [27, 22, 11]])
    at = x[tuple(voxels.T)]
    for scale in (2, 4):
        names = [f"FLAIR_{kind}_{scale}mm" for kind in ("gradient", "laplacian", "hessian1", "hessian2", "hessian3")]
        found = voxel_features(four(image), brain, voxels, names)
        np.testing.assert_allclose(found[:, 0], np.linalg.norm(at @ hessian + slope, axis=1), rtol=1e-3)
        np.testing.assert_allclose(found[:, 1], np.trace(hessian), atol=2e-4)
        np.testing.assert_allclose(found[:, 2:], np.tile(np.linalg.eigvalsh(hessian), (3, 1)), atol=2e-4)


def test_means_and_deviations_are_those_of_a_gaussian_window_in_mm():
    """Over a ramp the mean is the value, and the deviation that of the window: slope times scale."""
    brain = volume(np.ones((61, 41, 25)), oblique_affine((0.8, 1.3, 2.5)))
    image = positions(brain) @ np.array([0.06, 0.0, 0.08])
    voxels = np.array([[30, 20, 12], [33, 21, 11]])
    found = voxel_features(four(image), brain, voxels, ["FLAIR_mean_4mm", "FLAIR_deviation_4mm", "FLAIR_intensity"])
    np.testing.assert_allclose(found[:, 0], found[:, 2], atol=1e-4)
    np.testing.assert_allclose(found[:, 1], 0.1 * 4, rtol=0.03)  # windows end at three deviations
    np.testing.assert_allclose(found[:, 2], image[tuple(voxels.T)], rtol=1e-6)


@pytest.fixture(scope="module")
def patient():
    """(channels, brain) with smooth noise in an ellipsoid."""
    rng = np.random.default_rng(0)
    brain = volume(np.ones((24, 30, 20)), np.diag([1.5, 1.0, 2.0, 1.0]))
    inside = (positions(brain) ** 2 / np.array([16.0, 14.0, 18.0]) ** 2).sum(axis=-1) < 1
    channels = np.stack([3 * gaussian_filter(rng.standard_normal(brain.shape), 1.0) * inside for _ in Sequence])
    return channels.astype(np.float32), volume(inside, brain.affine)


@pytest.mark.parametrize(("order", "flips"), [((2, 0, 1), (0,)), ((1, 0, 2), (1, 2))])
def test_features_do_not_depend_on_the_axes_of_the_array(patient, order, flips):
    channels, brain = patient
    voxels = np.argwhere(brain.array > 0)[::7]
    before = voxel_features(channels, brain, voxels)
    turned = np.flip(brain.array.transpose(order), flips)
    to_old = np.zeros((4, 4))  # index in the turned array to index in the first
    for new, old in enumerate(order):
        to_old[old, new] = -1.0 if new in flips else 1.0
        to_old[old, 3] = brain.shape[old] - 1 if new in flips else 0
    to_old[3, 3] = 1
    moved = (np.linalg.inv(to_old) @ np.column_stack([voxels, np.ones(len(voxels))]).T)[:3].T.round().astype(int)
    images = np.stack([np.flip(channel.transpose(order), flips) for channel in channels])
    after = voxel_features(images, volume(turned, brain.affine @ to_old), moved)
    assert before.std(axis=0).min() > 0  # each of them says something
    np.testing.assert_allclose((after - before) / before.std(axis=0), 0, atol=2e-3)


def test_what_is_asked_for_is_what_all_would_say(patient):
    channels, brain = patient
    voxels = np.argwhere(brain.array > 0)[::29]
    names = ["depth", "T2_hessian2_2mm", "T1c_asymmetry_4mm", "T1_intensity", "FLAIR_laplacian_8mm"]
    every = voxel_features(channels, brain, voxels)
    assert every.dtype == np.float32 and every.shape == (len(voxels), len(FEATURES))
    np.testing.assert_array_equal(
        voxel_features(channels, brain, voxels, names), every[:, [FEATURES.index(name) for name in names]]
    )


def test_a_field_of_view_that_is_larger_changes_nothing(patient):
    channels, brain = patient
    voxels = np.argwhere(brain.array > 0)[::29]
    affine = brain.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ [5, 5, 5]
    larger = voxel_features(
        np.pad(channels, ((0, 0), (5, 5), (5, 5), (5, 5))), volume(np.pad(brain.array, 5), affine), voxels + 5
    )
    np.testing.assert_allclose(larger, voxel_features(channels, brain, voxels), atol=1e-5)


def test_position_is_the_patients():
    """In a box of 30 x 20 x 40 mm, stored from the head down."""
    affine = np.diag([2.0, 1.0, -2.5, 1.0])
    brain = volume(np.ones((15, 20, 16)), affine)
    voxels = np.array([[7, 0, 15], [0, 19, 0], [14, 10, 8]])
    found = voxel_features(four(brain.array), brain, voxels, ["lateral", "posterior", "superior", "depth"])
    np.testing.assert_allclose(found[:, 0], [0, 1, 1], atol=1e-6)
    np.testing.assert_allclose(found[:, 1], [0, 1, 10 / 19], atol=1e-6)
    np.testing.assert_allclose(found[:, 2], [0, 1, 7 / 15], atol=1e-6)
    np.testing.assert_allclose(found[:, 3], [1, 1, 2])


def test_a_lesion_on_one_side_is_asymmetric():
    brain = volume(np.ones((40, 30, 20)), oblique_affine((1.0, 1.0, 2.0), (0.0, 0.0, 10.0)))
    x = positions(brain)
    spot = np.exp(-(((x - [10, 3, -2]) ** 2).sum(axis=-1)) / 50)
    other = np.exp(-(((x - [-10, 3, -2]) ** 2).sum(axis=-1)) / 50)
    voxels = np.stack([np.unravel_index(image.argmax(), image.shape) for image in (spot, other)])
    one_side = voxel_features(four(spot), brain, voxels, ["FLAIR_asymmetry_4mm"])
    assert one_side[0, 0] > 0.3 and one_side[1, 0] < -0.3
    np.testing.assert_allclose(voxel_features(four(spot + other), brain, voxels, ["FLAIR_asymmetry_4mm"]), 0, atol=0.03)


def test_a_missing_sequence_says_nothing(patient):
    channels, brain = patient
    voxels = np.argwhere(brain.array > 0)[::101]
    without = channels.copy()
    without[1] = 0
    found, whole = (voxel_features(images, brain, voxels) for images in (without, channels))
    of_t1c = np.array([name.startswith("T1c_") for name in FEATURES])
    assert not found[:, of_t1c].any()
    np.testing.assert_array_equal(found[:, ~of_t1c], whole[:, ~of_t1c])


def test_refusals(patient):
    channels, brain = patient
    inside = np.argwhere(brain.array > 0)[:1]
    with pytest.raises(ValueError, match="T3_intensity: no feature"):
        voxel_features(channels, brain, inside, ["T3_intensity"])
    with pytest.raises(ValueError, match="must be \\(4, 24, 30, 20\\)"):
        voxel_features(channels[:3], brain, inside)
    with pytest.raises(ValueError, match="outside the brain"):
        voxel_features(channels, brain, np.zeros((1, 3), int))
