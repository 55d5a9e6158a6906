"""The summary: means, rankings, and what is called real."""

from __future__ import annotations

import math

import numpy as np
import pytest

from acuity.research.evaluation.slices.methods import interpolations, with_denoising
from acuity.research.evaluation.slices.scores import METRICS
from acuity.research.evaluation.slices.table import (
    TRUTH,
    by_method,
    case_differences,
    read_published,
    slice_means,
    summary,
    verdicts,
    volume_means,
)
from acuity.research.evaluation.tables import Row


def rows_of(gains: dict[str, float], cases: int = 8, spread: float = 0.1) -> list[Row]:
    """Methods whose PSNR is by a gain above bicubic's, give or take; cases differ by far more than methods."""
    rng = np.random.default_rng(0)
    rows: list[Row] = []
    for c in range(cases):
        for k in range(3):
            level = 25 + c + 0.1 * k
            for name, gain in {"bicubic": 0.0, **gains}.items():
                psnr = level + gain + (spread * float(rng.standard_normal()) if gain else 0.0)
                values = dict.fromkeys(METRICS, math.nan)
                values |= {"psnr": psnr, "mse": 255**2 / 10 ** (psnr / 10), "ssim": 0.8, "residual_max": 0.1 * k}
                rows.append(
                    {
                        "method": name,
                        "source": "interpolation",
                        "case": f"case {c}",
                        "sequence": "T1",
                        "slice": str(k),
                        **values,
                    }
                )
    return rows


def test_the_better_method_is_first_and_the_difference_real():
    found = verdicts(by_method(rows_of({"poor": -0.5, "good": 1.0})), "psnr")
    assert len(found) == 2
    assert found[0].startswith("good over bicubic: +1.") and found[0].endswith(", real.")
    assert found[1].startswith("bicubic over poor: +0.") and found[1].endswith(", real.")


def test_a_tie_is_not_real():
    (sentence,) = verdicts(by_method(rows_of({"same": 0.0})), "psnr")
    assert sentence == "bicubic over same: +0.00 (+0.00 to +0.00), not shown to be real."
    # Neither is one that is steady but cannot be seen in the digits shown.
    (sentence,) = verdicts(by_method(rows_of({"same": 0.001}, spread=0.0)), "psnr")
    assert "not shown to be real" in sentence


def test_noise_is_not_real_and_few_cases_are_not_enough():
    (sentence,) = verdicts(by_method(rows_of({"noisy": 0.02}, spread=2.0)), "psnr")
    assert "not shown to be real" in sentence
    (sentence,) = verdicts(by_method(rows_of({"good": 1.0}, cases=5)), "psnr")
    assert "not shown to be real" in sentence
    (sentence,) = verdicts(by_method(rows_of({"good": 1.0}, cases=1)), "psnr")
    assert sentence.endswith("(one case), not shown to be real.")


def test_an_absent_metric_has_no_ranking():
    assert verdicts(by_method(rows_of({"good": 1.0})), "perceptual") == []


def test_slices_of_a_case_are_one_observation():
    rows = rows_of({"good": 1.0}, cases=4)
    found = case_differences(by_method(rows), "good", "bicubic", "psnr")
    values = {m: np.reshape([r["psnr"] for r in rows if r["method"] == m], (4, 3)) for m in ("good", "bicubic")}
    np.testing.assert_allclose(found, (values["good"] - values["bicubic"]).mean(axis=1))


def test_means_over_slices_and_over_volumes_are_not_the_same():
    """PSNRs of 20 and 40 dB: their mean is 30, that of the stack 10 log10(255^2 / mean MSE) is 22.97."""
    rows = rows_of({}, cases=1)[:2]
    changed: list[Row] = [
        {**row, "psnr": psnr, "mse": 255**2 / 10 ** (psnr / 10)} for row, psnr in zip(rows, (20.0, 40.0), strict=True)
    ]
    scores = by_method(changed)
    (line,) = volume_means(scores).splitlines()[2:]
    assert line == "| bicubic | 1 | 328.38 | 22.97 | 0.8000 |"
    (line,) = slice_means(scores, {"bicubic": 1.26}, {}).splitlines()[2:]
    assert line == "| bicubic | interpolation | 328.38 | 30.00 | 0.8000 |  |  |  |  | 0.1000 |  |  | 1.3 |  |"


def test_the_document(repository):
    rows = rows_of({"good": 1.0, "steady": 0.9}, spread=0.0)
    for row in list(rows):
        if row["method"] == "bicubic":
            empty = dict.fromkeys(METRICS, math.nan)
            rows.append({**row, "method": TRUTH, "source": "", **empty, "niqe": 3.21, "nyquist": 0.001})
    methods = with_denoising([interpolations(4)[2]], "after")[:1]
    published = read_published(repository / "configs" / "sr" / "published.csv")
    text = summary(
        rows,
        methods,
        title="Comparison",
        milliseconds={"good": 12.34},
        denoising={},
        published=published,
        notes=["Data: made up."],
    )
    assert text.startswith("# Comparison\n\n- Data: made up.\n\n## Means over slices\n")
    assert "| SRResCycGAN | published, other data | 228.00 | 25.94 | 0.7456 |  |" in text
    assert text.count("natural-image weights, other data.") == 1
    assert "| truth |  |  |  |  |  | 3.21 | 0.00100 |" in text
    assert "- good over steady: +0.10 (+0.10 to +0.10), real." in text
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    for table in tables:  # as Markdown wants it: all lines of a table have the same columns
        assert len({line.count("|") for line in table.splitlines()}) == 1
    assert "With 8" not in text
    few = summary(
        rows_of({"good": 1.0}, cases=3), methods, title="x", milliseconds={}, denoising={}, published=[], notes=[]
    )
    assert "With 3, fewer than 6, none is called real." in few


def test_the_effect_of_denoising_is_against_the_same_method():
    methods = with_denoising([interpolations(4)[2]], "after")
    rows = rows_of({"bicubic, denoised after": -0.2}, spread=0.0)
    text = summary(
        rows, methods, title="x", milliseconds={}, denoising={"bicubic, denoised after": 7.0}, published=[], notes=[]
    )
    _, _, effect = text.partition("## Effect of denoising")
    assert "| bicubic, denoised after | -0.20 (-0.20 to -0.20) | +0.0000" in effect
    assert "over" not in effect.partition("## Which")[2]  # only methods themselves are ranked


def test_published_values_are_the_papers(repository):
    rows = read_published(repository / "configs" / "sr" / "published.csv")
    assert [row["method"] for row in rows] == [
        "ESRGAN",
        "RankSRGAN",
        "SRResCycGAN",
        "BSRGAN",
        "Beby-GAN",
        "Real-ESRGAN",
    ]
    assert all("other data" in str(row["source"]) for row in rows)
    # A mean of PSNRs over slices is never below the PSNR of the mean MSE.
    assert all(float(r["psnr"]) > 10 * math.log10(255**2 / float(r["mse"])) - 1 for r in rows)
    assert float(rows[0]["psnr"]) == pytest.approx(24.47)
