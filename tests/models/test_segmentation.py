"""Segmenting: axes, grids and stages, with networks whose answer is known."""

import numpy as np
import pytest
import torch
from scipy.ndimage import center_of_mass
from scipy.special import logit

from acuity.anatomy import Label, Sequence
from acuity.errors import MissingSequenceError, PreparationError
from acuity.imaging.intensity import zscore
from acuity.imaging.regions import Postprocessing
from acuity.models.bundle import Bundle
from acuity.models.segmentation import CONTEXT, LEFT_RIGHT, coarse_to_fine, network_channels, segment
from acuity.networks.cascade import CoarseToFine, Ensemble
from acuity.networks.equiunet import EquiUnet
from acuity.networks.slicewise import Slices
from acuity.volume import Volume


class Threshold(torch.nn.Module):
    """Finds what is bright in T1c (ET), T2 (TC) and FLAIR (WT), whatever its shape."""

    fine_weight = 0.7
    joined = CoarseToFine.joined

    def __init__(self):
        super().__init__()
        self.dummy = torch.nn.Parameter(torch.zeros(1))
        self.coarse_sizes, self.fine_sizes = [], []

    def coarse_logits(self, image):
        self.coarse_sizes.append(tuple(image.shape[2:]))
        return (image[:, 1:] - 2) * 8

    def search_logits(self, image):
        return None

    def fine_logits(self, image):
        self.fine_sizes.append(tuple(image.shape[2:]))
        return (image[:, 1:] - 2) * 8


def threshold_bundle(**choices):
    return Bundle("test", "0", Threshold(), "", {}, Postprocessing(**{"smallest_part_ml": 0.0} | choices))


def images(affine, shape=(36, 30, 24), lesion=(slice(6, 15), slice(16, 25), slice(4, 12))):
    rng = np.random.default_rng(0)
    volumes = {}
    for sequence in Sequence:
        array = rng.uniform(90, 110, shape).astype(np.float32)  # z-scores stay under 1.8
        if sequence is not Sequence.T1:
            array[lesion] += 150
        volumes[sequence] = Volume(array, affine)
    brain = Volume(np.ones(shape, np.uint8), affine)
    truth = np.zeros(shape, bool)
    truth[lesion] = True
    return volumes, brain, truth


AFFINES = {
    "canonical": np.diag([1.0, 1, 1, 1]),
    "mirrored": np.diag([-1.0, 1, -1, 1]),
    "sagittal": np.array([[0.0, 0, 1.0, 3], [1, 0, 0, 5], [0, -1, 0, 7], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("name", AFFINES)
def test_the_lesion_is_found_where_it_is_by_a_network_that_sees_patient_axes(name):
    volumes, brain, truth = images(AFFINES[name])
    bundle = threshold_bundle()
    result = segment(volumes, brain, bundle)
    np.testing.assert_array_equal(result.labels.array == Label.ENHANCING, truth)
    assert result.labels.array.dtype == np.uint8
    assert result.probabilities.shape == (3, *truth.shape)
    np.testing.assert_allclose(result.labels.affine, AFFINES[name])
    assert set(bundle.network.coarse_sizes) == {(24, 36, 30) if name == "sagittal" else truth.shape}


def test_other_spacings_are_brought_to_one_millimeter_and_back():
    affine = np.diag([0.5, 0.5, 2.0, 1.0])
    volumes, brain, truth = images(affine, lesion=(slice(8, 20), slice(10, 24), slice(5, 12)))
    bundle = threshold_bundle()
    told: list[float] = []
    found = segment(volumes, brain, bundle, progress=told.append).labels.array > 0
    assert set(bundle.network.coarse_sizes) == {(18, 15, 48)}
    assert told == sorted(told) and told[-1] == pytest.approx(1)
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.85
    np.testing.assert_allclose(center_of_mass(found), center_of_mass(truth), atol=0.5)


@pytest.mark.parametrize(
    ("lesion", "sizes"),
    [
        ((slice(8, 14), slice(18, 25), slice(5, 10)), [(8 + 6 + 12, 12 + 7 + 12, 5 + 5 + 12)]),
        ((slice(0, 0),) * 3, []),
        ((slice(8, 11),) * 3, []),  # smaller than the smallest suspicion
    ],
)
def test_the_fine_network_sees_the_suspicious_box_alone(lesion, sizes):
    volumes, brain, truth = images(np.eye(4), shape=(60, 60, 60), lesion=lesion)
    bundle = threshold_bundle()
    assert segment(volumes, brain, bundle).labels.array.any() == truth.any()
    assert bundle.network.fine_sizes == sizes


def test_lesions_that_are_far_apart_are_looked_at_one_by_one():
    volumes, brain, truth = images(np.eye(4), shape=(70, 60, 60), lesion=(slice(4, 9),) * 3)
    for sequence in (Sequence.T1C, Sequence.T2, Sequence.FLAIR):
        volumes[sequence].array[50:56, 40:46, 40:46] += 150
    bundle = threshold_bundle()
    found = segment(volumes, brain, bundle).labels.array > 0
    assert found.sum() == truth.sum() + 6**3
    assert bundle.network.fine_sizes == [(9 + 12,) * 3, (12 + 6 + 12, 12 + 6 + 12, 12 + 6 + 12)]


class Bright2d(torch.nn.Module):
    """Takes for tumor what is bright in the middle slice's T1c, T2 and FLAIR."""

    def forward(self, image):
        return (image[:, 5:8] - 2) * 8


def blind_coarse(members):
    fine = Ensemble([Slices(Bright2d(), ["axial", "coronal", "sagittal"], neighbors=1) for _ in range(members)])
    return CoarseToFine(Blind(), fine, fine_weight=1.0).eval()


class Blind(torch.nn.Module):
    """Finds nothing anywhere."""

    def __init__(self):
        super().__init__()
        self.dummy = torch.nn.Parameter(torch.zeros(1))

    def forward(self, image):
        return torch.full_like(image[:, 1:], -9.0)


@pytest.mark.parametrize("members", [1, 3, 4])
def test_a_lesion_that_the_coarse_network_misses_reaches_the_fine_ones(members):
    volumes, brain, truth = images(np.eye(4), shape=(50, 52, 40), lesion=(slice(20, 27), slice(30, 36), slice(9, 15)))
    bundle = Bundle("test", "0", blind_coarse(members), "", {}, Postprocessing(smallest_part_ml=0.0))
    np.testing.assert_array_equal(segment(volumes, brain, bundle).labels.array > 0, truth)


class Stages(CoarseToFine):
    """The coarse stage finds what is bright; the fine one gives its level everywhere, unless it has no weight."""

    def __init__(self, fine_weight, level):
        super().__init__(torch.nn.Identity(), torch.nn.Identity(), fine_weight)
        self.level = level

    def coarse_logits(self, image):
        return (image[:, 1:] - 2) * 8

    def fine_logits(self, image):
        assert self.fine_weight > 0
        return torch.full_like(image[:, 1:], self.level)


@pytest.mark.parametrize("level", [-30.0, 5.0])
@pytest.mark.parametrize("weight", [0.7, 0.0])
def test_inside_the_box_alone_the_coarse_stage_adds_to_the_fine_one_and_takes_nothing_away(weight, level):
    image = torch.full((4, 40, 40, 40), -1.0)
    image[:, 18:23, 18:23, 18:23] = 3.0
    expected = (image[1:] - 2) * 8
    box = (slice(None), *(slice(18 - CONTEXT, 23 + CONTEXT),) * 3)
    if weight:
        expected[box] = torch.where(expected[box] > level, weight * level + (1 - weight) * expected[box], level)
    torch.testing.assert_close(coarse_to_fine(image, Stages(weight, level)), expected)


def test_the_bundle_s_postprocessing_is_applied_in_ml_of_the_images_voxels():
    """A lesion of 210 voxels of 0.5 mm3."""
    volumes, brain, _ = images(np.diag([1.0, 1, 0.5, 1]), lesion=(slice(8, 14), slice(18, 25), slice(5, 10)))
    plain = segment(volumes, brain, threshold_bundle())
    found_ml = (plain.labels.array > 0).sum() * 0.5e-3
    assert 0.08 < found_ml < 0.13
    for least_ml, kept in ((found_ml - 1e-3, True), (found_ml + 1e-3, False)):
        assert segment(volumes, brain, threshold_bundle(smallest_part_ml=least_ml)).labels.array.any() == kept
    result = segment(volumes, brain, threshold_bundle(temperatures=(1, 1, 4)))
    np.testing.assert_array_equal(result.labels.array, plain.labels.array)
    clear = (plain.probabilities[2] > 0.01) & (plain.probabilities[2] < 0.99)
    np.testing.assert_allclose(
        logit(result.probabilities[2][clear]), logit(plain.probabilities[2][clear]) / 4, atol=1e-3
    )
    np.testing.assert_array_equal(result.probabilities[:2], plain.probabilities[:2])


def test_nothing_is_found_outside_the_brain():
    """The brain fills its box but for a corner, which holds a part of the lesion."""
    volumes, brain, truth = images(np.eye(4))
    inside = np.ones(brain.shape, bool)
    inside[10:, 20:] = False
    result = segment(volumes, brain.with_array(inside.astype(np.uint8)), threshold_bundle())
    np.testing.assert_array_equal(result.labels.array == Label.ENHANCING, truth & inside)
    assert not result.labels.array[~inside].any() and not result.probabilities[:, ~inside].any()


def test_mirrored_views_are_turned_back():
    torch.manual_seed(0)
    network = CoarseToFine(EquiUnet(width=16), EquiUnet(width=16)).eval()
    image = torch.randn(4, 16, 16, 16)
    with torch.inference_mode():
        logits = coarse_to_fine(image, network, fine_views=LEFT_RIGHT)
        mirrored = coarse_to_fine(image.flip(1), network, fine_views=LEFT_RIGHT).flip(1)
    torch.testing.assert_close(logits, mirrored, atol=1e-4, rtol=1e-4)


def test_a_missing_sequence_is_zero_as_in_training():
    volumes, brain, truth = images(np.eye(4))
    del volumes[Sequence.T1C]
    channels = network_channels(volumes, brain)
    assert not channels[1].any()
    for channel, sequence in zip(channels, Sequence, strict=True):
        if sequence in volumes:
            np.testing.assert_array_equal(channel, zscore(volumes[sequence], brain).array)
    # Enhancement is seen in T1c alone: what is left is core.
    labels = segment(volumes, brain, threshold_bundle()).labels.array
    np.testing.assert_array_equal(labels == Label.NECROSIS, truth)
    assert not (labels == Label.ENHANCING).any()


def test_no_contrast_no_sequence_and_other_grids_are_refused():
    volumes, brain, _ = images(np.eye(4))
    with pytest.raises(PreparationError, match="brain mask is empty"):
        segment(volumes, brain.with_array(np.zeros_like(brain.array)), threshold_bundle())
    with pytest.raises(MissingSequenceError, match="No sequence is given"):
        segment({}, brain, threshold_bundle())
    volumes[Sequence.T2] = Volume(volumes[Sequence.T2].array, np.diag([2.0, 1, 1, 1]))
    with pytest.raises(ValueError, match="T2 is not on the grid"):
        segment(volumes, brain, threshold_bundle())
