"""Which BraTS cases are measured: those on which nothing was trained or chosen."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Seq
from pathlib import Path

from acuity.errors import DataError
from acuity.research.datasets import brats
from acuity.research.datasets.layouts import named_cases
from acuity.research.datasets.splits import trained_cases

_RULE = "Methods are measured on cases on which nothing was trained or chosen."


def unseen_cases(
    folder: str | Path | None, names: Seq[str] | None = None, *, weights: Iterable[Path] = ()
) -> list[str]:
    """The cases of a BraTS folder that no model was trained or chosen on; of these those in ``names``.

    Parameters
    ----------
    weights : files in folders of runs of one's own; the splits there say what they have seen, as the project's own
        split says of the released models

    Raises
    ------
    DataError : there is none, or one of ``names`` is not among them
    """
    split = brats.read_split()
    seen = {*split["train"], *split["validation"], *trained_cases(file.parent for file in weights)}
    present = list(named_cases(brats.data_folder(folder)))
    unseen = [case for case in present if case not in seen]
    choice = f"Name others: {', '.join(unseen) or 'there are none'}."
    for name in names or ():
        if name not in present:
            raise DataError(f"{folder} holds no case {name}.", rule="A case is named as its folder is.", remedy=choice)
        if name in seen:
            raise DataError(f"{name} is for training or validation.", rule=_RULE, remedy=choice)
    if not unseen:
        raise DataError(
            f"{folder} holds no case to measure on.",
            rule=_RULE,
            remedy="Add cases that are in no split's train and validation.",
        )
    return unseen if names is None else [case for case in unseen if case in names]


def grade_of(case: str) -> str:
    """As the split of the released models has it: "low" (hardly any enhancing part) or "high"; "unknown" of others."""
    split = brats.read_split()
    if case in split["low_grade"]:
        return "low"
    return "high" if any(case in split[part] for part in ("train", "validation", "test")) else "unknown"
