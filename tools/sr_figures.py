"""Figures for the cards of the x4 bundles, from the scores of ``acuity evaluate sr``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from acuity.errors import DataError
from acuity.research.evaluation import columns as col
from acuity.research.evaluation.slices.methods import BASELINE
from acuity.research.evaluation.slices.table import case_differences
from acuity.research.evaluation.statistics import paired_difference
from acuity.research.store import read_table
from acuity.research.training.loop import SETTINGS

METRICS = {col.PSNR: ("PSNR in dB", 2), col.SSIM: ("SSIM", 4), col.PERCEPTUAL: ("perceptual distance", 4)}
DATASETS = ("brain", "knee")  # folders of scores
NOT_MEASURED = "Not yet measured."


def read_figures(scores: Path | None, method: str, sha256: str) -> str:
    """Markdown: the method beside bicubic interpolation, of each of DATASETS whose scores are there.

    Parameters
    ----------
    scores : folder of results of ``acuity evaluate sr``, one folder for each of DATASETS
    sha256 : of the weights that the scores must be of

    Raises
    ------
    DataError : the scores lack the method, or are of other weights
    """
    folders = [scores / name for name in DATASETS if (scores / name / "scores.csv").is_file()] if scores else []
    if not folders:
        return NOT_MEASURED
    names = [name for name, _ in METRICS.values()]
    lines = [f"| data | method | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
    sentences = []
    for folder in folders:
        measured = read_table(folder / "scores.csv", text=[col.METHOD, col.SOURCE, col.CASE, col.SEQUENCE, col.SLICE])
        settings = json.loads((folder / SETTINGS).read_text())
        found = {item["name"]: item.get("sha256") for item in settings["methods"]}
        if method not in set(measured[col.METHOD]) or found.get(method) != sha256:
            raise DataError(
                f"{folder} has scores of {method} with the weights {found.get(method)}, not {sha256}.",
                rule="A bundle states what was measured with its own weights.",
                remedy="Release without --scores, run `acuity evaluate sr` on the bundles, and release again.",
            )
        for name in (BASELINE, method):
            means = [_mean(measured, name, metric) for metric in METRICS]
            lines.append(f"| {folder.name} | {name} | {' | '.join(means)} |")
        cases = len(settings["data"]["cases"])
        sentences.append(
            f"{folder.name.capitalize()}: {settings['data']['slices']} slices of {_count(cases, 'case')}, made coarse "
            f"by {settings['degradation']['name']} shrinking; difference to {BASELINE} (mean over the cases and its "
            f"95 % interval): {', '.join(_difference(measured, method, metric) for metric in METRICS)}."
        )
    definition = (
        "Means over slices; the data range is the 99.9th percentile of a volume's positive values; of the "
        "perceptual distance less is better."
    )
    return "\n".join([*lines, "", definition, *sentences])


def _mean(scores: pd.DataFrame, method: str, metric: str) -> str:
    values = scores.loc[scores[col.METHOD] == method, metric]
    finite = values[np.isfinite(values)]
    return "not available" if finite.empty else f"{finite.mean():.{METRICS[metric][1]}f}"


def _difference(scores: pd.DataFrame, method: str, metric: str) -> str:
    name, digits = METRICS[metric]
    values = case_differences(scores, method, BASELINE, metric)
    return f"{name} not available" if values.empty else f"{name} {paired_difference(values).interval(digits)}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")
