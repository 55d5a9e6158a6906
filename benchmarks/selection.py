"""Whether the right series are chosen where nothing but timing and pixels tells: real BraTS cases as nameless DICOM.

Each case is written as a study of four series without names, without a word of the contrast agent, and with series
numbers in a seeded random order; the times of acquisition stay. With ``--no-timing`` the repetition, echo and inversion
times and the kind of the sequence are left out too. A case is right, refused, or wrong; wrong must not happen.

usage: python benchmarks/selection.py FOLDER [--spacing 2] [--no-timing]

Exit code 1 if a case is wrong.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydicom.uid import generate_uid

from acuity.anatomy import Sequence
from acuity.demo.classic_mr import PROTOCOL, degrade, write_volume_as_series
from acuity.dicom.reading.read import read_study
from acuity.dicom.selection.select import select_sequences
from acuity.errors import SelectionError
from acuity.research.datasets import brats
from acuity.research.datasets.layouts import named_cases
from acuity.volume import Volume

Outcome = Literal["right", "refused", "wrong"]

_SAYING = ("SeriesDescription", "ContrastBolusAgent", "ContrastBolusRoute")
_TIMING = ("RepetitionTime", "EchoTime", "InversionTime", "ScanningSequence", "SequenceVariant", "EchoTrainLength")


def write_nameless(
    volumes: Mapping[Sequence, Volume], folder: Path, *, seed: str, timing: bool = True
) -> dict[str, Sequence]:
    """Write a study whose headers do not name the sequences; which each SeriesInstanceUID is."""
    study, frame = (generate_uid(entropy_srcs=["nameless", seed, kind]) for kind in ("study", "frame"))
    numbers = random.Random(seed).sample(range(2, 99), len(volumes))
    truth: dict[str, Sequence] = {}
    for number, (sequence, volume) in zip(numbers, volumes.items(), strict=True):
        uid = generate_uid(entropy_srcs=["nameless", seed, sequence.value])
        silent = dict.fromkeys(_SAYING if timing else _SAYING + _TIMING)
        uids = {"StudyInstanceUID": study, "FrameOfReferenceUID": frame, "SeriesInstanceUID": uid}
        tags: dict[str, Any] = {**PROTOCOL[sequence], **silent, **uids, "SeriesNumber": number}
        write_volume_as_series(volume, folder / f"{number:02d}", tags=tags)
        truth[uid] = sequence
    return truth


def outcome(volumes: Mapping[Sequence, Volume], *, seed: str, timing: bool = True) -> tuple[Outcome, str]:
    """How the study of these volumes is chosen from, and for a refusal or a fault what was said or mistaken."""
    with tempfile.TemporaryDirectory(prefix="acuity-selection-") as folder:
        truth = write_nameless(volumes, Path(folder), seed=seed, timing=timing)
        try:
            chosen = select_sequences(read_study(Path(folder))).choices
        except SelectionError as error:
            return "refused", f"{error.code}: {error.found}"
        mistaken = [f"{s.value} is {t.value}" for s, c in chosen.items() if (t := truth[c.series.series_uid]) is not s]
        return ("wrong", ", ".join(mistaken)) if mistaken else ("right", "")


def coarse(volume: Volume, spacing: float) -> Volume:
    """The volume with voxels of at least ``spacing`` mm."""
    coarsest = np.maximum(volume.spacing, spacing)
    return degrade(volume, (float(coarsest[0]), float(coarsest[1]), float(coarsest[2])))


def main() -> int:
    """Try all cases of a folder, and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="BraTS cases")
    parser.add_argument("--spacing", type=float, default=2.0, help="mm along each axis (default: %(default)g)")
    parser.add_argument("--no-timing", action="store_true", help="leave out times and kinds of the sequences, too")
    args = parser.parse_args()
    counts: Counter[str] = Counter()
    for name in named_cases(args.folder):
        images = {s: coarse(v, args.spacing) for s, v in brats.read_case(args.folder / name).items()}
        result, text = outcome(images, seed=name, timing=not args.no_timing)
        counts[result] += 1
        print(f"{name} {result} {text}".rstrip(), flush=True)
    print(", ".join(f"{counts[result]} {result}" for result in ("right", "refused", "wrong")))
    return 1 if counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
