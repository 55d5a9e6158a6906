"""The evaluation of volumes in Markdown: means over cases, and gains over interpolation with their confidence."""

from __future__ import annotations

from collections.abc import Sequence as Seq

import numpy as np

from acuity.research.evaluation.bootstrap import FEWEST_CASES, paired_difference
from acuity.research.evaluation.slices.table import interval, is_real
from acuity.research.evaluation.tables import Row, grouped, markdown_table, mean_table, signed
from acuity.research.evaluation.volumes.methods import BASELINE

_DIGITS = {"psnr": 2, "ssim": 4}
_RESIDUALS = ("residual", "residual_after", "residual_known")

NOTES = (
    "PSNR and SSIM are over the whole volume, the data range being the truth's maximum (scikit-image; SSIM with a "
    "window of 7x7x7).",
    "Thick slices: the truth is cropped evenly to whole thick slices, so that it covers exactly what was averaged.",
    "Residuals: the largest |degrade(result) - low resolution| of a volume, in parts of the low resolution's 99.9th "
    "percentile of its values above 0. Before and after projection as super-resolution measures them, which takes "
    "slices of profile box for means over their thickness, and all else for antialiased cubic shrinking; known: of "
    "what came out, by the degradation that was used. "
    "The largest of all volumes.",
    "Seconds: of one volume, mean.",
)


def summary(rows: Seq[Row], *, degradations: dict[str, str], notes: Seq[str]) -> str:
    """The whole document.

    Parameters
    ----------
    rows : with case, sequence, degradation, method, psnr, ssim, the three residuals and seconds; numbers or their
        text, what cannot be had is ""
    degradations : of each name a description
    notes : sentences on the data
    """
    cases = list(dict.fromkeys(row["case"] for row in rows))
    few = f" With {len(cases)}, fewer than {FEWEST_CASES}, none is called real." if len(cases) < FEWEST_CASES else ""
    parts = [
        "# Super-resolution of volumes",
        "\n".join(f"- {note}" for note in (*notes, *NOTES)),
        "\n".join(f"- {name}: {text}." for name, text in degradations.items()),
        "## Means over cases",
        means(rows),
        f"## Gains over {BASELINE}",
        "Mean over the cases (of each the mean over its sequences) and its 95 % interval, by paired bootstrap of the "
        f"cases.{few} Smallest: of a single volume.",
        gains(rows),
        "## By case",
        gains_by_case(rows),
        "## By sequence",
        mean_table(rows, by=["degradation", "sequence", "method"], values=list(_DIGITS), digits=4),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def means(rows: Seq[Row]) -> str:
    """Markdown: of each degradation and method the means over cases; of the residuals the largest."""
    lines = []
    for (degradation, method), group in grouped(rows, "degradation", "method").items():
        by_case = grouped(group, "case").values()
        averages = [
            f"{np.mean([_mean(case, metric) for case in by_case]):.{digits}f}"
            for metric, digits in (*_DIGITS.items(), ("seconds", 1))
        ]
        largest = [f"{max(found):.5f}" if (found := _numbers(group, metric)) else "" for metric in _RESIDUALS]
        lines.append([degradation, method, str(len(by_case)), *averages[:2], *largest, averages[2]])
    header = [
        "degradation",
        "method",
        "cases",
        "PSNR (dB)",
        "SSIM",
        "residual before projection",
        "after",
        "known",
        "seconds",
    ]
    return markdown_table(header, lines)


def gains(rows: Seq[Row]) -> str:
    """Markdown: of each degradation and method the gain over interpolation, its interval and the smallest one."""
    lines = []
    for (degradation, method), pairs in _pairs(rows).items():
        cells = []
        for metric, digits in _DIGITS.items():
            difference = paired_difference(list(_case_gains(pairs, metric).values()))
            smallest = min(_gain(pair, metric) for pair in pairs)
            cells += [
                interval(difference, digits),
                "yes" if is_real(difference, digits) else "not shown",
                signed(smallest, digits),
            ]
        lines.append([degradation, method, *cells])
    header = ["degradation", "method", "PSNR gain (dB)", "real", "smallest", "SSIM gain", "real", "smallest"]
    return markdown_table(header, lines)


def gains_by_case(rows: Seq[Row]) -> str:
    """Markdown: by case, the mean gain over the sequences."""
    lines = []
    for (degradation, method), pairs in _pairs(rows).items():
        by_metric = {metric: _case_gains(pairs, metric) for metric in _DIGITS}
        for case in by_metric["psnr"]:
            cells = [signed(by_metric[metric][case], digits) for metric, digits in _DIGITS.items()]
            lines.append([degradation, method, case, *cells])
    return markdown_table(["degradation", "method", "case", "PSNR gain (dB)", "SSIM gain"], lines)


def _pairs(rows: Seq[Row]) -> dict[tuple[str, ...], list[tuple[Row, Row]]]:
    """By degradation and method, its rows with those of interpolation of the same volumes."""
    volumes = {(row["case"], row["sequence"], row["degradation"]): row for row in rows if row["method"] == BASELINE}
    found: dict[tuple[str, ...], list[tuple[Row, Row]]] = {}
    for row in rows:
        baseline = volumes.get((row["case"], row["sequence"], row["degradation"]))
        if row["method"] != BASELINE and baseline is not None:
            found.setdefault((str(row["degradation"]), str(row["method"])), []).append((row, baseline))
    return found


def _gain(pair: tuple[Row, Row], metric: str) -> float:
    return float(pair[0][metric]) - float(pair[1][metric])


def _case_gains(pairs: Seq[tuple[Row, Row]], metric: str) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for pair in pairs:
        found.setdefault(str(pair[0]["case"]), []).append(_gain(pair, metric))
    return {case: float(np.mean(values)) for case, values in found.items()}


def _numbers(rows: Seq[Row], metric: str) -> list[float]:
    return [float(row[metric]) for row in rows if row[metric] != ""]


def _mean(rows: Seq[Row], metric: str) -> float:
    return float(np.mean(_numbers(rows, metric)))
