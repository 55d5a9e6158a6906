"""Figures for the cards of the x4 bundles, from the scores of ``acuity evaluate sr``."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np

from acuity.errors import DataError
from acuity.research.evaluation.bootstrap import paired_difference
from acuity.research.evaluation.slices.methods import BASELINE
from acuity.research.evaluation.slices.table import Scores, by_method, case_differences
from acuity.research.training.loop import SETTINGS

METRICS = {"psnr": ("PSNR in dB", 2), "ssim": ("SSIM", 4), "perceptual": ("perceptual distance", 4)}
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
        with (folder / "scores.csv").open(newline="") as file:
            rows = [{k: v or "nan" if k in METRICS else v for k, v in row.items()} for row in csv.DictReader(file)]
        measured = by_method(rows)
        settings = json.loads((folder / SETTINGS).read_text())
        found = {item["name"]: item.get("sha256") for item in settings["methods"]}
        if method not in measured or found.get(method) != sha256:
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


def _mean(scores: Scores, method: str, metric: str) -> str:
    values = [value for row in scores[method].values() if math.isfinite(value := float(row[metric]))]
    return f"{np.mean(values):.{METRICS[metric][1]}f}" if values else "not available"


def _difference(scores: Scores, method: str, metric: str) -> str:
    name, digits = METRICS[metric]
    values = case_differences(scores, method, BASELINE, metric)
    if not values:
        return f"{name} not available"
    found = paired_difference(values)
    interval = "" if math.isnan(found.low) else f" ({found.low:+.{digits}f} to {found.high:+.{digits}f})"
    return f"{name} {found.mean:+.{digits}f}{interval}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")
