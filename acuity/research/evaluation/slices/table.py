"""The comparison in Markdown: means, differences with their confidence, and which of them are real."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Seq
from pathlib import Path

import numpy as np

from acuity.research.evaluation.bootstrap import FEWEST_CASES, Difference, paired_difference
from acuity.research.evaluation.slices.methods import BASELINE, Method
from acuity.research.evaluation.tables import Row, markdown_table, signed

TRUTH = "truth"  # the method of the rows that hold what the original itself scores

# Digits shown, and whether more is better, of the metrics that are compared.
_COMPARED = {"psnr": (2, True), "ssim": (4, True), "perceptual": (4, False), "niqe": (2, False)}
_NAMES = {"psnr": "PSNR (dB)", "ssim": "SSIM", "perceptual": "perceptual", "niqe": "NIQE", "nyquist": "Nyquist"}
_RANKINGS = ("psnr", "perceptual")

Scores = Mapping[str, Mapping[tuple[str, str, str], Row]]


def by_method(rows: Iterable[Row]) -> Scores:
    """Rows of each method, in order of first appearance, by (case, sequence, slice)."""
    found: dict[str, dict[tuple[str, str, str], Row]] = {}
    for row in rows:
        key = (str(row["case"]), str(row["sequence"]), str(row["slice"]))
        found.setdefault(str(row["method"]), {})[key] = row
    return found


def case_differences(scores: Scores, first: str, second: str, metric: str) -> list[float]:
    """``first`` minus ``second``: of each case the mean over the slices that both have a finite value of."""
    differences: dict[str, list[float]] = {}
    for key, row in scores[first].items():
        a, b = float(row[metric]), float(scores[second][key][metric])
        if math.isfinite(a) and math.isfinite(b):
            differences.setdefault(key[0], []).append(a - b)
    return [float(np.mean(values)) for values in differences.values()]


def slice_means(
    scores: Scores, milliseconds: Mapping[str, float], denoising: Mapping[str, float], published: Seq[Row] = ()
) -> str:
    """Markdown: means over all slices; of the largest residuals and the steps the largest of all slices."""
    header = [
        "method",
        "weights",
        "MSE",
        "PSNR (dB)",
        "SSIM",
        "perceptual",
        "NIQE",
        "Nyquist",
        "residual rms",
        "residual max",
        "max after projection",
        "its steps",
        "ms",
        "denoising ms",
    ]
    lines = []
    for name, rows in scores.items():
        source = str(next(iter(rows.values()))["source"])
        means = [
            _mean(rows, metric, digits)
            for metric, digits in (
                ("mse", 2),
                ("psnr", 2),
                ("ssim", 4),
                ("perceptual", 4),
                ("niqe", 2),
                ("nyquist", 5),
                ("residual_rms", 5),
            )
        ]
        largest = [
            _largest(rows, metric, digits)
            for metric, digits in (("residual_max", 4), ("projected_max", 6), ("projection_steps", 0))
        ]
        times = [_shown(found.get(name, math.nan), 1) for found in (milliseconds, denoising)]
        lines.append([name, source, *means, *largest, *times])
    for row in published:
        values = [str(row[metric]) for metric in ("mse", "psnr", "ssim")]
        lines.append([str(row["method"]), "published, other data", *values, *[""] * 7, str(row["ms"]), ""])
    return markdown_table(header, lines)


def volume_means(scores: Scores) -> str:
    """Markdown: means over volumes, one for each case and sequence.

    The slices of a volume are of one size, so that the MSE of their stack is the mean of theirs; its PSNR is that of
    this MSE, its SSIM the mean over the slices.
    """
    lines = []
    for name, rows in scores.items():
        stacks: dict[tuple[str, str], list[Row]] = {}
        for (case, sequence, _), row in rows.items():
            stacks.setdefault((case, sequence), []).append(row)
        mse = np.array([np.mean([float(row["mse"]) for row in stack]) for stack in stacks.values()])
        ssim = np.array([np.mean([float(row["ssim"]) for row in stack]) for stack in stacks.values()])
        if np.isfinite(mse).all():
            with np.errstate(divide="ignore"):
                psnr = float(np.mean(10 * np.log10(255.0**2 / mse)))
            lines.append(
                [name, str(len(stacks)), _shown(float(mse.mean()), 2), _shown(psnr, 2), _shown(float(ssim.mean()), 4)]
            )
    return markdown_table(["method", "volumes", "MSE", "PSNR (dB)", "SSIM"], lines)


def baseline_differences(scores: Scores) -> str:
    """Markdown: each method minus bicubic interpolation, with confidence intervals."""
    lines = []
    for name in scores:
        if name not in (BASELINE, TRUTH):
            cells = [_difference(scores, name, BASELINE, metric) for metric in _COMPARED]
            lines.append([name, *cells])
    return markdown_table(["method", *(_NAMES[metric] for metric in _COMPARED)], lines)


def denoising_effects(scores: Scores, methods: Seq[Method]) -> str:
    """Markdown: each denoised method minus itself without; the Nyquist amplitude falls where checkerboards go."""
    plain = {method.upscale: method.name for method in methods if method.denoising is None}
    metrics = (*_COMPARED, "nyquist")
    lines = [
        [method.name, *(_difference(scores, method.name, plain[method.upscale], metric) for metric in metrics)]
        for method in methods
        if method.denoising
    ]
    return markdown_table(["method", *(_NAMES[metric] for metric in metrics)], lines)


def verdicts(scores: Scores, metric: str) -> list[str]:
    """A sentence for each pair of neighbors in the ranking by a metric, best first: whether they really differ."""
    digits, more_is_better = _COMPARED[metric]
    ranks: dict[str, float] = {}
    for name, rows in scores.items():
        if name != TRUTH and np.isfinite(mean := _mean_value(rows, metric)):
            ranks[name] = mean
    ordered = sorted(ranks, key=lambda name: ranks[name], reverse=more_is_better)
    sentences = []
    for better, worse in zip(ordered[:-1], ordered[1:], strict=True):
        difference = paired_difference(case_differences(scores, better, worse, metric))
        verdict = "real" if is_real(difference, digits) else "not shown to be real"
        sentences.append(f"{better} over {worse}: {interval(difference, digits)}, {verdict}.")
    return sentences


def is_real(difference: Difference, digits: int) -> bool:
    """Whether the interval excludes 0, and the difference can be seen in the digits that are shown."""
    return difference.real and round(difference.mean, digits) != 0


def summary(
    rows: Seq[Row],
    methods: Seq[Method],
    *,
    title: str,
    milliseconds: Mapping[str, float],
    denoising: Mapping[str, float],
    published: Seq[Row],
    notes: Seq[str],
) -> str:
    """The whole document.

    Parameters
    ----------
    rows : of METRICS, a row for each method and slice, and with method TRUTH one for each slice
    milliseconds, denoising : by method, as ``comparison_timing.milliseconds`` gives them
    published : rows as ``configs/sr/published.csv`` has them
    notes : sentences on data and definitions
    """
    scores = by_method(rows)
    cases = len({str(row["case"]) for row in rows})
    few = f" With {cases}, fewer than {FEWEST_CASES}, none is called real." if cases < FEWEST_CASES else ""
    parts = [
        f"# {title}",
        "\n".join(f"- {note}" for note in notes),
        "## Means over slices",
        slice_means(scores, milliseconds, denoising, published),
    ]
    if published:
        parts.append("\n".join(dict.fromkeys(f"Published: {row['source']}." for row in published)))
    parts += [
        "## Means over volumes",
        volume_means(scores),
        f"## Differences to {BASELINE}",
        f"Mean over the cases ({cases}) and its 95 % interval, by paired bootstrap of the cases: slices of one patient "
        f"are not independent.{few} Higher is better of PSNR and SSIM, lower of the others.",
        baseline_differences(scores),
    ]
    if any(method.denoising for method in methods):
        parts += ["## Effect of denoising", denoising_effects(scores, methods)]
    parts.append("## Which differences are real")
    denoised = {method.name for method in methods if method.denoising}
    ranked = {name: of_method for name, of_method in scores.items() if name not in denoised}
    for metric in _RANKINGS:
        parts += [
            f"Neighbors in the ranking by {_NAMES[metric]}:",
            "\n".join(f"- {sentence}" for sentence in verdicts(ranked, metric)) or "None.",
        ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def read_published(path: Path) -> list[Row]:
    """Rows of a CSV with method, mse, psnr, ssim, ms and source."""
    with path.open(newline="") as file:
        return [dict(row) for row in csv.DictReader(file)]


def _difference(scores: Scores, first: str, second: str, metric: str) -> str:
    differences = case_differences(scores, first, second, metric)
    digits = _COMPARED[metric][0] if metric in _COMPARED else 5
    return interval(paired_difference(differences), digits) if differences else ""


def interval(difference: Difference, digits: int) -> str:
    """A mean and its confidence interval, or that there is none."""
    mean, low, high = (signed(value, digits) for value in (difference.mean, difference.low, difference.high))
    return f"{mean} (one case)" if math.isnan(difference.low) else f"{mean} ({low} to {high})"


def _finite(rows: Mapping[tuple[str, str, str], Row], metric: str) -> list[float]:
    return [value for row in rows.values() if not math.isnan(value := float(row[metric]))]


def _mean_value(rows: Mapping[tuple[str, str, str], Row], metric: str) -> float:
    """Mean over the cases of their means over slices, as the differences are."""
    cases: dict[str, list[float]] = {}
    for (case, _, _), row in rows.items():
        if not math.isnan(value := float(row[metric])):
            cases.setdefault(case, []).append(value)
    return float(np.mean([np.mean(values) for values in cases.values()])) if cases else math.nan


def _mean(rows: Mapping[tuple[str, str, str], Row], metric: str, digits: int) -> str:
    values = _finite(rows, metric)
    return _shown(float(np.mean(values)), digits) if values else ""


def _largest(rows: Mapping[tuple[str, str, str], Row], metric: str, digits: int) -> str:
    values = _finite(rows, metric)
    return _shown(max(values), digits) if values else ""


def _shown(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"
