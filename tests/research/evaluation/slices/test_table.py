"""The summary: means, rankings, and which intervals exclude 0."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from acuity.research.evaluation.slices.methods import interpolations, with_denoising
from acuity.research.evaluation.slices.scores import METRICS
from acuity.research.evaluation.slices.table import TRUTH, case_differences, ranking, slice_means, summary, volume_means
from acuity.research.evaluation.tables import read_published
from tests.research.evaluation.scores import is_whole

PLAIN, DENOISED = with_denoising([interpolations(4)[2]], "after")


def scores_of(gains: dict[str, float], cases: int = 8, spread: float = 0.1) -> pd.DataFrame:
    """Methods whose PSNR is by a gain above bicubic's, give or take; cases differ by far more than methods."""
    rng = np.random.default_rng(0)
    rows = []
    for c in range(cases):
        for k in range(3):
            for name, gain in {"bicubic": 0.0, **gains}.items():
                psnr = 25 + c + 0.1 * k + gain + (spread * float(rng.standard_normal()) if gain else 0.0)
                values = {"psnr": psnr, "mse": 255**2 / 10 ** (psnr / 10), "ssim": 0.8, "residual_max": 0.1 * k}
                place = {"case": f"case {c}", "sequence": "", "slice": k}  # as NIfTI has no sequence
                rows.append({"method": name, "source": "interpolation", **place, **values})
    return pd.DataFrame(rows, columns=["method", "source", "case", "sequence", "slice", *METRICS]).astype(
        dict.fromkeys(METRICS, float)
    )


def document(scores: pd.DataFrame, methods=(), **options) -> str:
    common: dict[str, Any] = {
        "title": "Comparison",
        "milliseconds": {},
        "denoising": {},
        "published": None,
        "notes": ["Data: made up."],
    }
    return summary(scores, methods, **common | options)


@pytest.mark.parametrize(
    ("scores", "sentences"),
    [
        (
            scores_of({"poor": -0.5, "good": 1.0}, spread=0.0),
            [
                "good over bicubic: +1.00 (+1.00 to +1.00), excludes 0, n = 8.",
                "bicubic over poor: +0.50 (+0.50 to +0.50), excludes 0, n = 8.",
            ],
        ),
        (scores_of({"same": 0.0}), ["bicubic over same: +0.00 (+0.00 to +0.00), includes 0, n = 8."]),
        (scores_of({"good": 1.0}, cases=1, spread=0.0), ["good over bicubic: +1.00 (one case), too few cases, n = 1."]),
    ],
)
def test_neighbors_in_the_ranking_are_compared(scores, sentences):
    assert ranking(scores, "psnr") == sentences
    assert ranking(scores, "perceptual") == []  # nothing was measured


def test_noise_is_no_difference():
    (sentence,) = ranking(scores_of({"noisy": 0.02}, spread=2.0), "psnr")
    assert sentence.endswith("includes 0, n = 8.")


def test_slices_of_a_case_are_one_observation():
    scores = scores_of({"good": 1.0}, cases=4)
    found = case_differences(scores, "good", "bicubic", "psnr")
    values = {m: scores.loc[scores["method"] == m, "psnr"].to_numpy().reshape(4, 3) for m in ("good", "bicubic")}
    np.testing.assert_allclose(found, (values["good"] - values["bicubic"]).mean(axis=1))
    scores.loc[scores["case"] == "case 0", "psnr"] = math.inf
    assert case_differences(scores, "good", "bicubic", "psnr").index.tolist() == ["case 1", "case 2", "case 3"]


def test_means_over_slices_and_over_volumes_are_not_the_same():
    """PSNRs of 20 and 40 dB: their mean is 30, that of the stack 10 log10(255^2 / mean MSE) is 22.97."""
    psnr = np.array([20.0, 40.0])
    scores = scores_of({}, cases=1)[:2].assign(psnr=psnr, mse=255**2 / 10 ** (psnr / 10))
    assert volume_means(scores).splitlines()[2:] == ["| bicubic | 1 | 328.38 | 22.97 | 0.8000 |"]
    assert slice_means(scores, {"bicubic": 1.26}, {}).splitlines()[2:] == [
        "| bicubic | interpolation | 328.38 | 30.00 | 0.8000 |  |  |  |  | 0.1000 |  |  | 1.3 |  |"
    ]


def test_the_document():
    scores = scores_of({"good": 1.0, "steady": 0.9}, spread=0.0)
    truth = scores[scores["method"] == "bicubic"].assign(method=TRUTH, source="", **dict.fromkeys(METRICS, math.nan))
    scores = pd.concat([scores, truth.assign(niqe=3.21, nyquist=0.001)])
    text = document(scores, [PLAIN], milliseconds={"good": 12.34}, published=read_published("sr"))
    assert text.startswith("# Comparison\n\n- Data: made up.\n\n## Means over slices\n")
    assert "| SRResCycGAN | published, other data | 228.00 | 25.94 | 0.7456 |  |" in text
    assert text.count("natural-image weights, other data.") == 1
    assert "| truth |  |  |  |  |  | 3.21 | 0.00100 |" in text
    assert "- good over steady: +0.10 (+0.10 to +0.10), excludes 0, n = 8." in text
    assert "95 % interval" in text and "By perceptual:\n\nNone." in text
    assert all(is_whole(block) for block in text.split("\n\n") if block.startswith("|"))


def test_the_effect_of_denoising_is_against_the_same_method():
    scores = scores_of({DENOISED.name: -0.2}, spread=0.0)
    text = document(scores, [PLAIN, DENOISED], denoising={DENOISED.name: 7.0})
    _, _, effect = text.partition("## Effect of denoising")
    assert f"| {DENOISED.name} | -0.20 (-0.20 to -0.20) | +0.0000" in effect
    assert " over " not in effect.partition("## Differences between")[2]  # only methods themselves are ranked
