"""Splits of the cases of a folder into those to train on, to validate on and to test on.

A split is a JSON file: names of cases by "train", "validation" and "test", and by marks that some commands regard
("low_grade": drawn more often by ``train seg``; "coarse": no truth for super-resolution). All trainings of a folder
hold out the same cases.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Seq
from pathlib import Path

import numpy as np

from acuity.errors import DataError
from acuity.research.datasets.brats import read_split
from acuity.research.datasets.layouts import named_cases, patient_of
from acuity.research.store import make_folder, write_text

PARTS = ("train", "validation", "test")
SPLIT = "split.json"  # in the folder of a run
RELEASED = "released"  # names the split of the released models
HELD_OUT = 0.1  # of the patients, for validation and again for testing
SEED = 0


def seeded_split(grades: Mapping[str, str | None]) -> dict[str, list[str]]:
    """A split by patient, always the same, with like shares of the grades in all parts.

    Parameters
    ----------
    grades : "high", "low" or None (unknown) by case

    Returns
    -------
    A tenth of the patients each for validation and testing, one at least; of two patients none is for testing.
    """
    patients: dict[str, list[str]] = {}
    for case in sorted(grades):
        patients.setdefault(patient_of(case), []).append(case)
    order = np.random.default_rng(SEED).permutation(sorted(patients)).tolist()
    order.sort(key=lambda patient: str(grades[patients[patient][0]]))  # stable: shuffled within a grade
    count = max(1, round(HELD_OUT * len(order)))
    held_out = order_of_middles(len(order), 2 * count if len(order) > 2 else min(1, len(order) - 1))
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for n, patient in enumerate(order):
        part = PARTS[1 + held_out.index(n) % 2] if n in held_out else "train"
        parts[part] += patients[patient]
    marks = {"low_grade": [case for case, grade in grades.items() if grade == "low"], "coarse": []}
    return {name: sorted(cases) for name, cases in {**parts, **marks}.items()}


def order_of_middles(length: int, count: int) -> list[int]:
    """The middles of ``count`` equal parts of ``range(length)``."""
    return [int((n + 0.5) * length / count) for n in range(count)]


def load_split(source: str | Path) -> dict[str, list[str]]:
    """A split from a file, or the one of the released models where ``source`` is RELEASED.

    Raises
    ------
    DataError : the file is absent, no split, or has a case or a patient in two parts
    """
    if str(source) == RELEASED:
        return read_split()
    rule = 'A split is JSON: lists of names of cases as "train", "validation" and, if wanted, "test" and marks.'
    remedy = f"Compare it with {SPLIT} in the folder of a training."
    try:
        read = json.loads(Path(source).read_text(encoding="utf-8"))
        split = {name: [*map(str, cases)] for name, cases in read.items() if isinstance(cases, list)}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{source} cannot be read as a split ({error}).", rule=rule, remedy=remedy) from error
    if not {"train", "validation"} <= set(split):
        raise DataError(f"{source} lacks train or validation.", rule=rule, remedy=remedy)
    parts: dict[str, str] = {}
    for part in PARTS:
        for case in split.setdefault(part, []):
            other = parts.setdefault(patient_of(case), part)
            if other != part:
                raise DataError(
                    f"{source} has {case}, or another case of its patient, in {other} and in {part}.",
                    rule="A patient is in one part.",
                    remedy="Take the cases out of one of them.",
                )
    return {"low_grade": [], "coarse": [], **split}


def split_of(grades: Mapping[str, str | None], source: str | Path | None, run: Path) -> dict[str, list[str]]:
    """The split of a run, which is written into its folder.

    Parameters
    ----------
    grades : of the cases that are there, as ``seeded_split`` takes them
    source : as ``load_split`` takes it; of such a split the cases that are there are taken. None takes that of an
        earlier part of the run, else ``seeded_split``
    run : folder

    Raises
    ------
    DataError : a split that cannot be read, that leaves nothing to train or to validate on, or is not the one by which
        the run began
    OutputError : the folder cannot be written to
    """
    file = run / SPLIT
    earlier = load_split(file) if file.is_file() else None
    if source is not None:
        split = {name: [case for case in cases if case in grades] for name, cases in load_split(source).items()}
    else:
        split = earlier or seeded_split(grades)
    changed = source is None and {case for part in PARTS for case in split[part]} != set(grades)
    if changed or earlier not in (None, split):
        raise DataError(
            f"{file} is another split, or of other cases.",
            rule="A training goes on with the cases that it began with.",
            remedy="Name it with --split, or name another folder with --output.",
        )
    if not split["train"] or not split["validation"]:
        raise DataError(
            f"Cases to train on: {len(split['train'])}; to validate on: {len(split['validation'])}.",
            rule="Both are needed.",
            remedy="Give cases of two patients or more, or another split with --split.",
        )
    make_folder(run)
    write_text(json.dumps(split, indent=2) + "\n", file)
    return split


def split_cases(folder: Path, source: str | Path | None, run: Path, *, labeled: bool = False) -> dict[str, list[str]]:
    """``split_of`` the cases in a folder (``layouts.find_cases``).

    Parameters
    ----------
    labeled : leave out of all parts cases without a truth

    Raises
    ------
    DataError : as ``split_of``, or there is no case, or none with a truth
    """
    cases = named_cases(folder)
    if not cases:
        raise DataError(
            f"{folder} holds no case.",
            rule="Cases are laid out as BraTS gives them out, or the Medical Decathlon's Task01.",
            remedy=f"`acuity dataset check {folder}` says what is there.",
        )
    split = split_of({case.name: case.grade for case in cases.values()}, source, run)
    if not labeled:
        return split
    found = {name: [case for case in names if cases[case].labels] for name, names in split.items()}
    for part in PARTS[:2]:
        if not found[part]:
            raise DataError(
                f"No case for {part} has a truth: {', '.join(split[part])}.",
                rule="Segmentation is learned and validated on cases with NAME_seg or NAME-seg.",
                remedy="Add the truth, or name another split with --split.",
            )
    return found


def described(split: Mapping[str, Seq[str]], run: Path) -> str:
    """The split of a run in words: how many cases each part has, which are held out, and where to read all."""
    lines = [f"{len(split['train'])} cases to train on; {run / SPLIT} names them"]
    lines += [f"{len(split[part])} for {part}: {', '.join(split[part]) or 'none'}" for part in PARTS[1:]]
    return "\n".join(lines)


def trained_cases(folders: Iterable[Path]) -> set[str]:
    """The cases for training and validation of the runs in ``folders``; a folder without a split adds none."""
    files = {folder / SPLIT for folder in folders}
    splits = [load_split(file) for file in sorted(files) if file.is_file()]
    return {case for split in splits for part in PARTS[:2] for case in split[part]}
