"""The evaluation of volumes in Markdown: means over cases, and gains over interpolation with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from functools import partial

import numpy as np
import pandas as pd

from acuity.research.evaluation import columns as col
from acuity.research.evaluation.statistics import FEWEST_CASES, paired_difference, signed
from acuity.research.evaluation.tables import bullets, differences, document, markdown, shown
from acuity.research.restoration import BASELINE

_DIGITS = {col.PSNR: 2, col.SSIM: 4}
_NAMES = {col.PSNR: "PSNR (dB)", col.SSIM: "SSIM"}
_GAINS = {col.PSNR: "PSNR gain (dB)", col.SSIM: "SSIM gain"}
_RESIDUALS = {col.RESIDUAL: "residual of the network", col.RESIDUAL_AFTER: "after", col.RESIDUAL_KNOWN: "known"}
_GROUP = [col.DEGRADATION, col.METHOD]

NOTES = (
    "PSNR and SSIM are over the whole volume, the data range being the truth's maximum (scikit-image; SSIM with a "
    "window of 7x7x7).",
    "With thick slices the truth is cropped evenly to whole thick slices, so that it covers exactly what was averaged.",
    "A residual is the largest |degrade(result) - low resolution| of a volume, in parts of the 99.9th percentile of "
    "the low resolution's values above 0; the tables show the largest of all volumes. Super-resolution measures it "
    "before and after its result is held to the low resolution, by the blur that it estimates. The known residual "
    "is that of the final result, by the degradation that was used.",
    "Seconds are the mean time of one volume.",
)


def summary(scores: pd.DataFrame, *, degradations: Mapping[str, str], notes: Seq[str]) -> str:
    """The whole document.

    Parameters
    ----------
    scores : as ``super_resolution.csv`` has them
    degradations : of each name a description
    notes : sentences on the data
    """
    return document(
        "# Super-resolution of volumes",
        bullets([*notes, *NOTES]),
        bullets([f"{name}: {text}." for name, text in degradations.items()]),
        "## Means over cases",
        means(scores),
        f"## Gains over {BASELINE}",
        "Mean over the cases (of each the mean over its sequences) and its 95 % interval, by paired bootstrap of the "
        f"cases; whether that excludes 0 (fewer than {FEWEST_CASES} cases are too few to say); the smallest gain of "
        "a single volume.",
        gains(scores),
        "## By case",
        gains_by_case(scores),
        "## By sequence",
        means_by_sequence(scores),
    )


def means(scores: pd.DataFrame) -> str:
    """Markdown: of each degradation and method the means over cases; of the residuals the largest."""
    by_case = (
        scores.groupby([*_GROUP, col.CASE], sort=False)[[col.PSNR, col.SSIM, col.SECONDS]]
        .mean()
        .groupby(_GROUP, sort=False)
    )
    largest = scores.groupby(_GROUP, sort=False)[list(_RESIDUALS)].max()
    table = pd.DataFrame({"cases": by_case.size()})
    for metric, digits in _DIGITS.items():
        table[_NAMES[metric]] = by_case[metric].mean().map(partial(shown, digits=digits))
    for residual, name in _RESIDUALS.items():
        table[name] = largest[residual].map(partial(shown, digits=5))
    table[col.SECONDS] = by_case[col.SECONDS].mean().map(partial(shown, digits=1))
    return markdown(table.reset_index())


def gains(scores: pd.DataFrame) -> str:
    """Markdown: of each degradation and method the gain over interpolation, its interval and the smallest one."""
    lines = []
    for key, volumes in _gains(scores).groupby(_GROUP, sort=False):
        cells: list[str] = []
        for metric, digits in _DIGITS.items():
            difference = paired_difference(volumes.groupby(col.CASE, sort=False)[metric].mean())
            smallest = signed(volumes[metric].min(), digits)
            cells += [difference.interval(digits), difference.verdict(digits), smallest]
        lines.append([*key, *cells])
    columns = [column for name in _GAINS.values() for column in (name, "its 95 % interval", "smallest")]
    return markdown(pd.DataFrame(lines, columns=[*_GROUP, *columns]))


def gains_by_case(scores: pd.DataFrame) -> str:
    """Markdown: by case, the mean gain over the sequences."""
    table = _gains(scores).groupby([*_GROUP, col.CASE], sort=False)[list(_DIGITS)].mean()
    for metric, digits in _DIGITS.items():
        table[metric] = table[metric].map(partial(signed, digits=digits))
    return markdown(table.rename(columns=_GAINS).reset_index())


def means_by_sequence(scores: pd.DataFrame) -> str:
    """Markdown: of each degradation, sequence and method the means over volumes."""
    groups = scores.groupby([col.DEGRADATION, col.SEQUENCE, col.METHOD], sort=False)
    table = groups[list(_DIGITS)].mean().map(partial(shown, digits=4))
    table.insert(0, "n", groups.size())
    return markdown(table.reset_index())


def _gains(scores: pd.DataFrame) -> pd.DataFrame:
    """PSNR and SSIM minus interpolation's of the same volume, one degradation and method after the other."""
    plain = scores[col.METHOD] == BASELINE
    found = differences(scores[~plain], scores[plain], list(_DIGITS), on=[col.CASE, col.SEQUENCE, col.DEGRADATION])
    return found.iloc[np.argsort(found.groupby(_GROUP, sort=False).ngroup(), kind="stable")]
