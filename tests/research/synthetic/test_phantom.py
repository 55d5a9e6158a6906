"""The phantom: seeded, the same at any voxel size, and a glioma by what radiologists look for."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from acuity.anatomy import Sequence
from acuity.research.synthetic.noise import SmoothNoise
from acuity.research.synthetic.phantom import Phantom, make_phantom


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(seed=1, spacing_mm=3.0)


def scores(phantom: Phantom, sequence: Sequence) -> NDArray[np.float64]:
    """z-scored over the brain."""
    array, brain = phantom.volumes[sequence].array, phantom.brain.array > 0
    return (array - array[brain].mean()) / array[brain].std()


def center_mm(phantom: Phantom) -> NDArray[np.float64]:
    index = np.array(ndimage.center_of_mass(phantom.labels.array > 0))
    return phantom.labels.affine[:3, :3] @ index + phantom.labels.grid.origin


def test_the_same_seed_gives_the_same_phantom_and_another_seed_another() -> None:
    first, again, other = (make_phantom(seed=s, spacing_mm=8.0) for s in (3, 3, 4))
    np.testing.assert_array_equal(first.labels.array, again.labels.array)
    for sequence in Sequence:
        np.testing.assert_array_equal(first.volumes[sequence].array, again.volumes[sequence].array)
    assert (first.labels.array != other.labels.array).any()


def test_grids_values_and_types(phantom: Phantom) -> None:
    grids = [v.grid for v in (*phantom.volumes.values(), phantom.labels, phantom.brain)]
    assert all(grid.same_as(grids[0]) for grid in grids)
    assert len({v.frame_of_reference_uid for v in phantom.volumes.values()}) == 1
    np.testing.assert_allclose(grids[0].spacing, 3.0)
    outside = phantom.brain.array == 0
    assert phantom.labels.array.dtype == phantom.brain.array.dtype == np.uint8
    assert set(np.unique(phantom.labels.array)) == {0, 1, 2, 4}
    assert not phantom.labels.array[outside].any()
    for volume in phantom.volumes.values():
        assert volume.array.dtype == np.float32
        assert volume.array.min() == 0.0
        assert (volume.array[outside] == 0.0).all()
        assert (volume.array[~outside] > 0.0).all()


def test_the_brain_is_a_brain_the_right_way_up(phantom: Phantom) -> None:
    volume_ml = phantom.brain.array.sum() * phantom.brain.grid.voxel_volume
    assert 1700 < volume_ml < 2050  # the template's, measured with SPM and FSL, is about 1880 ml
    # Cerebellum and occipital lobes make the low back of the brain fuller than its low front.
    where = np.argwhere(phantom.brain.array[:, :, : phantom.brain.shape[2] // 4] > 0)
    place = where @ phantom.brain.affine[:3, :3].T + phantom.brain.grid.origin
    assert place[:, 1].mean() > 20.0  # +y is the back in LPS; 0 is the anterior commissure


def test_the_tumor_has_the_volumes_asked_for() -> None:
    phantom = make_phantom(spacing_mm=3.0, core_ml=15.0, edema_ml=40.0)
    ml = {label: (phantom.labels.array == label).sum() * phantom.labels.grid.voxel_volume for label in (1, 2, 4)}
    assert ml[1] + ml[4] == pytest.approx(15.0, rel=0.02)
    assert ml[2] == pytest.approx(40.0, rel=0.05)
    assert ml[1] > 1.0 and ml[4] > 3.0


def test_the_rim_encloses_the_necrosis_and_the_core_is_one_piece(phantom: Phantom) -> None:
    labels = phantom.labels.array
    necrosis = labels == 1
    neighbors = ndimage.binary_dilation(necrosis) & ~necrosis
    assert (labels[neighbors] == 4).mean() > 0.7
    assert ndimage.label((labels == 1) | (labels == 4))[1] == 1


def test_edema_follows_white_matter() -> None:
    healthy = make_phantom(seed=1, spacing_mm=3.0, tumor=False, noise=0.0)
    edema = make_phantom(seed=1, spacing_mm=3.0).labels.array == 2
    around = ndimage.binary_dilation(edema, iterations=4) & (healthy.brain.array > 0)
    t1 = scores(healthy, Sequence.T1)  # white matter is bright in T1
    assert t1[edema].mean() > t1[around & ~edema].mean() + 0.2


def test_contrasts_are_those_of_a_glioma(phantom: Phantom) -> None:
    labels, brain = phantom.labels.array, phantom.brain.array > 0
    z = {sequence: scores(phantom, sequence) for sequence in Sequence}
    median = {(s, label): np.median(z[s][brain & (labels == label)]) for s in Sequence for label in (0, 1, 2, 4)}
    assert median[Sequence.T1C, 4] > 1.2 > median[Sequence.T1C, 2]
    assert median[Sequence.T1C, 4] > median[Sequence.T1, 4] + 1.0
    assert median[Sequence.FLAIR, 2] > 1.3
    assert median[Sequence.T2, 2] > 0.3
    assert median[Sequence.T2, 1] > median[Sequence.T2, 2]
    assert median[Sequence.T1, 1] < -0.2 and median[Sequence.T1C, 1] < 0.2
    # Fluid is dark in FLAIR and bright in T2.
    fluid = brain & (labels == 0) & (z[Sequence.T2] > 2.5)
    assert fluid.any() and np.median(z[Sequence.FLAIR][fluid]) < -0.7


def test_the_mass_pushes_tissue_next_to_the_core_and_not_far_away() -> None:
    quiet = {"seed": 1, "spacing_mm": 3.0, "noise": 0.0}
    healthy, sick = make_phantom(tumor=False, **quiet), make_phantom(**quiet)  # type: ignore[arg-type]
    labels, brain = sick.labels.array, sick.brain.array > 0
    distance = ndimage.distance_transform_edt(labels == 0, sampling=3.0)
    # Relative differences of smooth structure: texture differs between the two, so it is averaged away.
    fluid_before, fluid_after = (ndimage.gaussian_filter(scores(p, Sequence.T2), 1.0) > 1.5 for p in (healthy, sick))
    changed = fluid_before != fluid_after
    near, far = brain & (distance > 0) & (distance < 15.0), brain & (distance > 60.0)
    assert changed[near].mean() > 3.0 * changed[far].mean()


def test_a_coarse_phantom_shows_the_tumor_of_the_fine_one() -> None:
    fine, coarse = make_phantom(seed=2, spacing_mm=3.0), make_phantom(seed=2, spacing_mm=6.0)
    assert np.linalg.norm(center_mm(fine) - center_mm(coarse)) < 6.0


def test_tumors_come_on_both_sides_or_not_at_all() -> None:
    sides = {np.sign(center_mm(make_phantom(seed=s, spacing_mm=8.0))[0]) for s in range(6)}
    assert sides == {-1.0, 1.0}
    assert not make_phantom(spacing_mm=8.0, tumor=False).labels.array.any()


def test_a_head_has_noise_in_the_air_and_a_bright_scalp() -> None:
    phantom = make_phantom(spacing_mm=4.0, head=True)
    array, brain = phantom.volumes[Sequence.T1].array, phantom.brain.array > 0
    assert (array > 0.0).mean() > 0.99
    distance = ndimage.distance_transform_edt(~brain, sampling=4.0)
    scalp, skull = array[(distance > 8) & (distance < 13)], array[(distance > 3) & (distance < 6)]
    assert np.median(scalp) > np.median(array[brain]) > 2.0 * np.median(skull)


def test_smooth_noise_is_standard_and_does_not_depend_on_the_sampling() -> None:
    extent = np.array([100.0, 90.0, 80.0])

    def field(step: float) -> NDArray[np.float32]:
        positions = [np.arange(step / 2, size, step) for size in extent]
        return SmoothNoise(np.random.default_rng(5), extent, positions)(8.0)

    fine, coarse = field(1.0), field(5.0)
    assert abs(fine.mean()) < 0.15
    assert fine.std() == pytest.approx(1.0, abs=0.15)
    np.testing.assert_allclose(fine[2::5, 2::5, 2::5], coarse, atol=1e-4)


def test_variation_changes_contrasts_alone() -> None:
    usual, varied = (make_phantom(seed=5, spacing_mm=8.0, variation=v) for v in (0.0, 0.5))
    assert np.array_equal(usual.labels.array, varied.labels.array)
    for sequence in Sequence:
        a, b = (phantom.volumes[sequence].array for phantom in (usual, varied))
        assert np.array_equal(a > 0, b > 0)
        assert not np.allclose(a, b)
    ratios = [float(varied.volumes[s].array.sum() / usual.volumes[s].array.sum()) for s in Sequence]
    assert np.ptp(ratios) > 0.01  # each sequence changes in its own way
