"""Runs from NIfTI and ``acuity.run``, with tiny stand-ins for the two networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import nibabel as nib
import numpy as np
import pytest

import acuity
from acuity.anatomy import Region, Sequence, labels_to_regions
from acuity.errors import AcuityError
from acuity.pipeline.api import Result, stages_for
from acuity.pipeline.graph import run_stages
from acuity.pipeline.nifti import read_image, write_image
from acuity.pipeline.nifti_files import is_nifti, named_images
from acuity.pipeline.options import Options
from acuity.pipeline.run import Run
from acuity.pipeline.stages import Models, load_models
from acuity.research.metrics.overlap import dice
from acuity.volume import RAS_LPS, Grid, Volume
from tests.study_phantom import image, oblique_grid, write_bundles, write_study

ENDINGS = {Sequence.T1: "t1n", Sequence.T1C: "t1c", Sequence.T2: "t2w", Sequence.FLAIR: "t2f"}
SPACING = (2.5, 2.5, 2.5)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return load_models(write_bundles(tmp_path_factory.mktemp("bundles")))


def noisy(sequence: Sequence, grid: Grid) -> Volume:
    """An image as ``study_phantom.write_study`` writes it."""
    array = image(sequence, grid)
    noise = np.random.default_rng(list(Sequence).index(sequence) + 1).normal(0.0, 8.0, np.count_nonzero(array))
    array[array > 0] += noise
    return Volume(np.maximum(array, 0.0).round().astype(np.float32), grid.affine)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantom's study as the folder of a BraTS case, with labels that no one must take for an image."""
    folder = tmp_path_factory.mktemp("case")
    for sequence, ending in ENDINGS.items():
        write_image(noisy(sequence, oblique_grid()), folder / f"Case-0001-{ending}.nii.gz")
    write_image(Volume(np.ones((4, 4, 4), np.uint8), np.eye(4)), folder / "Case-0001-seg.nii.gz")
    return folder


@pytest.fixture(scope="module")
def schema(repository: Path) -> dict[str, Any]:
    return json.loads((repository / "configs" / "result.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def found(case: Path, models: Models) -> Result:
    return acuity.run(case, models=models, spacing=SPACING)


def perform(models: Models, options: Options) -> tuple[int, dict[str, Any]]:
    """A run as ``acuity run`` performs it: exit code and ``result.json``."""
    run = Run(options)
    run.open()
    run.perform("load models", lambda: models)
    computing, writing = stages_for(options)
    run_stages(run, models, computing + writing)
    return run.finish(), json.loads((options.output / "result.json").read_text())


def agree(one: Volume, other: Volume) -> None:
    for region, a, b in zip(Region, labels_to_regions(one.array), labels_to_regions(other.array), strict=True):
        # A voxel of 32 may differ: images with other orders of axes are restored in another order.
        assert a.any() and dice(a, b) > 0.96, region


def test_nifti_and_dicom_give_one_mask(found: Result, models: Models, tmp_path: Path) -> None:
    write_study(tmp_path, MRAcquisitionType="3D")  # NIfTI cannot tell 2D, whose slices are averaged another way
    dicom = acuity.run(tmp_path, models=models, spacing=SPACING)
    assert found.labels is not None and dicom.labels is not None
    assert found.labels.grid.same_as(dicom.labels.grid)
    agree(found.labels, dicom.labels)
    assert found.source_labels is not None and dicom.source_labels is not None
    agree(found.source_labels, dicom.source_labels)


def test_the_files_hold_what_the_function_returns(
    found: Result, case: Path, models: Models, schema: dict[str, Any], tmp_path: Path
) -> None:
    code, result = perform(models, Options(input=case, output=tmp_path, models=Path(), spacing=SPACING))
    assert code == 0
    jsonschema.validate(result, schema)
    written = [f"series/{sequence.value}.nii.gz" for sequence in Sequence]
    written += ["seg/segmentation_source.nii.gz", "seg/segmentation_sr.nii.gz", "overview/overview.png"]
    assert sorted(entry["path"] for entry in result["outputs"]) == sorted(written)
    assert result["inputs"]["nifti"]["T1c"]["shape"] == list(oblique_grid().shape)
    assert "Case" not in json.dumps(result)  # a file's name may be a patient's
    for name, volume in (
        ("series/T1", found.images[Sequence.T1]),
        ("seg/segmentation_sr", found.labels),
        ("seg/segmentation_source", found.source_labels),
    ):
        assert volume is not None
        file = nib.load(tmp_path / f"{name}.nii.gz")
        np.testing.assert_array_equal(np.asarray(file.dataobj), volume.array)
        np.testing.assert_allclose(RAS_LPS @ file.affine, volume.affine, atol=1e-4)
    for section in ("inputs", "preparation", "uncertainty", "measurements"):
        assert found.record[section] == result[section]
    assert [m.volume_ml and round(m.volume_ml, 3) for m in found.measurements] == [
        result["measurements"][region.value]["volume_ml"] for region in Region
    ]


def test_a_second_call_gives_the_same(found: Result, case: Path, models: Models) -> None:
    told: list[tuple[str, float]] = []
    files = {s.value: path for s, path in named_images(case).items()}
    again = acuity.run(
        images=files, models=models, spacing=SPACING, stripped=True, progress=lambda *done: told.append(done)
    )
    assert again.labels is not None and found.labels is not None
    np.testing.assert_array_equal(again.labels.array, found.labels.array)
    assert again.measurements == found.measurements
    assert {stage for stage, _ in told} == {"super-resolve", "segment"} and told[-1][1] == 1


@pytest.mark.slow
def test_images_on_grids_of_their_own_are_registered(models: Models, tmp_path: Path, found: Result) -> None:
    """FLAIR lies 6 mm off in a space of its own."""
    files = {}
    for sequence in Sequence:
        volume = noisy(sequence, oblique_grid())
        if sequence is Sequence.FLAIR:
            volume = noisy(sequence, oblique_grid((4.0, 4.0, 5.0)))
            shift = np.eye(4)
            shift[:3, 3] = (6.0, 0.0, 0.0)
            volume = Volume(volume.array, shift @ volume.affine)
        files[sequence] = tmp_path / f"{sequence.value}.nii"
        write_image(volume, files[sequence])
    moved = acuity.run(images=files, models=models, spacing=SPACING)
    registration = moved.record["preparation"]["registration"]
    assert [registration[name]["performed"] for name in ("T1", "T2", "FLAIR")] == [False, False, True]
    assert registration["FLAIR"]["translation_mm"] == pytest.approx(6.0, abs=0.6)
    assert moved.labels is not None and found.labels is not None
    whole = list(Region).index(Region.WT)
    assert dice(labels_to_regions(moved.labels.array)[whole], labels_to_regions(found.labels.array)[whole]) > 0.9


def test_one_image_is_sharpened_alone(case: Path, models: Models, schema: dict[str, Any], tmp_path: Path) -> None:
    images = {Sequence.T2: named_images(case)[Sequence.T2]}
    options = Options(
        input=Path(), output=tmp_path, models=Path(), images=images, only="sr", spacing=SPACING, verbosity=-1
    )
    code, result = perform(models, options)
    assert code == 0
    jsonschema.validate(result, schema)
    assert [entry["path"] for entry in result["outputs"]] == ["series/T2.nii.gz"]
    sharp = read_image(tmp_path / "series" / "T2.nii.gz")
    assert sharp.grid.same_as(oblique_grid().with_spacing(SPACING), 0.05)
    described = result["super_resolution"]["images"]["T2"]
    assert described["data_consistency_residual"]["after"] < described["data_consistency_residual"]["before"]
    assert [axis is None for axis in described["blur"]["axes"]] == [
        own <= wanted for own, wanted in zip(oblique_grid().spacing, SPACING, strict=True)
    ]


def test_the_tumor_is_found_in_the_images_as_they_are(
    case: Path, models: Models, schema: dict[str, Any], tmp_path: Path
) -> None:
    code, result = perform(models, Options(input=case, output=tmp_path, models=Path(), only="seg"))
    assert code == 0
    jsonschema.validate(result, schema)
    assert [entry["path"] for entry in result["outputs"]] == ["seg/segmentation_source.nii.gz"]
    assert result["super_resolution"] is None and result["measurements"]["WT"]["volume_ml"] > 5
    labels = read_image(tmp_path / "seg" / "segmentation_source.nii.gz")
    assert labels.grid.same_as(oblique_grid(), 0.05)


def spoiled(kind: str, path: Path) -> None:
    """A file with one fault."""
    array, affine = np.random.default_rng(0).random((8, 8, 8)).astype(np.float32), np.eye(4)
    if kind == "four axes":
        array = np.stack([array, array], axis=3)
    if kind == "no number":
        array[3, 3, 3] = np.nan
    if kind == "z-scored":
        array = array - 0.5
    if kind == "sheared":
        affine[0, 1] = 0.3
    file = nib.Nifti1Image(array, affine)
    if kind == "no orientation":
        file.set_sform(None, code=0)
        file.set_qform(None, code=0)
    if kind == "DICOM":
        path.write_bytes(b"\0" * 128 + b"DICM")
    elif kind == "no NIfTI":
        path.write_bytes(b"x" * 400)
    elif kind != "absent":
        nib.save(file, path)


@pytest.mark.parametrize(
    ("kind", "exit_code", "message"),
    [
        ("absent", 10, "does not exist"),
        ("no orientation", 20, "neither sform nor qform"),
        ("sheared", 25, "not perpendicular"),
        ("no number", 26, "not finite"),
        ("no NIfTI", 26, "cannot be read"),
        ("four axes", 27, "8 x 8 x 8 x 2"),
        ("z-scored", 27, "below zero"),
        ("DICOM", 27, "`acuity run STUDY -o OUT`"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused(kind: str, exit_code: int, message: str, tmp_path: Path) -> None:
    spoiled(kind, tmp_path / "x.nii")
    with pytest.raises(AcuityError, match=message) as caught:
        read_image(tmp_path / "x.nii")
    assert caught.value.exit_code == exit_code


@pytest.mark.parametrize(
    ("names", "exit_code", "message"),
    [
        (["a.nii.gz", "b_seg.nii"], 30, "None of 2 NIfTI files"),
        (["a_t1.nii.gz", "b_t1n.nii"], 31, "Two NIfTI files are T1"),
        (["a_t1.nii.gz", "a_flair.nii.gz"], 30, "T1c, T2 are not given"),
    ],
)
def test_a_folder_that_is_no_case_is_refused(
    names: list[str], exit_code: int, message: str, models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for name in names:
        (tmp_path / "in" / name).touch()
    options = Options(input=tmp_path / "in", output=tmp_path / "out", models=Path())
    assert is_nifti(options)
    code, _ = perform(models, options)
    assert code == exit_code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "names",
    [
        ("x_t1.nii", "x_t1ce.nii.gz", "x_t2.nii.gz", "x_flair.nii.gz", "x_seg.nii.gz"),
        ("x-t1n.nii.gz", "x-t1c.nii.gz", "x-t2w.nii.gz", "x-t2f.nii.gz", "x-seg.nii.gz"),
        ("t1.nii.gz", "t1ce.nii.gz", "t2.nii.gz", "flair.nii.gz", "seg.nii.gz"),
    ],
)
def test_names_as_brats_has_them(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert [path.name for path in named_images(tmp_path).values()] == list(names[:4])


def test_the_function_wants_one_input(case: Path, models: Models, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="either study or images"):
        acuity.run(models=models)
    with pytest.raises(AcuityError, match="does not exist"):
        acuity.run(tmp_path / "nowhere", models=models)
    with pytest.raises(ValueError, match="are for NIfTI"):
        acuity.run(tmp_path, models=models, only="sr")
