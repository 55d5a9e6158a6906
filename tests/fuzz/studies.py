"""Sound studies of a small head for the fuzzer to mutate, in every way that files are written, and what they show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.uid import ExplicitVRLittleEndian

from acuity.anatomy import Sequence
from acuity.volume import Grid
from tests.dicom_builder import dataset, write_dicomdir, write_enhanced_mr, write_mr_series
from tests.study_phantom import HEADERS, image, oblique_grid

# (33, 39, 12) voxels: JPEG 2000 needs 32 pixels a side.
GRID = oblique_grid((3.4, 3.4, 10.0))
PATIENT = "Phantom^Acuity"  # as the builder names it: no message may
SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": uid.ImplicitVRLittleEndian,
    "big endian": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "RLE": uid.RLELossless,
    "JPEG": uid.JPEGLosslessSV1,
    "JPEG-LS": uid.JPEGLSLossless,
    "JPEG 2000": uid.JPEG2000Lossless,
}
LAYOUTS = (*SYNTAXES, "one folder", "DICOMDIR", "enhanced")


@dataclass(frozen=True)
class Truth:
    """What one sequence of a study shows, and in which series."""

    series_uid: str
    grid: Grid
    array: NDArray[np.float64]


def write(folder: Path, layout: str) -> None:
    """Write a study of four series in one of ``LAYOUTS``."""
    target = folder.with_name(folder.name + "-source") if layout == "DICOMDIR" else folder
    for number, (sequence, truth) in enumerate(truths().items(), start=1):
        named: dict[str, Any] = {"name": sequence.value, "series_uid": truth.series_uid, "series_number": number}
        header = HEADERS[sequence]
        if layout == "enhanced":
            timing = {"EchoTime": float(header["EchoTime"])}
            timing |= {"InversionTime": header["InversionTime"]} if "InversionTime" in header else {}
            top = {key: value for key, value in header.items() if key not in ("EchoTime", "InversionTime")}
            measured = [dataset(RepetitionTime=float(header["RepetitionTime"]), FlipAngle=90.0)]
            top["MRTimingAndRelatedParametersSequence"] = measured
            path = target / f"{sequence.value}.dcm"
            write_enhanced_mr(path, [truth.array], truth.grid.affine, frames=[timing], **named, **top)
        else:
            place = target if layout == "one folder" else target / sequence.value
            syntax = SYNTAXES.get(layout, ExplicitVRLittleEndian)
            write_mr_series(place, truth.array, truth.grid.affine, transfer_syntax=syntax, **named, **header)
    if layout == "DICOMDIR":
        write_dicomdir(target, folder)


def truths() -> Mapping[Sequence, Truth]:
    """The four sequences; made once."""
    if not _TRUTHS:
        for number, sequence in enumerate(Sequence, start=1):
            array = image(sequence, GRID, parts=2)
            noise = np.random.default_rng(number).normal(0.0, 8.0, np.count_nonzero(array))
            array[array > 0] += noise
            _TRUTHS[sequence] = Truth(
                uid.generate_uid(entropy_srcs=["fuzz", sequence.value]), GRID, np.maximum(array, 0).round()
            )
    return _TRUTHS


_TRUTHS: dict[Sequence, Truth] = {}
