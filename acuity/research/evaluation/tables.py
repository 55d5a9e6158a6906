"""From rows to the Markdown of a summary: means, paired differences, and values as text."""

from __future__ import annotations

import math
from collections.abc import Sequence as Seq

import numpy as np
import pandas as pd

from acuity.errors import DataError
from acuity.resources import config_file


def require_unique(names: Seq[str], kind: str) -> None:
    """Raise DataError where two of a ``kind``, such as "method", share a name."""
    for name in names:
        if names.count(name) > 1:
            raise DataError(
                f"Two {kind}s are named {name}.",
                rule=f"A {kind}'s name tells its rows from all others.",
                remedy=f"Give one {kind} another name.",
            )


def read_published(task: str) -> pd.DataFrame:
    """Values from publications, as text: ``configs/TASK/published.csv``, "sr" or "seg"; "" where none is known."""
    return pd.read_csv(config_file(f"{task}/published.csv"), dtype=str, keep_default_na=False)


def differences(first: pd.DataFrame, second: pd.DataFrame, columns: Seq[str], *, on: Seq[str]) -> pd.DataFrame:
    """Rows of ``first`` that have a partner in ``second``, their ``columns`` minus the partner's.

    Parameters
    ----------
    on : columns in which partners are equal; no two rows of ``second`` are

    Returns
    -------
    In the order of ``first``; NaN where a value of either is not finite.
    """
    both = first.merge(second[[*on, *columns]], on=list(on), suffixes=("", " of the partner"))
    for column in columns:
        both[column] -= both.pop(f"{column} of the partner")
    return both.replace([np.inf, -np.inf], np.nan)


def markdown(table: pd.DataFrame) -> str:
    """A table of texts; the index is left out."""
    lines = [table.columns, ["---"] * table.shape[1], *table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def document(*parts: str) -> str:
    """Headings, paragraphs and tables, with an empty line between them; "" is left out."""
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def bullets(sentences: Seq[str]) -> str:
    """A list of sentences."""
    return "\n".join(f"- {sentence}" for sentence in sentences)


def shown(value: float, digits: int) -> str:
    """A number, "" for NaN."""
    return "" if math.isnan(value) else f"{value:.{digits}f}"
