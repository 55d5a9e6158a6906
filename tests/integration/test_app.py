"""The application's graph, from DICOM files to published outputs, with tiny stand-ins for the two networks."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, SecondaryCaptureImageStorage

from acuity.anatomy import Sequence
from acuity.dicom.reading.read_seg import read_segmentation
from acuity.pipeline.options import Options
from acuity.pipeline.run import Run
from acuity.pipeline.stages import load_models
from tests.dicom_builder import corrupt_element, oblique_affine, phantom, truncate, uid, write_mr_series
from tests.study_phantom import HEADERS, lesion_centroid, oblique_grid, write_bundles, write_study

# Texts of the study that must not leave it by any way but the derived DICOM objects.
IDENTIFIERS: dict[str, Any] = {
    "PatientName": "Quixotic^Zebulon",
    "PatientID": "QZ-777123",
    "PatientBirthDate": "19610704",
    "AccessionNumber": "ACC99887",
    "InstitutionName": "Saint Nowhere Hospital",
    "ReferringPhysicianName": "Wintergreen^Philomena",
}

STAGES = [
    "load models",
    "read",
    "select",
    "prepare",
    "super-resolve",
    "segment",
    "write series",
    "write seg",
    "write report",
    "write overview",
    "total",
]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundles(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    write_study(folder, **IDENTIFIERS)
    return folder


@pytest.fixture
def study(sound: Path, tmp_path: Path) -> Path:
    """A copy of a sound study, to be spoiled."""
    return Path(shutil.copytree(sound, tmp_path / "in"))


@pytest.fixture(scope="module")
def schema(repository: Path) -> dict[str, Any]:
    return json.loads((repository / "configs" / "result.schema.json").read_text(encoding="utf-8"))


def run_graph(study: Path, output: Path, bundles: Path, **options: Any) -> int:
    """The application in this process: its exit code."""
    from app import AcuityApp

    run = Run(Options(input=study, output=output, models=bundles, **{"spacing": (2.5, 2.5, 2.5), **options}))
    run.open()
    models = run.perform("load models", lambda: load_models(run.options.models))
    if models is not None:
        AcuityApp(run, models).run()
    return run.finish()


def start(repository: Path, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """The application as a user starts it."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("HOLOSCAN_", "ACUITY_"))}
    command = [sys.executable, str(repository / "app.py"), *map(str, arguments)]
    return subprocess.Popen(
        command, env={**inherited, **environment}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def dicom_in(folder: Path) -> list[Path]:
    """Files with DICOM's magic word, hidden ones too."""
    return [path for path in folder.rglob("*") if path.is_file() and path.read_bytes()[128:132] == b"DICM"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, sound: Path, bundles: Path) -> Iterator[tuple[Path, str, int]]:
    """One successful run: its output folder, what it said on the terminal, and its exit code."""
    folder = tmp_path_factory.mktemp("done")
    shutil.copytree(sound, folder / "in")
    with pytest.MonkeyPatch.context() as patch, open(folder / "said", "w+") as said:
        patch.setattr(sys, "stderr", said)
        code = run_graph(folder / "in", folder / "out", bundles)
        said.seek(0)
        yield folder / "out", said.read(), code


def test_success_gives_every_output(done: tuple[Path, str, int], schema: dict[str, Any]) -> None:
    out, said, code = done
    assert code == 0, said
    assert sorted(os.listdir(out)) == ["overview", "report", "result.json", "seg", "series"]
    assert sorted(os.listdir(out / "series")) == ["FLAIR", "T1", "T1c", "T2"]
    assert sorted(os.listdir(out / "seg")) == ["segmentation_source.dcm", "segmentation_sr.dcm"]
    assert sorted(os.listdir(out / "overview")) == ["overview.dcm", "overview.png"]
    result = json.loads((out / "result.json").read_text())
    jsonschema.validate(result, schema)
    assert result["super_resolution"]["spacing_mm"] == [2.5, 2.5, 2.5]
    listed = {entry["path"] for entry in result["outputs"]}
    assert listed == {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} - {"result.json"}
    assert list(result["timings_s"]) == STAGES


def test_one_line_a_stage(done: tuple[Path, str, int]) -> None:
    lines = done[1].splitlines()
    assert [line[:16].strip() for line in lines] == STAGES
    assert all(line[16:24].strip().endswith("s") for line in lines)


def test_outputs_belong_to_the_study(done: tuple[Path, str, int]) -> None:
    out = done[0]
    sources = [dcmread(path) for path in sorted((out.parent / "in" / "T1c").iterdir())]
    for path in dicom_in(out):
        ds = dcmread(path)
        assert ds.StudyInstanceUID == sources[0].StudyInstanceUID
        assert ds.PatientID == IDENTIFIERS["PatientID"]
        assert ds.get("FrameOfReferenceUID", sources[0].FrameOfReferenceUID) == sources[0].FrameOfReferenceUID
    series = {dcmread(path).SeriesInstanceUID for path in dicom_in(out)}
    assert len(series) == 4 + 2 + 2 + 1  # SR series; segmentations; report and its regions; overview
    source_seg = dcmread(out / "seg" / "segmentation_source.dcm")
    referenced = source_seg.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == sources[0].SeriesInstanceUID
    fine_seg = dcmread(out / "seg" / "segmentation_sr.dcm")
    fine = dcmread(out / "series" / "T1c" / "0001.dcm")
    assert fine_seg.ReferencedSeriesSequence[0].SeriesInstanceUID == fine.SeriesInstanceUID


def test_the_tumor_lies_where_it_is(done: tuple[Path, str, int]) -> None:
    for name, voxel in (("segmentation_sr", 2.5), ("segmentation_source", 5.0)):
        labels = read_segmentation(done[0] / "seg" / f"{name}.dcm")
        found = (labels.affine @ [*np.argwhere(labels.array).mean(axis=0), 1])[:3]
        assert np.linalg.norm(found - lesion_centroid()) < voxel / 2, name


def test_nothing_identifies_the_patient_outside_dicom(done: tuple[Path, str, int]) -> None:
    out, said, _ = done
    text = re.sub(r"[0-9a-f]{64}|[0-9.]{20,}", "", said + (out / "result.json").read_text())  # hashes and UIDs
    names = " ".join(path.name for path in out.rglob("*"))
    for value in IDENTIFIERS.values():
        for part in value.split("^"):
            assert part.lower() not in (text + names).lower()
    for date in ("20200102", "101500"):
        assert date not in text


def test_outputs_and_an_earlier_result_are_never_mixed(
    done: tuple[Path, str, int], bundles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = done[0]
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert run_graph(out.parent / "in", out, bundles) == 60
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert "holds an earlier result" in capsys.readouterr().err


def replace(folder: Path, sequence: Sequence, **changes: Any) -> None:
    """Write the series of ``sequence`` again, small and with a fault."""
    for path in (folder / sequence.value).iterdir():
        path.unlink()
    array = changes.pop("array", phantom())
    affine = changes.pop("affine", oblique_affine())
    write_mr_series(
        folder / sequence.value,
        array,
        affine,
        name=sequence.value,
        series_number=list(Sequence).index(sequence) + 1,
        **{**IDENTIFIERS, **HEADERS[sequence], **changes},
    )


def again(sequence: Sequence, **changes: Any) -> Callable[[Path], None]:
    """The fault of one series that is written again."""
    return lambda folder: replace(folder, sequence, **changes)


def two_studies(folder: Path) -> None:
    write_mr_series(folder / "other", phantom(), oblique_affine(), study_uid=uid("another study"))


def mixed_orientations(folder: Path) -> None:
    affine = oblique_affine(angles=(0.0, 30.0, 0.0))
    direction = [f"{x:.6f}" for x in (affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0)).T.ravel()]

    def turn(ds: Any, k: int) -> None:
        if k >= 6:
            ds.ImageOrientationPatient = direction

    replace(folder, Sequence.T2, edit=turn)


def duplicate_positions(folder: Path) -> None:
    replace(folder, Sequence.T2)
    write_mr_series(
        folder / "T2",
        phantom(seed=1),
        oblique_affine(),
        name="T2",
        series_number=3,
        first_instance=101,
        series_uid=dcmread(next((folder / "T2").iterdir())).SeriesInstanceUID,
        **{**IDENTIFIERS, **HEADERS[Sequence.T2]},
    )


def corrupt_header(folder: Path) -> None:
    replace(folder, Sequence.T2)
    corrupt_element(sorted((folder / "T2").iterdir())[3], "PixelSpacing", b"x\\y")


def truncated_pixels(folder: Path) -> None:
    replace(folder, Sequence.T2)
    truncate(sorted((folder / "T2").iterdir())[4], 0.9)


def no_dicom(folder: Path) -> None:
    for path in folder.rglob("*.dcm"):
        path.unlink()
    (folder / "notes.txt").write_text("nothing here")


def no_input(folder: Path) -> None:
    no_dicom(folder)
    (folder / "notes.txt").unlink()
    for path in folder.iterdir():
        path.rmdir()
    folder.rmdir()


def missing_sequence(folder: Path) -> None:
    for path in (folder / "FLAIR").iterdir():
        path.unlink()


def another_modality(folder: Path) -> None:
    missing_sequence(folder)
    write_mr_series(
        folder / "FLAIR",
        phantom(),
        oblique_affine(),
        name="FLAIR",
        SOPClassUID=CTImageStorage,
        Modality="CT",
        **IDENTIFIERS,
    )


def tilted_gantry(folder: Path) -> None:
    affine = oblique_affine()
    step = affine[:3, 0] / np.linalg.norm(affine[:3, 0])

    def shear(ds: Any, k: int) -> None:
        ds.ImagePositionPatient = [f"{x:.4f}" for x in affine[:3, 3] + k * (affine[:3, 2] + 0.8 * step)]

    replace(folder, Sequence.FLAIR, edit=shear)


def two_scans_alike(folder: Path) -> None:
    for sequence in (Sequence.T1, Sequence.T1C):
        replace(folder, sequence, SeriesDescription="AX T1", ContrastBolusAgent=None)


def not_the_same_head(folder: Path) -> None:
    grid = oblique_grid()
    noise = np.random.default_rng(0).integers(0, 1000, grid.shape).astype(np.uint16)
    replace(folder, Sequence.FLAIR, array=noise, affine=grid.affine, FrameOfReferenceUID=uid("another frame"))


def no_brain(folder: Path) -> None:
    for sequence in Sequence:
        array = np.zeros((24, 20, 12), np.uint16)
        array[8:14, 8:12, 4:8] = 500  # 48 ml on 8 mm voxels
        array[8:11, 8:12, 4:8] = 700
        replace(folder, sequence, array=array, affine=oblique_affine((5.0, 5.0, 5.0)))


FAULTS: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "no input": (no_input, 10, "input-not-found"),
    "no DICOM": (no_dicom, 11, "no-dicom"),
    "two studies": (two_studies, 12, "several-studies"),
    "two patients": (again(Sequence.T2, PatientID="ANOTHER"), 12, "several-studies"),
    "no geometry": (again(Sequence.T1C, ImagePositionPatient=None), 20, "no-geometry"),
    "mixed orientations": (mixed_orientations, 21, "mixed-orientations"),
    "missing slice": (again(Sequence.FLAIR, skip=[5]), 22, "missing-slice"),
    "duplicate positions": (duplicate_positions, 23, "duplicate-positions"),
    "corrupt header": (corrupt_header, 24, "inconsistent-headers"),
    "tilted gantry": (tilted_gantry, 25, "gantry-tilt"),
    "truncated pixels": (truncated_pixels, 26, "unreadable-pixels"),
    "a capture": (again(Sequence.FLAIR, SOPClassUID=SecondaryCaptureImageStorage), 27, "unsupported-series"),
    "two slices": (again(Sequence.FLAIR, skip=range(2, 12)), 28, "too-few-slices"),
    "missing sequence": (missing_sequence, 30, "missing-sequence"),
    "another modality": (another_modality, 30, "missing-sequence"),
    "two scans alike": (two_scans_alike, 31, "ambiguous-sequence"),
    "not the same head": (not_the_same_head, 40, "registration-failed"),
    "no brain": (no_brain, 41, "brain-not-found"),
}


@pytest.mark.parametrize(("fault", "exit_code", "code"), FAULTS.values(), ids=FAULTS)
def test_a_bad_study_is_refused_by_its_own_code(
    fault: Callable[[Path], None],
    exit_code: int,
    code: str,
    study: Path,
    tmp_path: Path,
    bundles: Path,
    schema: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    fault(study)
    assert run_graph(study, tmp_path / "out", bundles) == exit_code
    assert dicom_in(tmp_path / "out") == []
    assert os.listdir(tmp_path / "out") == ["result.json"]
    text = (tmp_path / "out" / "result.json").read_text()
    result = json.loads(text)
    jsonschema.validate(result, schema)
    assert (result["status"], result["exit_code"], result["error"]["code"]) == ("refused", exit_code, code)
    said = capsys.readouterr()
    assert f"error: {code}: " in said.err
    for value in IDENTIFIERS.values():
        assert value not in text + said.out + said.err


def test_a_failure_after_writing_began_leaves_no_dicom(
    study: Path, tmp_path: Path, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report's writer fails when series and segmentations are already on disk."""

    def fail(*args: Any, **kwargs: Any) -> None:
        assert dicom_in(tmp_path / "out")  # there is something to withdraw
        raise ValueError("Quixotic^Zebulon")

    monkeypatch.setattr("acuity.pipeline.writing.write_report", fail)
    assert run_graph(study, tmp_path / "out", bundles) == 1
    assert os.listdir(tmp_path / "out") == ["result.json"]
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["status"], result["error"]["code"]) == ("failed", "internal")
    assert "Quixotic" not in json.dumps(result)
    assert "write overview" not in result["timings_s"]


def test_a_missing_bundle_is_refused_before_the_study_is_read(tmp_path: Path) -> None:
    assert run_graph(tmp_path / "in", tmp_path / "out", tmp_path) == 50
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["error"]["code"], result["inputs"]) == ("bundle-not-found", None)


def test_a_series_that_the_user_names_reaches_the_selection(study: Path, tmp_path: Path, bundles: Path) -> None:
    assert run_graph(study, tmp_path / "out", bundles, series={Sequence.T1: "1.2.3"}) == 32
    assert json.loads((tmp_path / "out" / "result.json").read_text())["error"]["code"] == "invalid-rules"


@pytest.mark.slow
def test_the_process_obeys_the_holoscan_variables(repository: Path, study: Path, tmp_path: Path, bundles: Path) -> None:
    folders = {"INPUT": study, "OUTPUT": tmp_path / "out", "MODEL": bundles}
    process = start(repository, "--spacing", "5", **{f"HOLOSCAN_{k}_PATH": str(path) for k, path in folders.items()})
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert json.loads((tmp_path / "out" / "result.json").read_text())["status"] == "success"
    assert out == ""
    assert len(err.splitlines()) == len(STAGES), err  # one line a stage and the total: no library speaks
    for value in IDENTIFIERS.values():
        assert value not in err


@pytest.mark.slow
def test_the_process_ends_with_the_refusal_s_code(repository: Path, study: Path, tmp_path: Path, bundles: Path) -> None:
    replace(study, Sequence.FLAIR, skip=[5])
    process = start(repository, "-i", study, "-o", tmp_path / "out", "-m", bundles)
    _, err = process.communicate(timeout=900)
    assert process.returncode == 22
    assert err.splitlines()[-1].startswith("error: missing-slice: ")
    assert os.listdir(tmp_path / "out") == ["result.json"]


def test_a_wrong_command_line_ends_with_2_before_a_framework_is_imported(repository: Path) -> None:
    process = start(repository, "--spacing", "0", PYTHONPROFILEIMPORTTIME="1")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "between 0.25 and 10 mm" in err
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in err.splitlines()}
    assert "argparse" in imported
    assert imported.isdisjoint({"holoscan", "monai", "pydicom", "SimpleITK", "torch"})


def test_a_wrong_path_is_named_before_a_framework_is_imported(
    repository: Path, tmp_path: Path, schema: dict[str, Any]
) -> None:
    process = start(repository, "-i", tmp_path / "nowhere", "-o", tmp_path / "out", PYTHONPROFILEIMPORTTIME="1")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 10
    assert f"The input, {tmp_path / 'nowhere'}, does not exist." in err
    assert "-i names" in err and "HOLOSCAN_INPUT_PATH" in err and "./input" in err and "Traceback" not in err
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in err.splitlines()}
    assert imported.isdisjoint({"holoscan", "monai", "pydicom", "SimpleITK", "torch"})
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    jsonschema.validate(result, schema)
    assert (result["exit_code"], result["error"]["code"]) == (10, "input-not-found")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_nothing_half_written(
    number: signal.Signals, repository: Path, study: Path, tmp_path: Path, bundles: Path, schema: dict[str, Any]
) -> None:
    process = start(repository, "-i", study, "-o", tmp_path / "out", "-m", bundles, "--spacing", "2")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("segment"):  # the graph is at work, and files are being written
            break
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert os.listdir(tmp_path / "out") == ["result.json"]
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    jsonschema.validate(result, schema)
    assert (result["status"], result["error"]["code"]) == ("failed", "interrupted")
