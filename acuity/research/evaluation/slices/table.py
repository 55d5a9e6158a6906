"""The comparison of slices in Markdown: means, differences to the baseline, and neighbors in the rankings."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from functools import partial

import numpy as np
import pandas as pd

from acuity.research.evaluation import columns as col
from acuity.research.evaluation.slices.methods import BASELINE, Method
from acuity.research.evaluation.statistics import FEWEST_CASES, paired_difference
from acuity.research.evaluation.tables import bullets, differences, document, markdown, shown
from acuity.research.metrics.image import GRAY_LEVELS

TRUTH = "truth"  # the method of the rows that hold what the original itself scores

_NAMES = {
    col.MSE: "MSE",
    col.PSNR: "PSNR (dB)",
    col.SSIM: "SSIM",
    col.PERCEPTUAL: "perceptual",
    col.NIQE: "NIQE",
    col.NYQUIST: "Nyquist",
    col.RESIDUAL_RMS: "residual rms",
    col.RESIDUAL_MAX: "residual max",
    col.PROJECTED_MAX: "max after projection",
    col.PROJECTION_STEPS: "its steps",
}
# Digits of the columns of means over slices, and of those of which the largest of all slices is shown.
_MEANS = {col.MSE: 2, col.PSNR: 2, col.SSIM: 4, col.PERCEPTUAL: 4, col.NIQE: 2, col.NYQUIST: 5, col.RESIDUAL_RMS: 5}
_LARGEST = {col.RESIDUAL_MAX: 4, col.PROJECTED_MAX: 6, col.PROJECTION_STEPS: 0}
_COMPARED = (col.PSNR, col.SSIM, col.PERCEPTUAL, col.NIQE)
_RANKINGS = {col.PSNR: True, col.PERCEPTUAL: False}  # whether more is better


def case_differences(scores: pd.DataFrame, first: str, second: str, metric: str) -> pd.Series:
    """``first`` minus ``second`` by case: of each the mean over the slices in which both have a finite value."""
    ours, theirs = (scores[scores[col.METHOD] == name] for name in (first, second))
    by_slice = differences(ours, theirs, [metric], on=[col.CASE, col.SEQUENCE, col.SLICE])
    return by_slice.groupby(col.CASE, sort=False)[metric].mean().dropna()


def slice_means(
    scores: pd.DataFrame,
    milliseconds: Mapping[str, float],
    denoising: Mapping[str, float],
    published: pd.DataFrame | None = None,
) -> str:
    """Markdown: means over all slices; of the largest residuals and the steps the largest of all slices."""
    by_method = scores.groupby(col.METHOD, sort=False)
    table = pd.DataFrame({"weights": by_method[col.SOURCE].first()})
    for metric, digits in _MEANS.items():
        table[_NAMES[metric]] = by_method[metric].mean().map(partial(shown, digits=digits))
    for metric, digits in _LARGEST.items():
        table[_NAMES[metric]] = by_method[metric].max().map(partial(shown, digits=digits))
    for column, times in (("ms", milliseconds), ("denoising ms", denoising)):
        table[column] = [shown(times.get(method, np.nan), 1) for method in table.index]
    table = table.reset_index()
    if published is not None:
        others = published.drop(columns=col.SOURCE).rename(columns=_NAMES)
        table = pd.concat([table, others.assign(weights="published, other data")]).fillna("")
    return markdown(table)


def volume_means(scores: pd.DataFrame) -> str:
    """Markdown: means over volumes, one for each case and sequence.

    The slices of a volume are of one size, so that the MSE of their stack is the mean of theirs; its PSNR is that of
    this MSE, its SSIM the mean over the slices.
    """
    volumes = scores.groupby([col.METHOD, col.CASE, col.SEQUENCE], sort=False)[[col.MSE, col.SSIM]].mean().dropna()
    volumes[col.PSNR] = 10 * np.log10(GRAY_LEVELS**2 / volumes[col.MSE])
    by_method = volumes.groupby(col.METHOD, sort=False)
    table = pd.DataFrame({"volumes": by_method.size()})
    for metric in (col.MSE, col.PSNR, col.SSIM):
        table[_NAMES[metric]] = by_method[metric].mean().map(partial(shown, digits=_MEANS[metric]))
    return markdown(table.reset_index())


def baseline_differences(scores: pd.DataFrame) -> str:
    """Markdown: each method minus bicubic interpolation, with 95 % intervals."""
    others = [name for name in scores[col.METHOD].unique() if name not in (BASELINE, TRUTH)]
    return _difference_table(scores, dict.fromkeys(others, BASELINE), _COMPARED)


def denoising_effects(scores: pd.DataFrame, methods: Seq[Method]) -> str:
    """Markdown: each denoised method minus itself without; the Nyquist amplitude falls where checkerboards go."""
    plain = {method.upscale: method.name for method in methods if method.denoising is None}
    pairs = {method.name: plain[method.upscale] for method in methods if method.denoising}
    return _difference_table(scores, pairs, (*_COMPARED, col.NYQUIST))


def ranking(scores: pd.DataFrame, metric: str) -> list[str]:
    """A sentence for each pair of neighbors in the ranking by a metric, best first: by how much they differ."""
    by_case = scores[scores[col.METHOD] != TRUTH].groupby([col.METHOD, col.CASE], sort=False)[metric].mean()
    means = by_case.groupby(col.METHOD, sort=False).mean()
    ranks = means[np.isfinite(means)].to_dict()
    ordered = sorted(ranks, key=lambda name: ranks[name], reverse=_RANKINGS[metric])
    sentences = []
    for better, worse in zip(ordered[:-1], ordered[1:], strict=True):
        found, digits = paired_difference(case_differences(scores, better, worse, metric)), _MEANS[metric]
        sentences.append(f"{better} over {worse}: {found.interval(digits)}, {found.verdict(digits)}.")
    return sentences


def summary(
    scores: pd.DataFrame,
    methods: Seq[Method],
    *,
    title: str,
    milliseconds: Mapping[str, float],
    denoising: Mapping[str, float],
    published: pd.DataFrame | None,
    notes: Seq[str],
) -> str:
    """The whole document.

    Parameters
    ----------
    scores : of METRICS, a row for each method and slice, and with method TRUTH one for each slice
    milliseconds, denoising : by method, as ``timing.milliseconds`` gives them
    published : as ``read_published`` gives it
    notes : sentences on data and definitions
    """
    cases = scores[col.CASE].nunique()
    denoised = [method.name for method in methods if method.denoising]
    ranked = scores[~scores[col.METHOD].isin(denoised)]
    parts = [
        f"# {title}",
        bullets(notes),
        "## Means over slices",
        slice_means(scores, milliseconds, denoising, published),
        "" if published is None else "\n".join(f"Published: {source}." for source in published[col.SOURCE].unique()),
        "## Means over volumes",
        volume_means(scores),
        f"## Differences to {BASELINE}",
        f"Mean over the cases ({cases}) and its 95 % interval, by paired bootstrap of the cases: slices of one patient "
        "are not independent. Higher is better of PSNR and SSIM, lower of the others.",
        baseline_differences(scores),
        *(["## Effect of denoising", denoising_effects(scores, methods)] if denoised else []),
        "## Differences between neighbors in the ranking",
        "Mean difference, its 95 % interval, and whether that excludes 0; fewer than "
        f"{FEWEST_CASES} cases are too few to say.",
    ]
    for metric in _RANKINGS:
        parts += [f"By {_NAMES[metric]}:", bullets(ranking(ranked, metric)) or "None."]
    return document(*parts)


def _difference_table(scores: pd.DataFrame, pairs: Mapping[str, str], metrics: Seq[str]) -> str:
    """The first of each pair minus the second."""
    table = pd.DataFrame({col.METHOD: list(pairs)})
    for metric in metrics:
        found = [case_differences(scores, first, second, metric) for first, second in pairs.items()]
        table[_NAMES[metric]] = [paired_difference(f).interval(_MEANS[metric]) if len(f) else "" for f in found]
    return markdown(table)
