"""Studies in which a sequence shows a part of the head: joined, refused, or marked in every output."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

import acuity
from acuity.anatomy import Region, Sequence
from acuity.errors import PartialCoverageError
from acuity.pipeline.options import Options
from acuity.pipeline.stages import Models, load_models
from acuity.volume import Grid
from tests import judges
from tests.dicom_builder import uid, write_mr_series
from tests.pipeline.test_subsets import SPACING, perform
from tests.study_phantom import HEADERS, image, lesion_centroid, oblique_grid, tissue, write_bundles

T1, T1C, T2, FLAIR = Sequence
COARSE = oblique_grid((4.0, 4.0, 5.0), (-6.0, 11.0, 3.0))  # of FLAIR: not the grid of T1c
MIDDLE = COARSE.shape[2] // 2


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return load_models(write_bundles(tmp_path_factory.mktemp("bundles")))


def part_of(grid: Grid, start: int, stop: int) -> Grid:
    """Slices ``start`` to ``stop`` of a grid."""
    affine = grid.affine.copy()
    affine[:3, 3] += start * affine[:3, 2]
    return Grid((*grid.shape[:2], stop - start), affine)


def write(
    folder: Path,
    sequence: Sequence,
    grid: Grid,
    number: int,
    filled: slice | None = None,
    **header: Any,
) -> None:
    """Write one series; ``filled`` slices are 0, as resampling to a larger field of view leaves them."""
    array = image(sequence, grid)
    array[array > 0] += np.random.default_rng(number).normal(0.0, 8.0, np.count_nonzero(array))
    if filled is not None:
        array[:, :, filled] = 0
    write_mr_series(
        folder / f"{number}",
        np.maximum(array, 0).round(),
        grid.affine,
        name=f"{sequence.value} {number}",
        series_uid=str(uid("coverage", sequence.value, number)),
        series_number=number,
        SeriesDescription=f"AX {sequence.value}",
        **{**HEADERS[sequence], **header},
    )


def write_others(folder: Path, *left_out: Sequence) -> None:
    """The sequences that show the whole head."""
    for number, sequence in enumerate(Sequence, start=1):
        if sequence not in left_out:
            write(folder, sequence, COARSE if sequence is FLAIR else oblique_grid(), number)


def half(folder: Path, sequence: Sequence, grid: Grid = COARSE) -> None:
    write(folder, sequence, part_of(grid, grid.shape[2] // 2, grid.shape[2]), 4)


def blackened(folder: Path, sequence: Sequence, grid: Grid = COARSE) -> None:
    write(folder, sequence, grid, 4, filled=slice(0, grid.shape[2] // 2))


HALVES = [pytest.param(half, id="fewer slices"), pytest.param(blackened, id="black slices")]
Write = Callable[[Path, Sequence], None]


@pytest.mark.parametrize("make", HALVES)
@pytest.mark.parametrize("sequence", [FLAIR, T2], ids=str)
def test_half_a_sequence_is_refused_and_the_option_is_named(
    make: Write, sequence: Sequence, models: Models, tmp_path: Path
) -> None:
    write_others(tmp_path, sequence)
    make(tmp_path, sequence)
    with pytest.raises(PartialCoverageError, match=rf"^{sequence.value} shows [456]\d % of the brain") as refusal:
        acuity.run(tmp_path, models=models, spacing=SPACING)
    assert refusal.value.exit_code == 42 and "--allow-missing" in refusal.value.remedy


def is_shown(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether (..., 3) points in LPS mm lie in the half that is shown, from the geometry alone."""
    k = np.linalg.solve(COARSE.affine[:3, :3], (points - COARSE.origin).reshape(-1, 3).T)[2]
    return (k >= MIDDLE - 0.5).reshape(points.shape[:-1])


def points_of(shape: tuple[int, ...], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]


def read_series(folder: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(slices, rows, columns) of a written series, and the place of each voxel in LPS mm, from its headers alone."""
    images = sorted((dcmread(path) for path in folder.iterdir()), key=lambda ds: ds.InstanceNumber)
    places = []
    for ds in images:
        row, column = np.reshape(ds.ImageOrientationPatient, (2, 3)).astype(float)
        y, x = np.indices((ds.Rows, ds.Columns))[..., None]
        corner = np.array(ds.ImagePositionPatient, dtype=float)
        places.append(corner + x * float(ds.PixelSpacing[1]) * row + y * float(ds.PixelSpacing[0]) * column)
    return np.stack([ds.pixel_array for ds in images]).astype(float), np.stack(places)


@pytest.fixture(scope="module", params=HALVES)
def halved(
    request: pytest.FixtureRequest, models: Models, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The outputs of a run with half a FLAIR, and its ``result.json``."""
    work = tmp_path_factory.mktemp("halved")
    write_others(work / "study", FLAIR)
    request.param(work / "study", FLAIR)
    options = Options(work / "study", work / "out", Path(), spacing=SPACING, allow_missing=True, verbosity=-1)
    code, result = perform(models, options)
    assert code == 0, result["error"]
    return work / "out", result


def test_half_a_flair_is_said_in_result_json_and_no_volume_is_stated(halved: tuple) -> None:
    _, result = halved
    brain = points_of((60, 60, 60), np.array([[2.0, 0, 0, -52], [0, 2, 0, -46], [0, 0, 2, -66], [0, 0, 0, 1]]))
    true_share = is_shown(brain)[tissue(brain) > 0].mean()
    assert result["preparation"]["coverage"]["FLAIR"] == pytest.approx(true_share, abs=0.03)
    assert {s: c for s, c in result["preparation"]["coverage"].items() if s != "FLAIR"} == {"T1": 1, "T1c": 1, "T2": 1}
    assert any("FLAIR covers" in w and "not assessable" in w for w in result["warnings"])
    for region in Region:
        measured, unsure = result["measurements"][region.value], result["uncertainty"][region.value]
        assert measured["volume_ml"] is None and measured["components"] is None and unsure["volume_ml"] is None
        assert "FLAIR covers" in measured["not_assessable"] == unsure["not_assessable"]


def test_no_black_slice_is_in_a_series_called_super_resolved(halved: tuple) -> None:
    out, _ = halved
    pixels, places = read_series(out / "series" / "FLAIR")
    whole, _ = read_series(out / "series" / "T1c")
    assert 0.3 * len(whole) < len(pixels) < 0.75 * len(whole)
    for picture, there in zip(pixels, places, strict=True):
        head = tissue(there) > 0
        if head.sum() > 50:
            assert (picture[head] > 0).mean() > 0.45  # at the oblique border, the rest of a slice
    first = dcmread(next((out / "series" / "FLAIR").iterdir()))
    assert "Slices that FLAIR does not show are left out" in first.DerivationDescription
    assert "left out" not in dcmread(next((out / "series" / "T1c").iterdir())).DerivationDescription


@pytest.mark.parametrize("name", ["seg/segmentation_sr", "seg/segmentation_source", "report/regions"])
def test_no_voxel_is_labeled_where_flair_shows_nothing_and_the_object_says_so(halved: tuple, name: str) -> None:
    out, _ = halved
    seg = hd.seg.segread(out / f"{name}.dcm")
    volume = seg.get_volume(combine_segments=False)
    affine = volume.affine
    found = np.argwhere(volume.array.max(axis=-1) > 0)
    assert len(found)
    places = found @ affine[:3, :3].T + affine[:3, 3]
    depth = np.linalg.solve(COARSE.affine[:3, :3], (places - COARSE.origin).T)[2]
    assert depth.min() > MIDDLE - 0.5 - 0.5 * max(SPACING[2], 5.0) / 5.0 - 0.1
    for item in seg.SegmentSequence:
        assert "FLAIR covers" in item.SegmentDescription and "not assessable" in item.SegmentDescription


def test_the_report_and_the_overview_say_so(halved: tuple) -> None:
    out, _ = halved
    report = hd.sr.srread(out / "report" / "report.dcm")
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert len(groups) == 3
    for group in groups:
        assert not group.get_measurements()
        assert "Measurement not attempted" in {e.value.meaning for e in group.get_qualitative_evaluations()}
    assert "FLAIR covers" in dcmread(out / "overview" / "overview.dcm").ImageComments
    assert not [line for path in sorted(out.rglob("*.dcm")) for line in judges.dciodvfy_errors(path)]


def test_half_a_t2_costs_no_region(models: Models, tmp_path: Path) -> None:
    """FLAIR and T1c show the whole brain: all is measured, and only the series of T2 is shorter."""
    write_others(tmp_path, T2)
    half(tmp_path, T2)
    found = acuity.run(tmp_path, models=models, spacing=SPACING, allow_missing=True)
    assert found.labels is not None and all(m.volume_ml is not None for m in found.measurements)
    assert found.assessment.partial == (T2,) and "segmented without it" in found.assessment.note()


@pytest.mark.parametrize("sequence", [T2, FLAIR], ids=str)
@pytest.mark.parametrize("common", [0, 2], ids=["end to end", "two slices in both"])
def test_two_halves_in_two_series_are_one_volume(
    sequence: Sequence, common: int, models: Models, tmp_path: Path
) -> None:
    write_others(tmp_path, sequence)
    write(tmp_path, sequence, part_of(COARSE, MIDDLE - common, COARSE.shape[2]), 4)
    write(tmp_path, sequence, part_of(COARSE, 0, MIDDLE), 5)
    found = acuity.run(tmp_path, models=models, spacing=SPACING)
    assert found.assessment.coverage[sequence] == 1 and found.labels is not None
    assert any(w == "It is joined with series 5, which continues it." for w in found.record["warnings"])
    center = (found.labels.affine @ [*np.argwhere(found.labels.array > 0).mean(axis=0), 1])[:3]
    assert np.linalg.norm(center - lesion_centroid()) < 2.5


@pytest.mark.parametrize(
    "other",
    [
        {"EchoTime": "80"},
        {"RepetitionTime": "6000"},
        {"ContrastBolusAgent": "Gadobutrol"},
        {"FrameOfReferenceUID": "1.2.3"},
    ],
    ids=lambda header: next(iter(header)),
)
def test_halves_of_two_protocols_are_not_joined(other: dict[str, Any], models: Models, tmp_path: Path) -> None:
    write_others(tmp_path, T2)
    write(tmp_path, T2, part_of(COARSE, MIDDLE, COARSE.shape[2]), 4)
    write(tmp_path, T2, part_of(COARSE, 0, MIDDLE), 5, **other)
    with pytest.raises(PartialCoverageError, match="^T2 shows"):
        acuity.run(tmp_path, models=models, spacing=SPACING)


def test_a_reference_that_ends_early_is_noticed_by_the_others(models: Models, tmp_path: Path) -> None:
    """The last third of T1c has not arrived; every other sequence shows more of the brain."""
    write_others(tmp_path, T1C)
    grid = oblique_grid()
    write(tmp_path, T1C, part_of(grid, 0, 2 * grid.shape[2] // 3), 2)
    with pytest.raises(PartialCoverageError, match=r"^T1c shows [78]\d % of the brain"):
        acuity.run(tmp_path, models=models, spacing=SPACING)
    found = acuity.run(tmp_path, models=models, spacing=SPACING, allow_missing=True)
    assert all(m.volume_ml is None and "T1c covers" in m.not_assessable for m in found.measurements)


def test_a_slab_that_all_sequences_share_is_as_complete_as_the_study(models: Models, tmp_path: Path) -> None:
    """Nothing shows more of the brain: the same field of view for all is how thick slices are planned."""
    grid = part_of(oblique_grid(), 2, 21)
    for number, sequence in enumerate(Sequence, start=1):
        write(tmp_path, sequence, grid, number)
    assert set(acuity.run(tmp_path, models=models, spacing=SPACING).assessment.coverage.values()) == {1.0}


def test_json_is_without_a_number_for_what_is_not_known(halved: tuple) -> None:
    out, _ = halved
    assert json.loads((out / "result.json").read_text())["measurements"]["WT"]["volume_ml"] is None
