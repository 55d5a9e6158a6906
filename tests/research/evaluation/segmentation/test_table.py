"""The Markdown of the evaluation of segmentation, from made-up scores."""

from __future__ import annotations

import math

import numpy as np
import pytest

from acuity.anatomy import Region
from acuity.models.calibration import BINS, reliability
from acuity.research.evaluation.bootstrap import paired_difference
from acuity.research.evaluation.segmentation.table import (
    HR,
    MEAN,
    calibration,
    case_values,
    differences,
    false_volumes,
    means,
    pooled,
    read_published,
    summary,
)
from acuity.research.evaluation.tables import Row
from acuity.resources import config_file

LOSSES = (0.10, 0.12, 0.20, 0.16, 0.14, 0.11)  # of each case's Dice on SR, in every region


def rows(cases: int = 6) -> list[Row]:
    """The last case has no enhancing tumor; some is found on SR."""
    found: list[Row] = []
    for n in range(cases):
        for kind in (HR, "SR"):
            for offset, region in ((-0.1, "ET"), (0.0, "TC"), (0.1, "WT")):
                dsc = 0.8 + offset - (LOSSES[n] if kind == "SR" else 0.0)
                row = {
                    "case": f"c{n}",
                    "grade": "high",
                    "model": "net",
                    "input": kind,
                    "region": region,
                    "dsc": str(dsc),
                    "iou": str(dsc / (2 - dsc)),
                    "hd95_mm": "4",
                    "dsc_paper": str(dsc),
                    "iou_paper": str(dsc / (2 - dsc)),
                    "hd95_mm_paper": "4",
                    "seconds": "10",
                    "volume_ml": "20",
                    "true_volume_ml": "25",
                }
                if n == 5 and region == "ET":
                    perfect = kind == HR
                    row |= {
                        "grade": "low",
                        "dsc": "1" if perfect else "0",
                        "iou": "1" if perfect else "0",
                        "hd95_mm": "0" if perfect else "373.129",
                        "dsc_paper": "",
                        "iou_paper": "",
                        "hd95_mm_paper": "",
                    }
                found.append(row)
    return found


def cells(table: str, *start: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith("| " + " | ".join(start) + " |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_both_rules_for_a_region_that_is_not_there():
    by_brats, by_paper = (cells(means(rows(), rule), "net", "SR") for rule in ("brats", "paper"))
    et = [0.7 - loss for loss in LOSSES[:5]]
    assert by_brats[2] == by_paper[2] == "6"
    assert by_brats[3] == f"{np.mean([*et, 0]):.3f}"
    assert by_paper[3] == f"{np.mean(et):.3f}"
    # Mean: of a case's regions, then of cases.
    last = [0.8 - LOSSES[5], 0.9 - LOSSES[5]]
    others = [0.8 - loss for loss in LOSSES[:5]]
    assert by_brats[6] == f"{np.mean([*others, np.mean([0, *last])]):.3f}"
    assert by_paper[6] == f"{np.mean([*others, np.mean(last)]):.3f}"
    assert by_brats[8] == f"{np.mean([4] * 5 + [373.129]):.2f}" and by_paper[8] == "4.00"
    assert by_brats[-1] == "10.0"


def test_what_is_defined_nowhere_is_left_empty():
    only = [row for row in rows() if row["case"] == "c5"]
    assert cells(means(only, "paper"), "net", HR)[3] == ""
    assert cells(means(only, "paper"), "net", HR)[8] == ""


def test_differences_have_the_interval_of_their_cases():
    found = cells(differences(rows()), "net", "SR")
    wt = paired_difference([-loss for loss in LOSSES])
    assert found[4] == f"{wt.mean:+.3f} ({wt.low:+.3f} to {wt.high:+.3f})"
    by_case = [-loss for loss in LOSSES[:5]] + [float(np.mean([-1, -LOSSES[5], -LOSSES[5]]))]
    mean = paired_difference(by_case)
    assert found[5] == f"{mean.mean:+.3f} ({mean.low:+.3f} to {mean.high:+.3f})"
    assert found[6] == "yes"
    assert cells(differences(rows(5)), "net", "SR")[6] == "not shown"
    assert len(differences(rows()).splitlines()) == 3  # HR does not differ from itself


def test_only_cases_that_both_have_are_compared():
    some = [row for row in rows() if row["input"] == HR or row["case"] in ("c0", "c1")]
    wt = paired_difference([-LOSSES[0], -LOSSES[1]])
    assert cells(differences(some), "net", "SR")[4] == f"{wt.mean:+.3f} ({wt.low:+.3f} to {wt.high:+.3f})"
    assert len(differences([row for row in rows() if row["input"] != HR]).splitlines()) == 2


def test_values_of_a_case():
    hr = [row for row in rows() if row["input"] == HR]
    assert case_values(hr, "dsc", "paper", "ET").keys() == {"c0", "c1", "c2", "c3", "c4"}
    assert case_values(hr, "dsc", "brats", MEAN)["c5"] == pytest.approx((1 + 0.8 + 0.9) / 3)


def test_probabilities_of_all_cases_are_pooled():
    rng = np.random.default_rng(0)
    bins: list[Row] = []
    whole = []
    for case in ("a", "b"):
        for region in Region:
            probabilities = rng.uniform(0, 1, 500)
            target = rng.uniform(0, 1, 500) < probabilities**2
            whole.append((region, probabilities, target))
            found = reliability(probabilities, target)
            for n in reversed(range(BINS)):
                bins.append(
                    {
                        "case": case,
                        "model": "net",
                        "input": HR,
                        "region": region.value,
                        "bin": str(n),
                        "voxels": str(found.voxels[n]),
                        "positives": str(found.positives[n]),
                        "probabilities": str(found.probabilities[n]),
                    }
                )
    line = cells(calibration(pooled(bins)), "net", HR)
    for region, cell in zip(Region, line[2:], strict=True):
        parts = [np.concatenate(part) for part in zip(*((p, t) for r, p, t in whole if r == region), strict=True)]
        assert cell == f"{reliability(*parts).expected_calibration_error:.3f}"


def test_a_model_that_finds_nothing_has_no_calibration():
    bins: list[Row] = [
        {
            "case": "a",
            "model": "net",
            "input": HR,
            "region": region.value,
            "bin": str(n),
            "voxels": "0",
            "positives": "0",
            "probabilities": "0",
        }
        for region in Region
        for n in range(BINS)
    ]
    assert cells(calibration(pooled(bins)), "net", HR)[2:] == ["", "", ""]


def test_what_is_found_without_a_tumor_is_counted():
    assert false_volumes(rows()) == "" and "without a tumor" not in summary(rows(), [], published=[], notes=[])
    # In three of the cases there is none; a region that is not there makes no such case.
    volumes = {"c0": (0.05, 0.0), "c1": (0.7, 0.1), "c5": (0.3, 0.0)}
    changed = [
        row | {"true_volume_ml": "0", "volume_ml": f"{volumes[str(row['case'])][row['input'] == HR]:g}"}
        if row["case"] in volumes
        else row | ({"true_volume_ml": "0"} if row["region"] == "ET" else {})
        for row in map(dict, rows())
    ]
    table = false_volumes(changed)
    assert cells(table, "net", "SR")[2:] == ["3", "0.350", "0.700", "2"]
    assert cells(table, "net", HR)[2:] == ["3", "0.033", "0.100", "0"]
    assert len(table.splitlines()) == 4 and "cases above 0.1 ml" in table
    text = summary(changed, [], published=[], notes=[])
    assert f"## Cases without a tumor\n\nWhat was found in them, all regions together.\n\n{table.strip()}" in text


def test_the_whole_says_what_its_columns_are():
    published = read_published(config_file("seg/published.csv"))
    text = summary(rows(), [], published=published, notes=["Cases: six."])
    for part in (
        "- Cases: six.",
        "373.13 mm",
        "our reading",
        "## Differences to HR",
        "## By grade",
        means(rows(), "brats", published=published).strip(),
    ):
        assert part in text
    assert "none is called real" not in text
    assert "With 2, fewer than 6, none is called real." in summary(rows(2), [], published=[], notes=[])
    assert cells(means(rows(), "brats", by=("grade", "model", "input")), "low", "net", "SR")[4] == "0.000"


def test_published_values_stand_where_their_rule_is():
    published = read_published(config_file("seg/published.csv"))
    paper = means(rows(), "paper", published=published)
    assert cells(paper, "Open BraTS", "SR", "published")[6:9] == ["0.61", "0.52", ""]
    assert cells(paper, "Open BraTS", "SR", "published")[-2] == "21.4"
    brats = means(rows(), "brats", published=published)
    assert cells(brats, "nnU-Net", HR, "published")[3:6] == ["0.82", "0.85", "0.89"]
    for table in (paper, brats):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    for row in published:
        assert "other" in str(row["source"])
        for name in ("et", "tc", "wt", "dsc", "iou"):
            assert row[name] == "" or 0 < float(row[name]) < 1
        assert row["hd95_mm"] == "" or math.isfinite(float(row["hd95_mm"]))
