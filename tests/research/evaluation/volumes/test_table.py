"""The Markdown of the evaluation of volumes, from made-up scores."""

from __future__ import annotations

import numpy as np
import pytest

from acuity.research.evaluation.bootstrap import paired_difference
from acuity.research.evaluation.tables import Row
from acuity.research.evaluation.volumes.table import gains, gains_by_case, means, summary

GAINS = (2.0, 2.5, 3.0, 2.2, 2.8, 1.9)  # of each case, in dB


def rows(cases: int = 6) -> list[Row]:
    found: list[Row] = []
    for n in range(cases):
        for offset, sequence in ((-0.5, "T1"), (0.5, "T2")):
            base = {"case": f"c{n}", "sequence": sequence, "degradation": "x2", "seconds": "2"}
            psnr = 30 + n + offset
            found.append(
                base
                | {
                    "method": "tricubic",
                    "psnr": str(psnr),
                    "ssim": "0.9",
                    "residual": "",
                    "residual_after": "",
                    "residual_known": "0.2",
                }
            )
            found.append(
                base
                | {
                    "method": "ours",
                    "psnr": psnr + GAINS[n] + offset,
                    "ssim": "0.92",
                    "residual": str(0.1 + n / 100),
                    "residual_after": "0.0005",
                    "residual_known": "0.001",
                    "seconds": "4",
                }
            )
    return found


def cells(table: str, *start: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith("| " + " | ".join(start) + " |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_means_are_over_cases_and_residuals_the_largest():
    assert cells(means(rows()), "x2", "tricubic") == [
        "x2",
        "tricubic",
        "6",
        "32.50",
        "0.9000",
        "",
        "",
        "0.20000",
        "2.0",
    ]
    assert cells(means(rows()), "x2", "ours")[2:] == [
        "6",
        f"{32.5 + np.mean(GAINS):.2f}",
        "0.9200",
        "0.15000",
        "0.00050",
        "0.00100",
        "4.0",
    ]


def test_a_case_that_has_more_volumes_weighs_no_more():
    uneven = [row for row in rows(2) if row["case"] == "c0" or row["sequence"] == "T1"]
    # c0: 30; c1: 30.5 alone
    assert cells(means(uneven), "x2", "tricubic")[3] == "30.25"
    # c0: mean of 1.5 and 2.5; c1: 2.0
    assert cells(gains(uneven), "x2", "ours")[2].startswith("+2.00 ")


def test_gains_have_the_interval_of_their_cases():
    found = cells(gains(rows()), "x2", "ours")
    difference = paired_difference(GAINS)
    assert found[2] == f"+{np.mean(GAINS):.2f} ({difference.low:+.2f} to {difference.high:+.2f})"
    assert found[3:5] == ["yes", "+1.40"]  # the last case's T1
    assert found[5] == "+0.0200 (+0.0200 to +0.0200)"
    assert "tricubic" not in gains(rows())


def test_few_cases_show_nothing_real():
    assert cells(gains(rows(5)), "x2", "ours")[3] == "not shown"
    assert cells(gains(rows(1)), "x2", "ours")[2] == "+2.00 (one case)"


def test_by_case():
    table = gains_by_case(rows())
    for n, gain in enumerate(GAINS):
        assert cells(table, "x2", "ours", f"c{n}")[3:] == [f"+{gain:.2f}", "+0.0200"]


def test_the_whole_says_what_its_columns_are():
    text = summary(rows(), degradations={"x2": "half of it"}, notes=["Cases: six."])
    for part in ("- Cases: six.", "- x2: half of it.", "truth's maximum", "## Gains over", means(rows()).strip()):
        assert part in text
    assert "none is called real" not in text
    assert "With 2, fewer than 6, none is called real." in summary(rows(2), degradations={}, notes=[])


@pytest.mark.parametrize("cases", [1, 6])
def test_tables_are_whole(cases):
    for table in (means(rows(cases)), gains(rows(cases)), gains_by_case(rows(cases))):
        assert len({line.count("|") for line in table.splitlines()}) == 1
