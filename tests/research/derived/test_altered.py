"""How other hospitals' studies differ: each change does what it says, and nothing else."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import kurtosis, spearmanr

from acuity.anatomy import Sequence
from acuity.cli import main
from acuity.research.datasets.brats import FILE_SUFFIX
from acuity.research.derived.altered import CHANGES, Altered, white_matter
from acuity.research.derived.sets import Case
from acuity.research.synthetic.phantom import make_phantom
from acuity.volume import Volume
from tests.research.cases import write_case

# White matter's signal of the phantom without a bias field: its contrasts' mean + gain * white.
WHITE = {Sequence.T1: 608.25, Sequence.T1C: 497.5, Sequence.T2: 250.75, Sequence.FLAIR: 339.75}
SHAPE = (28, 32, 24)
SPACING = (1.5, 1.0, 1.2)


@pytest.fixture(scope="module")
def coarse() -> Case:
    phantom = make_phantom(seed=3, spacing_mm=8.0, tumor=False, noise=0.0, bias=0.0)
    return Case("coarse", phantom.volumes, phantom.labels)


@pytest.fixture(scope="module")
def fine() -> Case:
    """An ellipsoid of fine, anisotropic voxels."""
    index = np.indices(SHAPE)
    middle = [(n - 1) / 2 for n in SHAPE]
    brain = sum(((g - c) / (0.36 * n)) ** 2 for g, c, n in zip(index, middle, SHAPE, strict=True)) < 1
    affine = np.diag([*SPACING, 1.0])
    rng = np.random.default_rng(0)
    images = {
        s: Volume(np.where(brain, rng.uniform(50, 150, SHAPE) * n, 0).astype(np.float32), affine)
        for n, s in enumerate(Sequence, 1)
    }
    return Case("fine", images, Volume(np.zeros(SHAPE, np.uint8), affine))


def altered(change: str, case: Case) -> dict[Sequence, NDArray[np.float32]]:
    """The images, once it is sure that nothing else is changed."""
    made = Altered(change)(case)
    assert made.labels is case.labels and made.name == case.name and list(made.images) == list(Sequence)
    for sequence, volume in made.images.items():
        assert volume.grid.same_as(case.images[sequence].grid)
        assert volume.array.dtype == np.float32 and np.isfinite(volume.array).all() and volume.array.min() >= 0
    return {sequence: volume.array for sequence, volume in made.images.items()}


def nearest_mm(of: NDArray[np.bool_], to: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of each voxel of one mask the distance to the nearest one of the other."""
    return cKDTree(np.argwhere(to) * SPACING).query(np.argwhere(of) * SPACING)[0]


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_case_is_always_changed_alike(change, fine):
    first, again = (altered(change, fine) for _ in range(2))
    other = altered(change, Case("another", fine.images, fine.labels))
    same = []
    for sequence in Sequence:
        np.testing.assert_array_equal(first[sequence], again[sequence])
        assert not np.array_equal(first[sequence], fine.images[sequence].array)
        same.append(np.array_equal(first[sequence], other[sequence]))
    # What is drawn at all depends on the case.
    assert all(same) if change in ("blur", "overstripped") else not any(same)


@pytest.mark.parametrize("change", ["intensity", "bias", "noise", "blur"])
def test_the_brain_stays_extracted(change, coarse):
    for sequence, array in altered(change, coarse).items():
        np.testing.assert_array_equal(array > 0, coarse.images[sequence].array > 0)


def test_intensities_have_another_scale_and_contrast_but_their_order(coarse):
    brain, gains, gammas = coarse.brain, [], []
    for sequence, array in altered("intensity", coarse).items():
        before = coarse.images[sequence].array[brain]
        after = array[brain]
        assert spearmanr(before, after).statistic > 0.9999
        gamma, _ = np.polyfit(np.log(before), np.log(after), 1)
        gammas.append(gamma)
        gains.append(after.max() / before.max())
        assert 1 / 1.5 - 1e-3 <= gamma <= 1.5 + 1e-3 and 0.25 <= gains[-1] <= 4
    assert np.ptp(gains) > 0.1 and np.ptp(gammas) > 0.05 and max(abs(np.array(gammas) - 1)) > 0.05


def test_a_bias_field_has_its_range_and_is_smooth(coarse):
    brain, fields = coarse.brain, []
    for sequence, array in altered("bias", coarse).items():
        field = np.full(brain.shape, np.nan)
        field[brain] = array[brain] / coarse.images[sequence].array[brain]
        assert np.nanmin(field) == pytest.approx(0.8, abs=1e-4) and np.nanmax(field) == pytest.approx(1.2, abs=1e-4)
        # From voxel to voxel of 8 mm: the whole range lies no nearer together than a third of 90 mm.
        assert max(np.nanmax(np.abs(np.diff(field, axis=axis))) for axis in range(3)) < 0.4 * 8 / 30
        fields.append(field[brain])
    assert np.abs(np.corrcoef(fields) - np.eye(4)).max() < 0.95


def test_white_matter_is_found(coarse):
    found = white_matter(coarse)
    for sequence, signal in found.items():
        assert signal == pytest.approx(WHITE[sequence], rel=0.12)
    # What a sequence does not show is none, and no NaN.
    nothing = coarse.images[Sequence.FLAIR].with_array(np.zeros_like(coarse.images[Sequence.FLAIR].array))
    dark = Case("dark", {**coarse.images, Sequence.FLAIR: nothing}, None)
    assert white_matter(dark)[Sequence.FLAIR] == 0


def test_noise_is_rician_and_of_white_matters_signal(coarse):
    brain = coarse.brain
    for sequence, array in altered("noise", coarse).items():
        sigma = 0.05 * WHITE[sequence]
        before, after = coarse.images[sequence].array[brain], array[brain]
        clear = before > 10 * sigma
        added = after[clear] - before[clear]
        assert added.std() == pytest.approx(sigma, rel=0.16) and abs(added.mean()) < 0.15 * sigma
        assert abs(kurtosis(added)) < 0.5
    # Of no signal the mean is sigma * sqrt(pi / 2): Rayleigh's.
    half = np.where(np.arange(brain.shape[0])[:, None, None] < 9, 1e-3, 100)
    faint = {s: Volume(np.where(brain, half, 0).astype(np.float32), np.eye(4)) for s in Sequence}
    array = altered("noise", Case("faint", faint, None))[Sequence.T1]
    assert array[brain & (faint[Sequence.T1].array < 1)].mean() == pytest.approx(5 * np.sqrt(np.pi / 2), rel=0.1)


def test_blur_is_a_gaussian_of_one_millimeter(fine):
    """It leaves exp(-(2 pi sigma / wavelength)^2 / 2) of a wave, along each axis whatever its spacing."""
    inner = nearest_mm(fine.brain, ~fine.brain) > 5
    place = np.indices(SHAPE) * np.reshape(SPACING, (3, 1, 1, 1))
    for axis in range(3):
        wave = np.cos(2 * np.pi * place[axis] / 8.0)
        array = np.where(fine.brain, 100 + 50 * wave, 0).astype(np.float32)
        images = {sequence: volume.with_array(array) for sequence, volume in fine.images.items()}
        expected = 100 + 50 * np.exp(-((2 * np.pi / 8.0) ** 2) / 2) * wave[fine.brain][inner]
        for found in altered("blur", Case("wave", images, fine.labels)).values():
            np.testing.assert_allclose(found[fine.brain][inner], expected, atol=0.2)
    even = {s: v.with_array(np.where(fine.brain, 7, 0).astype(np.float32)) for s, v in fine.images.items()}
    # The air round the brain does not bleed into it.
    np.testing.assert_allclose(altered("blur", Case("even", even, None))[Sequence.T2][fine.brain], 7, rtol=1e-4)


def test_overstripping_takes_three_millimeters_of_the_brain(fine):
    depth = nearest_mm(fine.brain, ~fine.brain)
    for sequence, array in altered("overstripped", fine).items():
        before, after = fine.images[sequence].array[fine.brain], array[fine.brain]
        np.testing.assert_array_equal(after > 0, depth > 3)
        np.testing.assert_array_equal(after[depth > 3], before[depth > 3])
        assert 0.2 < (after > 0).mean() < 0.7


def test_understripping_leaves_three_millimeters_of_what_lies_round_it(fine):
    outside = ~fine.brain
    near = np.zeros(SHAPE, bool)
    near[outside] = nearest_mm(outside, fine.brain) <= 3
    white = white_matter(fine)
    parts = {}
    for sequence, array in altered("understripped", fine).items():
        np.testing.assert_array_equal(array > 0, fine.brain | near)
        np.testing.assert_array_equal(array[fine.brain], fine.images[sequence].array[fine.brain])
        parts[sequence] = array[near] / white[sequence]
    # Fluid is dark in T1 and bright in T2; dura and fat are brighter than white matter, most so in T1c.
    assert np.corrcoef(parts[Sequence.T1], parts[Sequence.T2])[0, 1] < -0.5
    assert np.percentile(parts[Sequence.T1], 95) > 1.1 and np.percentile(parts[Sequence.T1], 5) < 0.5
    assert np.percentile(parts[Sequence.T1C], 95) > np.percentile(parts[Sequence.T1], 95)


def test_the_command_makes_a_set(coarse, tmp_path, capsys):
    name, affine = "first", np.diag([-8.0, -8.0, 8.0, 1.0])
    images = {sequence: volume.array for sequence, volume in coarse.images.items()}
    write_case(tmp_path / "data", name, images, coarse.labels.array, affine)
    made = tmp_path / "bias"
    common = ["dataset", "altered", "--data", str(tmp_path / "data"), "--output", str(made)]
    assert main([*common, "--change", "bias"]) == 0
    expected = altered("bias", Case(name, coarse.images, coarse.labels))
    for sequence, suffix in FILE_SUFFIX.items():
        image = nib.load(made / name / f"{name}_{suffix}.nii.gz")
        np.testing.assert_allclose(image.affine, affine)
        np.testing.assert_allclose(image.get_fdata(), expected[sequence], rtol=1e-4)
    described = json.loads((made / "dataset.json").read_text())
    assert described["made"]["kind"] == "altered" and described["made"]["change"] == "bias"
    assert "0.8 to 1.2" in described["made"]["images"]
    assert described["command"].endswith("--change bias --part all")
    # Another change is another set.
    assert main([*common, "--change", "noise"]) == 60 and "differs in change, images" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*common, "--change", "ghosts"])
    assert "ghosts" in capsys.readouterr().err
