"""The stages chained without holoscan, on a lesion whose place in mm is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from acuity.anatomy import Sequence
from acuity.imaging.resampling import resample
from acuity.models.bundle import Bundle
from acuity.models.progress import Progress
from acuity.models.segmentation import SegmentationResult
from acuity.models.super_resolution import Denoising, SuperResolution
from acuity.pipeline import stages
from acuity.pipeline.preparation import REFERENCE, Prepared, prepare
from acuity.pipeline.stages import (
    Models,
    SuperResolved,
    as_measured,
    choose_series,
    load_models,
    load_study,
    segment_study,
)
from acuity.pipeline.writing import write_all_series, write_segmentations
from acuity.volume import Grid, Volume
from tests.study_phantom import lesion_centroid, oblique_grid, write_bundles, write_study

# Four series of four orientations and spacings, as a hospital sends them; no two share a grid.
GRIDS = {
    Sequence.T1: oblique_grid((3.0, 3.0, 6.0), (85.0, 5.0, 10.0)),  # about coronal
    Sequence.T1C: oblique_grid((2.0, 2.6, 5.0), (20.0, -12.0, 33.0)),
    Sequence.T2: oblique_grid((3.0, 3.0, 6.0), (-10.0, 4.0, 0.0)),
    Sequence.FLAIR: oblique_grid((2.4, 2.4, 5.0), (4.0, 86.0, -7.0)),  # about sagittal
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return load_models(write_bundles(tmp_path_factory.mktemp("bundles")))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, GRIDS)
    return prepare(choose_series(load_study(folder)).selection)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Volume, dict[str, Any]]]:
    """In place of super-resolution, volumes stay as they are: the volumes and options that it is given."""
    calls = []

    def unchanged(volume: Volume, network: object, *, progress: Progress, **options: Any) -> SuperResolution:
        calls.append((volume, options))
        progress(0.5)
        progress(1.0)
        return SuperResolution(volume, 0.1, 0.01)

    monkeypatch.setattr(stages, "super_resolve", unchanged)
    return calls


def super_resolve_study(prepared: Prepared, models: Models, spacing: float = 9.0, **options: Any) -> SuperResolved:
    return stages.super_resolve_study(prepared, models.super_resolution, spacing=(spacing,) * 3, **options)


def flair_above_650(volumes: dict[Sequence, Volume], brain: Volume, bundle: Bundle, **_: object) -> SegmentationResult:
    """Edema where FLAIR is nearer to the lesion's 900 than to the brain's 400."""
    found = (volumes[Sequence.FLAIR].array > 650) & (brain.array > 0)
    probabilities = np.stack([np.zeros(brain.shape), np.zeros(brain.shape), found]).astype(np.float32)
    return SegmentationResult(brain.with_array((2 * found).astype(np.uint8)), probabilities)


@pytest.fixture(scope="module")
def schema(repository: Path) -> Callable[[str], dict[str, Any]]:
    """The schema of a section of ``result.json``."""
    whole = json.loads((repository / "configs" / "result.schema.json").read_text())
    return lambda section: {"$defs": whole["$defs"], **whole["properties"][section]}


def points_of(path: Path) -> tuple[NDArray[np.float64], float]:
    """Centers in mm of all voxels of a SEG that are set, from its own attributes (PS3.3 C.7.6.16), and its voxel."""
    seg = dcmread(path)
    shared = seg.SharedFunctionalGroupsSequence[0]
    row, column = np.reshape([float(x) for x in shared.PlaneOrientationSequence[0].ImageOrientationPatient], (2, 3))
    between_rows, between_columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    points = []
    for mask, groups in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        corner = np.array([float(x) for x in groups.PlanePositionSequence[0].ImagePositionPatient])
        y, x = np.nonzero(mask)
        points.append(corner + x[:, None] * between_columns * row + y[:, None] * between_rows * column)
    return np.concatenate(points), min(between_rows, between_columns)


@pytest.mark.slow
def test_an_asymmetric_lesion_comes_back_where_it_is(
    prepared: Prepared, models: Models, schema: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = super_resolve_study(prepared, models, 1.5)
    monkeypatch.setattr(stages, "segment", flair_above_650)
    tumor = segment_study(images, models.segmentation)
    section = tumor.describe()["uncertainty"]
    jsonschema.validate(section, schema("uncertainty"))
    assert section["WT"]["expected_dice"] == 1 and section["ET"]["expected_dice"] is None  # 0 and 1 alone
    write_segmentations(tumor, write_all_series(images, tmp_path), tmp_path)
    for name in ("segmentation_sr", "segmentation_source"):
        points, voxel = points_of(tmp_path / "seg" / f"{name}.dcm")
        error = np.linalg.norm(points.mean(axis=0) - lesion_centroid())
        assert error < voxel / 2, f"{name}: {error:.2f} mm"


def test_no_axis_gets_coarser_than_it_was_measured(prepared: Prepared, models: Models, asked: list) -> None:
    images = super_resolve_study(prepared, models, 2.5)
    assert {tuple(volume.spacing.round(2)): options["spacing"] for volume, options in asked} == {
        (3.0, 3.0, 6.0): (2.5, 2.5, 2.5),
        (2.0, 2.6, 5.0): pytest.approx((2.0, 2.5, 2.5)),
        (2.4, 2.4, 5.0): pytest.approx((2.4, 2.4, 2.5)),
    }
    assert images.grid.same_as(GRIDS[REFERENCE].with_spacing((2.0, 2.5, 2.5)))
    assert all(volume.grid.same_as(images.grid) for volume in images.volumes.values())


@pytest.mark.usefixtures("asked")
def test_each_series_is_interpolated_once_and_the_reference_never(
    prepared: Prepared, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Grid] = []

    def counting(volume: Volume, *args: object, **kwargs: object) -> Volume:
        calls.append(volume.grid)
        return resample(volume, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(stages, "resample", counting)
    images = super_resolve_study(prepared, models)
    assert len(calls) == 3
    assert not any(grid.same_as(GRIDS[REFERENCE]) for grid in calls)
    np.testing.assert_array_equal(images.volumes[REFERENCE].array, prepared.reference.array)
    for sequence, volume in images.volumes.items():  # cubic interpolation does not overshoot
        assert volume.array.min() >= prepared.volumes[sequence].array.min()
        assert volume.array.max() <= prepared.volumes[sequence].array.max()


@pytest.mark.usefixtures("asked")
def test_one_grid_needs_no_interpolation(prepared: Prepared, models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    one_grid = replace(prepared, volumes=dict.fromkeys(Sequence, prepared.reference))
    monkeypatch.setattr(stages, "resample", lambda *_, **__: pytest.fail("nothing has to move"))
    images = super_resolve_study(one_grid, models)
    assert images.describe()["super_resolution"]["data_consistency_residual"]["T2"] == {"before": 0.1, "after": 0.01}


@pytest.mark.parametrize(("denoising", "fusion"), [(None, False), ("before", True)])
def test_denoising_and_fusion_are_done_as_asked_and_recorded(
    denoising: Denoising | None, fusion: bool, prepared: Prepared, models: Models, tmp_path: Path, asked: list
) -> None:
    images = super_resolve_study(prepared, models, denoising=denoising, fusion=fusion)
    described = images.describe()["super_resolution"]
    assert [(options["denoising"], options["fusion"]) for _, options in asked] == [(denoising, fusion)] * 4
    assert (described["denoising"], described["fusion"]) == (denoising, fusion)
    t2 = images.volumes[Sequence.T2]
    one_slice = replace(images, volumes={Sequence.T2: replace(t2, array=t2.array[..., :1])})
    (written,) = write_all_series(one_slice, tmp_path).images[Sequence.T2]
    said = f"Denoised by non-local means {denoising} super-resolution." in written.DerivationDescription
    assert said is (denoising is not None)


def test_the_slice_profile_is_what_each_header_says_and_recorded(
    prepared: Prepared, models: Models, schema: Callable, asked: list
) -> None:
    """MRAcquisitionType 2D is a box; anything else, or no header at all, is cubic."""
    said = {Sequence.T1: "2D", Sequence.T1C: "3D", Sequence.T2: None}
    volumes = {**prepared.volumes, Sequence.FLAIR: replace(prepared.volumes[Sequence.FLAIR], source_images=())}
    for sequence, value in said.items():
        header = Dataset()
        header.update(volumes[sequence].source_images[0])
        header.MRAcquisitionType = value
        volumes[sequence] = replace(volumes[sequence], source_images=(header,))
    images = super_resolve_study(replace(prepared, volumes=volumes), models)
    boxes = [
        volume.array is volumes[Sequence.T1].array for volume, options in asked if options["slice_profile"] == "box"
    ]
    assert boxes == [True]
    section = images.describe()["super_resolution"]
    assert section["blur"]["T1"] == {"network_share": 1.0, "axes": [None, None, None]}
    assert section["slice_profile"] == {"T1": "box", "T1c": "cubic", "T2": "cubic", "FLAIR": "cubic"}
    jsonschema.validate(section, schema("super_resolution"))
    for wrong in ({**section["slice_profile"], "T2": "2D"}, {"T1": "box"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**section, "slice_profile": wrong}, schema("super_resolution"))


@pytest.mark.usefixtures("asked")
def test_a_registered_series_takes_the_reference_s_space(prepared: Prepared, models: Models) -> None:
    """FLAIR whose own coordinates are shifted by 12 mm lies on the lesion again, in the reference's frame."""
    shift = np.eye(4)
    shift[:3, 3] = [0.0, 0.0, 12.0]  # from the reference's space to FLAIR's
    flair = prepared.volumes[Sequence.FLAIR]
    moved = replace(flair, affine=shift @ flair.affine, frame_of_reference_uid="1.9")
    rigid = replace(prepared.alignment[Sequence.FLAIR], matrix=shift, performed=True)
    study = replace(
        prepared,
        volumes={**prepared.volumes, Sequence.FLAIR: moved},
        alignment={**prepared.alignment, Sequence.FLAIR: rigid},
    )
    for volume in (super_resolve_study(study, models).volumes[Sequence.FLAIR], as_measured(study)[Sequence.FLAIR]):
        found = (volume.affine @ [*np.argwhere(volume.array > 650).mean(axis=0), 1])[:3]
        assert np.linalg.norm(found - lesion_centroid()) < 1.5
    images = super_resolve_study(study, models)
    assert images.volumes[Sequence.FLAIR].frame_of_reference_uid == prepared.frame_of_reference_uid


@pytest.mark.usefixtures("asked")
def test_progress_runs_from_0_to_1(prepared: Prepared, models: Models) -> None:
    told: list[float] = []
    super_resolve_study(prepared, models, progress=told.append)
    assert told == [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0]
