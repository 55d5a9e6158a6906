"""Reads a mutated study as a run does, up to all that it writes, and says whether it was read right or refused."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread

from acuity.anatomy import Sequence
from acuity.cli import main
from acuity.dicom.reading.read import load_stack
from acuity.dicom.selection.select import select_sequences
from acuity.dicom.writing.overview import write_overview
from acuity.dicom.writing.report import write_report
from acuity.dicom.writing.segmentation import write_regions, write_segmentation
from acuity.dicom.writing.series import write_mr_series
from acuity.errors import AcuityError
from acuity.imaging.measurement import measure_regions
from acuity.pipeline.preparation import REFERENCE, prepare_volumes
from acuity.pipeline.study import read_dicom
from acuity.volume import Volume
from tests.derived import SEG_MODEL, SR_MODEL
from tests.fuzz.studies import PATIENT, truths

INTERNAL = 1  # the exit code of what was not foreseen


class FaultError(Exception):
    """What Acuity must not do; the text says it."""


def judge(folder: Path, output: Path | None, pixels_may_differ: bool = False) -> str:
    """Inspect, read, select, prepare and write a study.

    Parameters
    ----------
    folder : the mutated study
    output : where to write, models being left out and their results made up; None to write nothing
    pixels_may_differ : values may be others than the truth's, but not where they lie

    Returns
    -------
    "right", or the code of the refusal.

    Raises
    ------
    FaultError : another study than the true one was read, or a text names the patient or holds control characters
    Exception : whatever ended it that was not foreseen
    """
    _inspect(folder)
    if output is not None:
        _inspect(folder, "--json")
    try:
        volumes = _read(folder, pixels_may_differ)
        prepared = prepare_volumes(volumes)
    except AcuityError as error:
        _check_text(str(error))
        if type(error).__module__ != "acuity.errors" or error.exit_code == INTERNAL:
            raise FaultError(f"a refusal without a code of its own: {error}") from error
        return error.code
    if output is None:
        return "right"
    frame = prepared.frame_of_reference_uid
    _write({s: Volume(v.array, v.affine, frame, v.source_images, v.source_frames) for s, v in volumes.items()}, output)
    return "right"


def _inspect(folder: Path, *options: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["inspect", str(folder), *options])
    if code == INTERNAL:
        raise FaultError(f"inspect ends with 1: {err.getvalue().strip()}")
    if code == 0 and options:
        json.loads(out.getvalue())
    out.getvalue().encode("utf-8")
    _check_text(out.getvalue() + err.getvalue())


def _check_text(text: str) -> None:
    control = {c for c in text if not c.isprintable()} - {"\n"}
    if control:
        lines = [ascii(line) for line in text.split("\n") if control & set(line)]
        raise FaultError(f"control characters in {lines[0][:300]}")
    if PATIENT in text or "DOE_JOHN" in text or "PHANTOM-1" in text:
        raise FaultError("a text names the patient")


def _read(folder: Path, pixels_may_differ: bool) -> dict[Sequence, Volume]:
    """The chosen volumes, which are the true ones."""
    choices = select_sequences(read_dicom(folder)).choices
    volumes = {}
    for sequence, truth in truths().items():
        choice = choices[sequence]
        volume = volumes[sequence] = load_stack(choice.stack)
        if not volume.grid.same_as(truth.grid, tolerance=0.25):
            raise FaultError(f"{sequence.value} lies elsewhere")
        different = float((volume.array != truth.array).mean())
        limit = 0.5 if pixels_may_differ else 0.0
        if different > limit or not np.isfinite(volume.array).all():
            raise FaultError(f"{different:.2%} of {sequence.value} has other values")
    return volumes


def _write(volumes: dict[Sequence, Volume], output: Path) -> None:
    """Everything that a run writes."""
    reference = volumes[REFERENCE]
    labels = reference.with_array(np.where(reference.array > 900, 4, 0).astype(np.uint8))
    series = {
        sequence: write_mr_series(
            volume,
            output / sequence.value,
            sequence=sequence,
            series_uid=f"2.25.{number}",
            series_number=number,
            model=SR_MODEL,
        )
        for number, (sequence, volume) in enumerate(volumes.items(), start=1)
    }
    common: dict[str, Any] = {"series_number": 9, "description": "fuzz", "model": SEG_MODEL}
    fine, measurements = series[REFERENCE], measure_regions(labels)
    write_segmentation(labels, labels.source_images, output / "seg.dcm", series_uid="2.25.11", **common)
    regions = write_regions(labels, fine, output / "regions.dcm", series_uid="2.25.12", **common)
    write_report(measurements, regions, fine, output / "report.dcm", series_uid="2.25.13", **common)
    write_overview(
        reference,
        reference,
        labels,
        output,
        sequence=REFERENCE,
        measurements=measurements,
        series_uid="2.25.14",
        **common,
    )
    for path in output.rglob("*.dcm"):
        ds = dcmread(path)
        if ds.get("PatientID") not in ("PHANTOM-1", ""):
            raise FaultError(f"{path.name} belongs to {ds.get('PatientID')!r}")
