"""Runs of studies that lack sequences, with tiny stand-ins for the two networks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import highdicom as hd
import jsonschema
import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread

import acuity
from acuity.anatomy import Region, Sequence
from acuity.errors import MissingSequenceError
from acuity.pipeline.api import stages_for
from acuity.pipeline.graph import run_stages
from acuity.pipeline.options import Options
from acuity.pipeline.run import Run
from acuity.pipeline.stages import Models, load_models
from tests import judges
from tests.study_phantom import image, lesion_centroid, oblique_grid, write_bundles, write_study

ALL = tuple(Sequence)
T1, T1C, T2, FLAIR = ALL
SUBSETS = [set(s) for s in chain.from_iterable(combinations(ALL, n) for n in (1, 2, 3))]
RUN = [s for s in SUBSETS if FLAIR in s]
SPACING = (2.5, 2.5, 2.5)


def names(sequences: Collection[Sequence]) -> str:
    return "+".join(s.value for s in ALL if s in sequences)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return load_models(write_bundles(tmp_path_factory.mktemp("bundles")))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    return folder


@pytest.fixture(scope="module")
def schema(repository: Path) -> dict[str, Any]:
    return json.loads((repository / "configs" / "result.schema.json").read_text(encoding="utf-8"))


def part_of(study: Path, folder: Path, sequences: Collection[Sequence]) -> Path:
    """A study with some of the sequences of another."""
    for sequence in sequences:
        shutil.copytree(study / sequence.value, folder / "study" / sequence.value)
    return folder / "study"


def perform(models: Models, options: Options) -> tuple[int, dict[str, Any]]:
    """A run as ``acuity run`` performs it: exit code and ``result.json``."""
    run = Run(options)
    run.open()
    run.perform("load models", lambda: models)
    computing, writing = stages_for(options)
    run_stages(run, models, computing + writing)
    return run.finish(), json.loads((options.output / "result.json").read_text())


@pytest.fixture(scope="module", params=[{T1C, FLAIR}, {FLAIR}, {T1, T2, FLAIR}], ids=names)
def finished(
    request: pytest.FixtureRequest, study: Path, models: Models, tmp_path_factory: pytest.TempPathFactory
) -> tuple[set[Sequence], Path, dict[str, Any]]:
    """A subset, the folder of its run's outputs and its ``result.json``."""
    work = tmp_path_factory.mktemp("run")
    options = Options(
        part_of(study, work, request.param), work / "out", Path(), spacing=SPACING, allow_missing=True, verbosity=-1
    )
    code, result = perform(models, options)
    assert code == 0, result["error"]
    return request.param, work / "out", result


def test_result_json_says_what_is_missing_and_what_that_costs(finished: tuple, schema: dict[str, Any]) -> None:
    sequences, _, result = finished
    jsonschema.validate(result, schema)
    absent = [s for s in ALL if s not in sequences]
    assert [s for s in ALL if result["selection"][s.value]["series_uid"] is None] == absent
    assert result["preparation"]["reference"] == ("T1c" if T1C in sequences else "FLAIR")
    assert set(result["super_resolution"]["slice_profile"]) == {s.value for s in sequences}
    said = " ".join(result["warnings"])
    assert all(s.value in said for s in absent) and " missing." in said
    for region in Region:
        lost = T1C not in sequences and region is not Region.WT
        measured, unsure = result["measurements"][region.value], result["uncertainty"][region.value]
        assert (measured["volume_ml"] is None) is lost and (unsure["volume_ml"] is None) is lost
        assert ("without T1c" in measured.get("not_assessable", "")) is lost
        assert ("without T1c" in unsure.get("not_assessable", "")) is lost
    assert ("not assessable" in said) is (T1C not in sequences)


def test_outputs_are_of_the_sequences_that_are_there(finished: tuple) -> None:
    sequences, out, _ = finished
    assert {path.name for path in (out / "series").iterdir()} == {s.value for s in sequences}


def segments_of(seg: Dataset) -> list[str]:
    return [item.SegmentLabel for item in seg.SegmentSequence]


@pytest.mark.parametrize("grid", ["sr", "source"])
def test_the_segmentation_holds_no_segment_that_cannot_be_told(finished: tuple, grid: str) -> None:
    sequences, out, _ = finished
    seg = dcmread(out / "seg" / f"segmentation_{grid}.dcm")
    if T1C in sequences:
        assert segments_of(seg) == ["Necrotic and non-enhancing tumor core", "Peritumoral edema", "Enhancing tumor"]
        return
    assert segments_of(seg) == ["Whole tumor"]
    assert seg.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Lesion"
    assert "not assessable without T1c" in seg.SegmentSequence[0].SegmentDescription
    assert "not assessable without T1c" in seg.ImageComments
    assert seg.SeriesDescription.startswith("Whole tumor by AI")
    volume = hd.seg.segread(out / "seg" / f"segmentation_{grid}.dcm").get_volume(combine_segments=True)
    voxels = np.argwhere(volume.array > 0)
    center = (volume.affine @ [*voxels.mean(axis=0), 1])[:3]
    assert np.linalg.norm(center - lesion_centroid()) < 2.5


def test_the_report_states_in_codes_what_is_not_assessable(finished: tuple, tmp_path: Path) -> None:
    sequences, out, result = finished
    report = hd.sr.srread(out / "report" / "report.dcm")
    groups = report.content.get_volumetric_roi_measurement_groups()
    others = report.content.get_planar_roi_measurement_groups() + report.content.get_image_measurement_groups()
    by_name = {group.tracking_identifier: group for group in [*groups, *others]}
    assert set(by_name) == {"Enhancing tumor", "Tumor core", "Whole tumor"}
    for name, region in zip(("Enhancing tumor", "Tumor core", "Whole tumor"), Region, strict=True):
        group, stated = by_name[name], result["measurements"][region.value]
        evaluations = {(e.name.meaning, e.value.meaning) for e in group.get_qualitative_evaluations()}
        evaluations -= {("Finding category", "Morphologically Abnormal Structure")}
        if stated["volume_ml"] is None:
            assert not group.get_measurements() and ("Volume", "Measurement not attempted") in evaluations
            texts = [item.TextValue for item in group[0].ContentSequence if item.ValueType == "TEXT"]
            assert stated["not_assessable"] in texts
        else:
            volumes = [m.value for m in group.get_measurements() if m.name.meaning == "Volume"]
            assert volumes == [pytest.approx(stated["volume_ml"], abs=1e-3)] and not evaluations
    regions = dcmread(out / "report" / "regions.dcm")
    assert segments_of(regions) == [n for n in by_name if n in segments_of(regions)]
    assert len(segments_of(regions)) == (3 if T1C in sequences else 1)


def test_independent_judges_find_nothing_wrong(finished: tuple, tmp_path: Path) -> None:
    _, out, result = finished
    objects = sorted(out.rglob("*.dcm"))
    assert not [line for path in objects for line in judges.dciodvfy_errors(path)]
    read = judges.dcmqi_report(out / "report" / "report.dcm", tmp_path / "report.json")
    measured = {m["TrackingIdentifier"] for m in read["Measurements"] if m.get("measurementItems")}
    stated = {"ET": "Enhancing tumor", "TC": "Tumor core", "WT": "Whole tumor"}
    assert measured == {stated[r] for r, m in result["measurements"].items() if m["volume_ml"] is not None}


@pytest.mark.parametrize("sequences", RUN, ids=names)
def test_every_subset_with_flair_runs_when_it_is_allowed(
    sequences: set[Sequence], models: Models, tmp_path: Path
) -> None:
    """From NIfTI; where T1c is missing, no label map says "edema" of what may be core."""
    grid = oblique_grid()
    files = {}
    for s in sequences:
        files[s] = tmp_path / f"{s.value}.nii.gz"
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine
        nib.save(nib.Nifti1Image(image(s, grid, parts=1).astype(np.float32), affine), files[s])
    found = acuity.run(images=files, models=models, spacing=SPACING, allow_missing=True)
    assert set(found.images) == sequences and found.assessment.missing == tuple(s for s in ALL if s not in sequences)
    known = {m.region for m in found.measurements if m.volume_ml is not None}
    assert known == (set(Region) if T1C in sequences else {Region.WT}) == set(found.uncertainty)
    assert (found.labels is None) is (T1C not in sequences)
    assert found.whole_tumor is not None and set(np.unique(found.whole_tumor.array)) == {0, 1}
    options = Options(Path(), tmp_path / "out", Path(), images=files, spacing=SPACING, allow_missing=True, verbosity=-1)
    code, _ = perform(models, options)
    written = {path.name for path in (tmp_path / "out" / "seg").iterdir()}
    name = "segmentation" if T1C in sequences else "whole_tumor"
    assert code == 0 and written == {f"{name}_sr.nii.gz", f"{name}_source.nii.gz"}


@pytest.mark.parametrize("sequences", RUN, ids=names)
@pytest.mark.parametrize("nifti", [False, True])
def test_by_default_an_incomplete_study_is_refused_and_the_option_is_named(
    sequences: set[Sequence], nifti: bool, study: Path, models: Models, tmp_path: Path
) -> None:
    given: dict[str, Any]
    if nifti:
        given = {"images": {s: tmp_path / f"{s.value}.nii.gz" for s in sequences}}  # not even opened
    else:
        given = {"study": part_of(study, tmp_path, sequences)}
    with pytest.raises(MissingSequenceError, match="--allow-missing runs without T1c, T1 or T2") as refusal:
        acuity.run(**given, models=models)
    assert all(s.value in refusal.value.found for s in ALL if s not in sequences)


@pytest.mark.parametrize("sequences", [s for s in SUBSETS if FLAIR not in s], ids=names)
def test_without_flair_nothing_runs(sequences: set[Sequence], study: Path, models: Models, tmp_path: Path) -> None:
    with pytest.raises(MissingSequenceError, match="FLAIR is missing") as refusal:
        acuity.run(part_of(study, tmp_path, sequences), models=models, allow_missing=True)
    assert "without FLAIR tumors are missed" in refusal.value.rule


def test_without_t1c_an_empty_mask_is_no_finding(models: Models, tmp_path: Path) -> None:
    """A network that finds nothing in FLAIR may have missed a tumor: neither 0 ml nor "absent" is stated."""
    grid = oblique_grid()
    flair = np.minimum(image(FLAIR, grid, parts=1), 410) + np.random.default_rng(0).normal(0, 8, grid.shape)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine
    flair[image(FLAIR, grid, parts=1) == 0] = 0
    nib.save(nib.Nifti1Image(flair.astype(np.float32), affine), tmp_path / "flair.nii.gz")
    options = Options(
        Path(),
        tmp_path / "out",
        Path(),
        images={FLAIR: tmp_path / "flair.nii.gz"},
        spacing=SPACING,
        allow_missing=True,
        verbosity=-1,
    )
    code, result = perform(models, options)
    assert code == 0 and not nib.load(tmp_path / "out" / "seg" / "whole_tumor_sr.nii.gz").get_fdata().any()
    whole = result["measurements"]["WT"]
    assert whole["volume_ml"] is None and "excludes none" in whole["not_assessable"]
    assert result["uncertainty"]["WT"]["volume_ml"] is None
    assert "No tumor was found, but without T1c that excludes none." in result["warnings"]


def test_a_refused_series_is_not_a_missing_one(study: Path, models: Models, tmp_path: Path) -> None:
    """The option is no way round a damaged series: it may be the better half of the study."""
    damaged = part_of(study, tmp_path, ALL)
    sorted((damaged / "T2").iterdir())[10].unlink()
    with pytest.raises(acuity.errors.MissingSliceError):
        acuity.run(damaged, models=models, allow_missing=True)
