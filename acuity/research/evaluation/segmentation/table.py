"""The evaluation of segmentation in Markdown: means, differences to the original images, grades, calibration."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from pathlib import Path
from typing import Literal

import numpy as np

from acuity.anatomy import Region
from acuity.models.calibration import BINS, LOWEST, Reliability
from acuity.research.evaluation.bootstrap import FEWEST_CASES, paired_difference
from acuity.research.evaluation.slices.table import interval, is_real
from acuity.research.evaluation.tables import Row, grouped, markdown_table
from acuity.research.metrics.overlap import ABSENT_MM

HR = "HR"  # the input of the original images
Rule = Literal["brats", "paper"]
MEAN = "mean"  # over the regions, in the place of one
TOLERATED_ML = 0.1  # of tumor found where there is none

_DIGITS = {"dsc": 3, "iou": 3, "hd95_mm": 2}
_NAMES = {"dsc": "DSC", "iou": "IoU", "hd95_mm": "HD95 (mm)"}
_TITLES: dict[Rule, str] = {"brats": "BraTS's rule for absent regions", "paper": "the thesis's apparent rule"}

NOTES = (
    "Regions overlap: ET enhancing tumor, TC tumor core, WT whole tumor; mean: of a case's regions, then of cases.",
    f"BraTS's rule: a region that is neither there nor found counts as DSC 1, IoU 1, HD95 0; one of the two alone as "
    f"0, 0, {ABSENT_MM:.2f} mm.",
    "The thesis's apparent rule, which is our reading of it: DSC and IoU are averaged over the regions that are there "
    "in the truth; HD95 leaves out what is not found, too. Columns of the CSV that end in _paper; left out is empty.",
    "HD95: the larger 95th percentile of the distances from each border's voxels to the other border (MONAI).",
    "Every model is given the brain of the input's images: wherever any of the four sequences has signal.",
    "low: cases with hardly any enhancing part, as the fixed split names them; unknown: cases that it does not hold.",
    f"Calibration: expected calibration error over {BINS} bins, of all cases' voxels in the brain that were given a "
    f"probability of {LOWEST:g} or more, before results are tidied. A model that suspects nothing has none.",
    "Seconds: of one case, mean.",
)


def summary(rows: Seq[Row], bins: Seq[Row], *, published: Seq[Row], notes: Seq[str]) -> str:
    """The whole document.

    Parameters
    ----------
    rows : as ``segmentation.csv`` has them; numbers or their text, what is not defined is ""
    bins : as ``calibration.csv`` has them
    published : as ``read_published`` gives them
    notes : sentences on the data
    """
    cases = len({str(row["case"]) for row in rows})
    few = f" With {cases}, fewer than {FEWEST_CASES}, none is called real." if cases < FEWEST_CASES else ""
    parts = ["# Segmentation", "\n".join(f"- {note}" for note in (*notes, *NOTES))]
    for rule, title in _TITLES.items():
        parts += [f"## Means over cases, {title}", means(rows, rule, published=published)]
    free = false_volumes(rows)
    sources = dict.fromkeys(f"- {row['method']}: {row['source']}." for row in published)
    parts += ["Published values are of other data:\n\n" + "\n".join(sources)] if published else []
    parts += [
        f"## Differences to {HR}",
        f"Mean over the cases and its 95 % interval, by paired bootstrap of the cases; BraTS's rule.{few} Higher is "
        "better of DSC and IoU, lower of HD95.",
        differences(rows),
        *(["## Cases without a tumor", "What was found in them, all regions together.", free] if free else []),
        "## By grade",
        means(rows, "brats", by=("grade", "model", "input")),
        "## By case",
        means(rows, "brats", by=("case", "model", "input")),
        "## Calibration",
        calibration(pooled(bins)),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def means(rows: Seq[Row], rule: Rule, *, by: Seq[str] = ("model", "input"), published: Seq[Row] = ()) -> str:
    """Markdown: of each group DSC and HD95 by region and their mean, and the mean IoU; "" where nothing is defined."""
    lines = []
    for key, group in grouped(rows, *by).items():
        cells = [_shown(group, "dsc", rule, region) for region in _COLUMNS]
        cells.append(_shown(group, "iou", rule, MEAN))
        cells += [_shown(group, "hd95_mm", rule, region) for region in _COLUMNS]
        seconds = np.mean([float(row["seconds"]) for row in group])
        lines.append([*key, str(len(grouped(group, "case"))), *cells, f"{seconds:.1f}"])
    for row in published:
        if row["rule"] == rule:
            dsc = [str(row[name]) for name in ("et", "tc", "wt", "dsc")]
            hd95 = ["", "", "", str(row["hd95_mm"])]
            lines.append([str(row["method"]), str(row["input"]), "published", *dsc, str(row["iou"]), *hd95, ""])
    columns = [f"{_NAMES['dsc']} {region}" for region in _COLUMNS] + [f"{_NAMES['iou']} {MEAN}"]
    columns += [f"{_NAMES['hd95_mm']} {region}" for region in _COLUMNS]
    return markdown_table([*by, "cases", *columns, "seconds"], lines)


def differences(rows: Seq[Row]) -> str:
    """Markdown: of each model and input what it differs from the same model on HR, of the cases that have both."""
    by_model = grouped(rows, "model", "input")
    lines = []
    for (model, kind), group in by_model.items():
        if kind != HR and (model, HR) in by_model:
            cells = []
            for metric, region in (*(("dsc", region) for region in _COLUMNS), ("iou", MEAN), ("hd95_mm", MEAN)):
                theirs = case_values(by_model[model, HR], metric, "brats", region)
                ours = case_values(group, metric, "brats", region)
                found = paired_difference([ours[case] - theirs[case] for case in ours if case in theirs])
                cells.append(interval(found, _DIGITS[metric]))
                if (metric, region) == ("dsc", MEAN):
                    cells.append("yes" if is_real(found, _DIGITS[metric]) else "not shown")
            lines.append([model, kind, *cells])
    columns = [*(f"DSC {region}" for region in _COLUMNS), "real", f"IoU {MEAN}", f"HD95 (mm) {MEAN}"]
    return markdown_table(["model", "input", *columns], lines)


def false_volumes(rows: Seq[Row]) -> str:
    """Markdown: of each model and input the volume found in cases whose truth has no tumor; "" without such cases."""
    free = [row for row in rows if row["region"] == Region.WT and float(row["true_volume_ml"]) == 0]
    lines = []
    for key, group in grouped(free, "model", "input").items():
        found = [float(row["volume_ml"]) for row in group]
        above = sum(volume > TOLERATED_ML for volume in found)
        lines.append([*key, str(len(found)), f"{np.mean(found):.3f}", f"{max(found):.3f}", str(above)])
    columns = ["model", "input", "cases", "mean (ml)", "largest (ml)", f"cases above {TOLERATED_ML:g} ml"]
    return markdown_table(columns, lines) if lines else ""


def case_values(rows: Seq[Row], metric: str, rule: Rule, region: str) -> dict[str, float]:
    """Of each case a region's value, or the mean of its regions; cases in which none is defined are left out.

    Parameters
    ----------
    rows : of one model and input
    metric : "dsc", "iou" or "hd95_mm"
    region : one, or MEAN
    """
    column = metric if rule == "brats" else f"{metric}_paper"
    found: dict[str, list[float]] = {}
    for row in rows:
        if region in (MEAN, row["region"]) and row[column] != "":
            found.setdefault(str(row["case"]), []).append(float(row[column]))
    return {case: float(np.mean(values)) for case, values in found.items()}


def pooled(bins: Seq[Row]) -> dict[tuple[str, str], dict[Region, Reliability]]:
    """By model and input the voxels of all cases by their probability, of each region."""
    found: dict[tuple[str, str], dict[Region, Reliability]] = {}
    for (model, kind, region, _), rows in grouped(bins, "model", "input", "region", "case").items():
        ordered = sorted(rows, key=lambda row: int(row["bin"]))
        one = Reliability(
            np.array([int(row["voxels"]) for row in ordered]),
            np.array([int(row["positives"]) for row in ordered]),
            np.array([float(row["probabilities"]) for row in ordered]),
        )
        of_model = found.setdefault((model, kind), {})
        of_model[Region(region)] = of_model[Region(region)] + one if Region(region) in of_model else one
    return found


def calibration(found: Mapping[tuple[str, str], Mapping[Region, Reliability]]) -> str:
    """Markdown: of each model and input the expected calibration error of each region."""
    lines = []
    for (model, kind), regions in found.items():
        errors = [regions[region].expected_calibration_error for region in Region]
        lines.append([model, kind, *("" if np.isnan(error) else f"{error:.3f}" for error in errors)])
    return markdown_table(["model", "input", *(f"error of {region}" for region in Region)], lines)


def read_published(path: Path) -> list[Row]:
    """Rows of a CSV with method, input, rule, et, tc, wt, dsc, iou, hd95_mm and source; what is not known is ""."""
    with path.open(newline="") as file:
        return [dict(row) for row in csv.DictReader(file)]


_COLUMNS = (*(region.value for region in Region), MEAN)


def _shown(rows: Seq[Row], metric: str, rule: Rule, region: str) -> str:
    values = list(case_values(rows, metric, rule, region).values())
    return f"{np.mean(values):.{_DIGITS[metric]}f}" if values else ""
