"""The Markdown of the evaluation of segmentation, from made-up scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from acuity.anatomy import Region
from acuity.models.calibration import BINS, Reliability, reliability
from acuity.research.evaluation.segmentation.table import (
    HR,
    MEAN,
    calibration,
    case_values,
    differences,
    false_volumes,
    lesions,
    means,
    pooled,
    summary,
)
from acuity.research.evaluation.statistics import paired_difference
from acuity.research.evaluation.tables import read_published
from tests.research.evaluation.scores import cells, is_whole

LOSSES = (0.10, 0.12, 0.20, 0.16, 0.14, 0.11)  # of each case's Dice on SR, in every region


def scores(cases: int = 6) -> pd.DataFrame:
    """The last of six cases has no enhancing tumor; some is found on SR."""
    found = []
    for n in range(cases):
        for kind in (HR, "SR"):
            for offset, region in ((-0.1, "ET"), (0.0, "TC"), (0.1, "WT")):
                dsc = 0.8 + offset - (LOSSES[n] if kind == "SR" else 0.0)
                overlap = {"dsc": dsc, "iou": dsc / (2 - dsc), "hd95_mm": 4.0}
                row = {"case": f"c{n}", "grade": "high", "model": "net", "input": kind, "region": region, **overlap}
                row |= {f"{name}_paper": value for name, value in overlap.items()}
                row |= {"lesion_dsc": dsc / 2, "lesions_missed": 1, "lesions_false": n % 2, "nsd": dsc}
                row |= {"seconds": 10.0, "volume_ml": 20.0, "true_volume_ml": 25.0}
                if n == 5 and region == "ET":
                    perfect = float(kind == HR)
                    row |= {"grade": "low", "dsc": perfect, "iou": perfect, "hd95_mm": 373.129 * (1 - perfect)}
                    row |= {f"{name}_paper": np.nan for name in overlap}
                found.append(row)
    return pd.DataFrame(found)


def bins(found: Reliability, region: Region, case: str) -> pd.DataFrame:
    """Rows of calibration.csv, the last bin first."""
    counts = {"voxels": found.voxels, "positives": found.positives, "probabilities": found.probabilities}
    rows = pd.DataFrame({"bin": range(BINS), **counts}).iloc[::-1]
    return rows.assign(case=case, model="net", input=HR, region=region.value)


NO_BINS = pd.DataFrame(columns=["model", "input", "region"])
NOTHING = reliability(np.zeros(3), np.zeros(3, bool))


def test_both_rules_for_a_region_that_is_not_there():
    by_brats, by_paper = (cells(means(scores(), rule), "net", "SR") for rule in ("brats", "paper"))
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
    found = cells(means(scores().query("case == 'c5'"), "paper"), "net", HR)
    assert (found[3], found[8]) == ("", "")


def test_differences_have_the_interval_of_their_cases():
    found = cells(differences(scores()), "net", "SR")
    wt = paired_difference([-loss for loss in LOSSES])
    assert found[4] == f"{wt.mean:+.3f} ({wt.low:+.3f} to {wt.high:+.3f})"
    by_case = [-loss for loss in LOSSES[:5]] + [float(np.mean([-1, -LOSSES[5], -LOSSES[5]]))]
    mean = paired_difference(by_case)
    assert found[5] == f"{mean.mean:+.3f} ({mean.low:+.3f} to {mean.high:+.3f})"
    assert found[6] == "excludes 0, n = 6"
    assert cells(differences(scores(5)), "net", "SR")[6] == "too few cases, n = 5"
    assert len(differences(scores()).splitlines()) == 3  # HR does not differ from itself


def test_only_cases_that_both_have_are_compared():
    some = scores().query("input == 'HR' or case in ('c0', 'c1')")
    wt = paired_difference([-LOSSES[0], -LOSSES[1]])
    assert cells(differences(some), "net", "SR")[4] == f"{wt.mean:+.3f} ({wt.low:+.3f} to {wt.high:+.3f})"
    assert len(differences(scores().query("input != 'HR'")).splitlines()) == 2


def test_values_of_a_case():
    hr = scores().query("input == 'HR'")
    assert case_values(hr, "dsc", "paper", "ET").index.tolist() == ["c0", "c1", "c2", "c3", "c4"]
    assert case_values(hr, "dsc", "brats", MEAN)["c5"] == pytest.approx((1 + 0.8 + 0.9) / 3)


def test_probabilities_of_all_cases_are_pooled():
    rng = np.random.default_rng(0)
    rows, whole = [], []
    for case in ("a", "b"):
        for region in Region:
            probabilities = rng.uniform(0, 1, 500)
            target = rng.uniform(0, 1, 500) < probabilities**2
            whole.append((region, probabilities, target))
            rows.append(bins(reliability(probabilities, target), region, case))
    line = cells(calibration(pooled(pd.concat(rows))), "net", HR)
    for region, cell in zip(Region, line[2:], strict=True):
        parts = [np.concatenate(part) for part in zip(*((p, t) for r, p, t in whole if r == region), strict=True)]
        assert cell == f"{reliability(*parts).expected_calibration_error:.3f}"


def test_a_model_that_finds_nothing_has_no_calibration():
    nothing = pd.concat([bins(NOTHING, region, "a") for region in Region])
    assert cells(calibration(pooled(nothing)), "net", HR)[2:] == ["", "", ""]


def test_what_is_found_without_a_tumor_is_counted():
    published = read_published("seg")
    assert false_volumes(scores()) == ""
    assert "without a tumor" not in summary(scores(), NO_BINS, published=published, notes=[])
    # In three of the cases there is none; a region that is not there makes no such case.
    volumes = {"c0": (0.05, 0.0), "c1": (0.7, 0.1), "c5": (0.3, 0.0)}
    changed = scores()
    changed.loc[changed["region"] == "ET", "true_volume_ml"] = 0
    for case, (on_sr, on_hr) in volumes.items():
        for kind, volume in (("SR", on_sr), (HR, on_hr)):
            there = (changed["case"] == case) & (changed["input"] == kind)
            changed.loc[there, ["true_volume_ml", "volume_ml"]] = [0, volume]
    table = false_volumes(changed)
    assert cells(table, "net", "SR")[2:] == ["3", "0.350", "0.700", "2"]
    assert cells(table, "net", HR)[2:] == ["3", "0.033", "0.100", "0"]
    assert len(table.splitlines()) == 4 and "cases above 0.1 ml" in table
    text = summary(changed, NO_BINS, published=published, notes=[])
    assert f"The volume that was found in them, all regions together.\n\n{table.strip()}" in text


def test_lesions_are_counted_over_all_cases():
    found = cells(lesions(scores()), "net", HR, "WT")
    assert found[3:] == ["0.450", "0.900", "6", "3"]
    assert is_whole(lesions(scores()))


def test_the_whole_says_what_its_columns_are():
    published = read_published("seg")
    text = summary(scores(), NO_BINS, published=published, notes=["Cases: six."])
    table = means(scores(), "brats", published=published).strip()
    for part in (
        "- Cases: six.",
        "373.13 mm",
        "our reading",
        "## Differences to HR",
        "## Lesion by lesion",
        "## By grade",
        table,
    ):
        assert part in text
    assert all(is_whole(block) for block in text.split("\n\n") if block.startswith("|"))
    assert cells(means(scores(), "brats", by=("grade", "model", "input")), "low", "net", "SR")[4] == "0.000"


def test_published_values_stand_where_their_rule_is():
    paper, brats = (means(scores(), rule, published=read_published("seg")) for rule in ("paper", "brats"))
    assert cells(paper, "Open BraTS", "SR", "published")[6:9] == ["0.61", "0.52", ""]
    assert cells(paper, "Open BraTS", "SR", "published")[-2] == "21.4"
    assert cells(brats, "nnU-Net", HR, "published")[3:6] == ["0.82", "0.85", "0.89"]
