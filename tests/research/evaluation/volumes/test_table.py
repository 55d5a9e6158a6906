"""The Markdown of the evaluation of volumes, from made-up scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from acuity.research.evaluation.statistics import paired_difference
from acuity.research.evaluation.volumes.table import gains, gains_by_case, means, means_by_sequence, summary
from tests.research.evaluation.scores import cells, is_whole

GAINS = (2.0, 2.5, 3.0, 2.2, 2.8, 1.9)  # of each case, in dB


def scores(cases: int = 6) -> pd.DataFrame:
    found: list[dict[str, object]] = []
    for n in range(cases):
        for offset, sequence in ((-0.5, "T1"), (0.5, "T2")):
            volume: dict[str, object] = {"case": f"c{n}", "sequence": sequence, "degradation": "x2"}
            psnr = 30 + n + offset
            plain = {"psnr": psnr, "ssim": 0.9, "residual_known": 0.2, "seconds": 2}
            ours = {"psnr": psnr + GAINS[n] + offset, "ssim": 0.92, "residual_known": 0.001, "seconds": 4}
            residuals = {"residual": 0.1 + n / 100, "residual_after": 0.0005}
            found += [volume | {"method": "tricubic"} | plain, volume | {"method": "ours"} | ours | residuals]
    return pd.DataFrame(found)


def test_means_are_over_cases_and_residuals_the_largest():
    plain, ours = (cells(means(scores()), "x2", method)[2:] for method in ("tricubic", "ours"))
    assert plain == ["6", "32.50", "0.9000", "", "", "0.20000", "2.0"]
    assert ours == ["6", f"{32.5 + np.mean(GAINS):.2f}", "0.9200", "0.15000", "0.00050", "0.00100", "4.0"]


def test_a_case_that_has_more_volumes_weighs_no_more():
    two = scores(2)
    uneven = two[(two["case"] == "c0") | (two["sequence"] == "T1")]
    # c0: 30; c1: 30.5 alone
    assert cells(means(uneven), "x2", "tricubic")[3] == "30.25"
    # c0: mean of 1.5 and 2.5; c1: 2.0
    assert cells(gains(uneven), "x2", "ours")[2].startswith("+2.00 ")


def test_gains_have_the_interval_of_their_cases():
    found = cells(gains(scores()), "x2", "ours")
    difference = paired_difference(GAINS)
    assert found[2] == f"+{np.mean(GAINS):.2f} ({difference.low:+.2f} to {difference.high:+.2f})"
    assert found[3:5] == ["excludes 0, n = 6", "+1.40"]  # the last case's T1
    assert found[5] == "+0.0200 (+0.0200 to +0.0200)"
    assert "tricubic" not in gains(scores())
    assert cells(gains(scores(5)), "x2", "ours")[3] == "too few cases, n = 5"


def test_each_method_stands_for_itself_by_case():
    two = pd.concat([scores(), scores().assign(degradation="x4")]).sort_values("case", kind="stable")
    lines = [line.split(" | ") for line in gains_by_case(two).splitlines()[2:]]
    assert [line[0] for line in lines] == ["| x2"] * 6 + ["| x4"] * 6
    for n, gain in enumerate(GAINS):
        assert cells(gains_by_case(two), "x4", "ours", f"c{n}")[3:] == [f"+{gain:.2f}", "+0.0200"]


def test_means_by_sequence():
    assert cells(means_by_sequence(scores()), "x2", "T1", "tricubic")[3:] == ["6", "32.0000", "0.9000"]


@pytest.mark.parametrize("cases", [1, 6])
def test_the_whole_says_what_its_columns_are(cases):
    text = summary(scores(cases), degradations={"x2": "half of it"}, notes=["Cases: six."])
    for part in (
        "- Cases: six.",
        "- x2: half of it.",
        "truth's maximum",
        "## Gains over",
        means(scores(cases)).strip(),
    ):
        assert part in text
    assert all(is_whole(block) for block in text.split("\n\n") if block.startswith("|"))
