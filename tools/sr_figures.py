"""Figures for the cards of the x4 bundles, from the scores of ``acuity evaluate sr``."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd

from acuity.errors import DataError
from acuity.research.evaluation.slices.methods import BASELINE
from acuity.research.evaluation.statistics import paired_difference
from acuity.research.training.loop import SETTINGS

METRICS = {"psnr": ("PSNR in dB", 2), "ssim": ("SSIM", 4), "perceptual": ("perceptual distance", 4)}
DATASETS = ("brain", "knee")  # folders of scores
NOT_MEASURED = "Not yet measured."
HEADER = f"| data | method | {' | '.join(name for name, _ in METRICS.values())} |\n{'|---' * (2 + len(METRICS))}|"
DEFINITION = (
    "Means over slices; the data range is the 99.9th percentile of a volume's positive values; of the perceptual "
    "distance less is better."
)


def read_figures(scores: Path | None, method: str, sha256: str) -> str:
    """Markdown: the method beside bicubic interpolation, on each of DATASETS that has scores.

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
    rows, sentences = [], []
    for folder in folders:
        frame = pd.read_csv(folder / "scores.csv").replace(math.inf, math.nan)
        settings = json.loads((folder / SETTINGS).read_text())
        measured = {item["name"]: item.get("sha256") for item in settings["methods"]}
        if method not in set(frame["method"]) or measured.get(method) != sha256:
            raise DataError(
                f"{folder} has scores of {method} with the weights {measured.get(method)}, not {sha256}.",
                rule="A bundle states what was measured with its own weights.",
                remedy="Measure them with `acuity evaluate sr`, or release without --scores.",
            )
        by_slice = frame.pivot(index=["case", "sequence", "slice"], columns="method", values=list(METRICS))
        for name in (BASELINE, method):
            means = {metric: by_slice[metric, name].mean() for metric in METRICS}
            cells = [_formatted(mean, METRICS[metric][1]) for metric, mean in means.items()]
            rows.append(f"| {folder.name} | {name} | {' | '.join(cells)} |")
        cases = settings["data"]["cases"]
        differences = ", ".join(
            f"{METRICS[metric][0]} {_difference(by_slice[metric, method] - by_slice[metric, BASELINE], metric)}"
            for metric in METRICS
        )
        sentences.append(
            f"{folder.name.capitalize()}: {settings['data']['slices']} slices of {len(cases)} "
            f"case{'' if len(cases) == 1 else 's'}, made coarse by {settings['degradation']['name']} shrinking; "
            f"difference to {BASELINE} (mean over the cases and its 95 % interval): {differences}."
        )
    return "\n".join([HEADER, *rows, "", DEFINITION, *sentences])


def _difference(by_slice: pd.Series, metric: str) -> str:
    by_case = by_slice.groupby("case").mean().dropna()
    if by_case.empty:
        return _formatted(math.nan, 0)
    found, digits = paired_difference(by_case.to_numpy()), METRICS[metric][1]
    interval = "" if math.isnan(found.low) else f" ({found.low:+.{digits}f} to {found.high:+.{digits}f})"
    return f"{found.mean:+.{digits}f}{interval}"


def _formatted(mean: float, digits: int) -> str:
    return "not available" if math.isnan(mean) else f"{mean:.{digits}f}"
