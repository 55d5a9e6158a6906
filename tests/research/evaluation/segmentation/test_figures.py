"""Pictures of segmentations: that outlines lie where they should, and nothing warns of what is empty."""

from __future__ import annotations

import numpy as np
from PIL import Image

from acuity.anatomy import REGION_COLORS, Region, Sequence
from acuity.models.calibration import reliability
from acuity.research.evaluation.segmentation.figures import Outlined, draw_means, draw_outlines, draw_reliability
from acuity.research.evaluation.segmentation.table import HR
from tests.research.evaluation.segmentation.test_table import NOTHING, scores

SCORES = dict.fromkeys(Region, 0.5)


def view(preds: np.ndarray) -> Outlined:
    image = np.full((40, 40), 100, np.float32)
    truth = np.zeros((40, 40), np.float32)
    truth[20:30, 20:30] = 4
    return Outlined(
        {Sequence.T1C.value: image, Sequence.FLAIR.value: image, "truth": truth, "preds": preds.astype(np.float32)},
        SCORES,
    )


def picture(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_outlines_have_the_colors_of_their_regions(tmp_path):
    edema = np.zeros((40, 40))
    edema[5:15, 5:15] = 2
    views = {HR: {"sees": view(edema), "sees nothing": view(np.zeros((40, 40)))}}
    draw_outlines("case", views, 1.0, tmp_path / "a.png")
    drawn = picture(tmp_path / "a.png")
    left, right = np.array_split(drawn, 2, axis=1)

    def like(image: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
        return np.abs(image - np.array(color)).max(axis=-1) < 40

    assert like(left, REGION_COLORS[Region.WT]).sum() > 50
    assert not like(right, REGION_COLORS[Region.WT]).any()
    assert not like(drawn, REGION_COLORS[Region.ET]).any()
    # Edema is drawn on FLAIR alone, which is the lower half.
    upper, lower = np.array_split(left, 2, axis=0)
    assert like(lower, REGION_COLORS[Region.WT]).any() and not like(upper, REGION_COLORS[Region.WT]).any()


def test_means_and_reliability_are_drawn(tmp_path):
    draw_means(scores(), tmp_path / "means.png")
    draw_means(scores(1), tmp_path / "one_case.png")
    rng = np.random.default_rng(0)
    probabilities = rng.uniform(0, 1, 1000)
    of_model = {region: reliability(probabilities, rng.uniform(0, 1, 1000) < probabilities) for region in Region}
    nothing = dict.fromkeys(Region, NOTHING)
    draw_reliability({("net", HR): of_model, ("none", HR): nothing, ("net", "SR"): of_model}, tmp_path / "r.png")
    for name in ("means", "one_case", "r"):
        assert picture(tmp_path / f"{name}.png").std() > 5
