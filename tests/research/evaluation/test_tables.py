"""Paired rows, and tables as Markdown."""

import math

import pandas as pd
import pytest

from acuity.errors import DataError
from acuity.research.evaluation.tables import differences, document, markdown, read_published, require_unique, shown


def test_only_partners_with_finite_values_are_compared():
    first = pd.DataFrame({"case": ["b", "a", "c", "d"], "psnr": [30.0, 20.0, math.inf, 1.0]})
    second = pd.DataFrame({"case": ["a", "b", "c"], "psnr": [18.0, 27.0, 3.0], "other": 0})
    found = differences(first, second, ["psnr"], on=["case"])
    assert found["case"].tolist() == ["b", "a", "c"]
    assert found["psnr"].tolist() == pytest.approx([3.0, 2.0, math.nan], nan_ok=True)


def test_a_document_has_its_parts_apart():
    table = pd.DataFrame({"method": ["a", "b"], "PSNR": [shown(1.256, 2), shown(math.nan, 2)]})
    assert document("# Title\n", "", markdown(table)) == (
        "# Title\n\n| method | PSNR |\n| --- | --- |\n| a | 1.26 |\n| b |  |\n"
    )


def test_a_name_may_stand_once():
    require_unique(["a", "b"], "method")
    with pytest.raises(DataError, match="Two methods are named a"):
        require_unique(["a", "b", "a"], "method")


def test_published_values_are_the_papers():
    sr = read_published("sr")
    assert sr["method"].tolist() == ["ESRGAN", "RankSRGAN", "SRResCycGAN", "BSRGAN", "Beby-GAN", "Real-ESRGAN"]
    assert sr["psnr"][0] == "24.47" and sr["mse"][2] == "228.00"
    # A mean of PSNRs over slices is never below the PSNR of the mean MSE.
    for psnr, mse in zip(sr["psnr"].astype(float), sr["mse"].astype(float), strict=True):
        assert psnr > 10 * math.log10(255**2 / mse) - 1
    seg = read_published("seg")
    for name in ("et", "tc", "wt", "dsc", "iou"):
        assert pd.to_numeric(seg[name]).dropna().between(0, 1, inclusive="neither").all()
    for published in (sr, seg):
        assert published["source"].str.contains("other").all()
