"""The evaluation of segmentation in Markdown: means, differences to the original images, grades, calibration."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from typing import Literal

import pandas as pd

from acuity.anatomy import Region
from acuity.models.calibration import BINS, LOWEST, Reliability
from acuity.research.evaluation import columns as col
from acuity.research.evaluation.statistics import FEWEST_CASES, paired_difference
from acuity.research.evaluation.tables import bullets, document, markdown, shown
from acuity.research.metrics.lesions import NSD_TOLERANCE_MM, SMALLEST_LESION_MM3
from acuity.research.metrics.overlap import ABSENT_MM

HR = "HR"  # the input of the original images
Rule = Literal["brats", "paper"]
MEAN = "mean"  # over the regions, in the place of one
TOLERATED_ML = 0.1  # of tumor found where there is none

_DIGITS = {col.DSC: 3, col.IOU: 3, col.HD95: 2}
_NAMES = {col.DSC: "DSC", col.IOU: "IoU", col.HD95: "HD95 (mm)"}
_REGIONS = (*(region.value for region in Region), MEAN)
# What the tables of means and of differences show.
_MEANS = (*((col.DSC, region) for region in _REGIONS), (col.IOU, MEAN), *((col.HD95, region) for region in _REGIONS))
_DIFFERENCES = (*((col.DSC, region) for region in _REGIONS), (col.IOU, MEAN), (col.HD95, MEAN))
_TITLES: dict[Rule, str] = {"brats": "BraTS's rule for absent regions", "paper": "the thesis's apparent rule"}

NOTES = (
    "Regions overlap: ET is the enhancing tumor, TC the tumor core, WT the whole tumor. The mean is taken over a "
    "case's regions, then over cases.",
    "BraTS's rule: a region that is neither present nor found counts as DSC 1, IoU 1, HD95 0; a region that is only "
    f"present or only found counts as DSC 0, IoU 0, HD95 {ABSENT_MM:.2f} mm.",
    "The thesis's apparent rule is our reading of it: DSC and IoU are averaged over the regions that are present in "
    "the truth, HD95 over those that are present and found. In the CSV its columns end in _paper; values that do not "
    "count are empty.",
    "HD95 is the larger 95th percentile of the distances from each border's voxels to the other border (MONAI).",
    "The lesion-wise DSC is the mean over the lesions of a region. Parts that lie within a few millimeters are one "
    f"lesion; lesions below {SMALLEST_LESION_MM3:g} mm³ do not count. Each lesion of the truth is matched with at most "
    "one that was found, so that the sum of their DSC is the largest (panoptica, arXiv:2312.02608). A missed and a "
    "false lesion count as 0.",
    f"NSD is the normalized surface DSC: the share of both borders within {NSD_TOLERANCE_MM:g} mm of the other one. "
    "BraTS's rule holds for absent regions.",
    "Every model is given the brain of the input's images: wherever any of the four sequences has signal.",
    "Grade: low are cases with hardly any enhancing part, as the fixed split names them; unknown are cases that the "
    "split does not hold.",
    f"Calibration is the expected calibration error over {BINS} bins. It counts all cases' voxels in the brain with a "
    f"probability of {LOWEST:g} or more, before postprocessing. A model without such voxels has no value.",
    "Seconds are the mean time of one case.",
)


def summary(scores: pd.DataFrame, bins: pd.DataFrame, *, published: pd.DataFrame, notes: Seq[str]) -> str:
    """The whole document.

    Parameters
    ----------
    scores : as ``segmentation.csv`` has them; NaN is what is not defined
    bins : as ``calibration.csv`` has them
    published : as ``read_published`` gives it
    notes : sentences on the data
    """
    parts = ["# Segmentation", bullets([*notes, *NOTES])]
    for rule, title in _TITLES.items():
        parts += [f"## Means over cases, {title}", means(scores, rule, published=published)]
    if not published.empty:
        sources = [f"{row[col.METHOD]}: {row[col.SOURCE]}." for row in published.to_dict("records")]
        parts += ["Published values are of other data:", bullets(list(dict.fromkeys(sources)))]
    parts += [
        f"## Differences to {HR}",
        "Mean over the cases and its 95 % interval, by paired bootstrap of the cases; BraTS's rule. Of the mean DSC, "
        f"whether the interval excludes 0; fewer than {FEWEST_CASES} cases are too few to say. Higher is better of DSC "
        "and IoU, lower of HD95.",
        differences(scores),
    ]
    if free := false_volumes(scores):
        parts += ["## Cases without a tumor", "The volume that was found in them, all regions together.", free]
    return document(
        *parts,
        "## Lesion by lesion",
        lesions(scores),
        "## By grade",
        means(scores, "brats", by=(col.GRADE, col.MODEL, col.INPUT)),
        "## By case",
        means(scores, "brats", by=(col.CASE, col.MODEL, col.INPUT)),
        "## Calibration",
        calibration(pooled(bins)),
    )


def means(
    scores: pd.DataFrame, rule: Rule, *, by: Seq[str] = (col.MODEL, col.INPUT), published: pd.DataFrame | None = None
) -> str:
    """Markdown: of each group DSC and HD95 by region and their mean, and the mean IoU; "" where nothing is defined."""
    columns = {key: f"{_NAMES[key[0]]} {key[1]}" for key in _MEANS}
    lines = []
    for key, group in scores.groupby(list(by), sort=False):
        cells = [shown(case_values(group, metric, rule, region).mean(), _DIGITS[metric]) for metric, region in columns]
        lines.append([*key, group[col.CASE].nunique(), *cells, shown(group[col.SECONDS].mean(), 1)])
    table = pd.DataFrame(lines, columns=[*by, "cases", *columns.values(), col.SECONDS])
    if published is not None:
        names = {col.METHOD: col.MODEL, **{region.lower(): columns[col.DSC, region] for region in _REGIONS}}
        names |= {metric: columns[metric, MEAN] for metric in _DIGITS}
        others = published[published["rule"] == rule].drop(columns=["rule", col.SOURCE]).rename(columns=names)
        table = pd.concat([table, others.assign(cases="published")]).fillna("")
    return markdown(table)


def differences(scores: pd.DataFrame) -> str:
    """Markdown: of each model and input what it differs from the same model on HR, of the cases that have both."""
    groups = dict(list(scores.groupby([col.MODEL, col.INPUT], sort=False)))
    lines = []
    for (model, kind), group in groups.items():
        if kind != HR and (model, HR) in groups:
            cells = []
            for metric, region in _DIFFERENCES:
                ours, theirs = (case_values(one, metric, "brats", region) for one in (group, groups[model, HR]))
                found = paired_difference((ours - theirs.reindex(ours.index)).dropna())
                cells.append(found.interval(_DIGITS[metric]))
                if (metric, region) == (col.DSC, MEAN):
                    cells.append(found.verdict(_DIGITS[metric]))
            lines.append([model, kind, *cells])
    columns = [f"{_NAMES[metric]} {region}" for metric, region in _DIFFERENCES]
    columns.insert(len(_REGIONS), "its 95 % interval")
    return markdown(pd.DataFrame(lines, columns=[col.MODEL, col.INPUT, *columns]))


def lesions(scores: pd.DataFrame) -> str:
    """Markdown: of each model, input and region the means over cases of lesion-wise DSC and NSD, and all lesions."""
    groups = scores.groupby([col.MODEL, col.INPUT, col.REGION], sort=False)
    table = groups[[col.LESION_DSC, col.NSD]].mean().map(lambda value: shown(value, 3))
    table[["missed", "false"]] = groups[[col.LESIONS_MISSED, col.LESIONS_FALSE]].sum().astype(int)
    names = {col.LESION_DSC: "lesion-wise DSC", col.NSD: "NSD", "missed": "lesions missed", "false": "false lesions"}
    return markdown(table.reset_index().rename(columns=names))


def false_volumes(scores: pd.DataFrame) -> str:
    """Markdown: of each model and input the volume found in cases whose truth has no tumor; "" without such cases."""
    free = scores[(scores[col.REGION] == Region.WT.value) & (scores[col.TRUE_VOLUME] == 0)]
    if free.empty:
        return ""
    volumes = free.groupby([col.MODEL, col.INPUT], sort=False)[col.VOLUME]
    table = pd.DataFrame({"cases": volumes.size()})
    table["mean (ml)"] = [shown(value, 3) for value in volumes.mean()]
    table["largest (ml)"] = [shown(value, 3) for value in volumes.max()]
    table[f"cases above {TOLERATED_ML:g} ml"] = volumes.agg(lambda found: (found > TOLERATED_ML).sum()).astype(int)
    return markdown(table.reset_index())


def case_values(scores: pd.DataFrame, metric: str, rule: Rule, region: str) -> pd.Series:
    """Of each case (the index) a region's value, or the mean of its regions; without cases in which none is defined.

    Parameters
    ----------
    scores : of one model and input
    metric : DSC, IOU or HD95
    region : one, or MEAN
    """
    of_region = scores if region == MEAN else scores[scores[col.REGION] == region]
    return of_region.groupby(col.CASE, sort=False)[metric if rule == "brats" else metric + col.PAPER].mean().dropna()


def pooled(bins: pd.DataFrame) -> dict[tuple[str, str], dict[Region, Reliability]]:
    """By model and input the voxels of all cases by their probability, of each region."""
    counts = [col.VOXELS, col.POSITIVES, col.PROBABILITIES]
    found: dict[tuple[str, str], dict[Region, Reliability]] = {}
    for (model, kind, region), group in bins.groupby([col.MODEL, col.INPUT, col.REGION], sort=False):
        sums = group.groupby(col.BIN)[counts].sum()
        found.setdefault((model, kind), {})[Region(region)] = Reliability(*(sums[name].to_numpy() for name in counts))
    return found


def calibration(found: Mapping[tuple[str, str], Mapping[Region, Reliability]]) -> str:
    """Markdown: of each model and input the expected calibration error of each region."""
    lines = [
        [*key, *(shown(regions[region].expected_calibration_error, 3) for region in Region)]
        for key, regions in found.items()
    ]
    return markdown(pd.DataFrame(lines, columns=[col.MODEL, col.INPUT, *(f"error of {region}" for region in Region)]))
