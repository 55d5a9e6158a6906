"""The experiments with simulated annotators: clicks and corrections."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from acuity.errors import DataError
from acuity.imaging.refinement import refined
from acuity.research.sampling.patches import PreparedCase
from label.experiments import corrections
from label.experiments.clicks import clicks_to_reach, next_click, scores, simulate, summary
from label.experiments.tables import Row, write_table
from tests.label_cases import GRID, truth


def test_the_annotator_clicks_into_the_middle_of_the_largest_error() -> None:
    target = np.zeros((20, 20, 20), np.uint8)
    target[2:5, 2:5, 2:5] = 4
    target[8:17, 8:15, 8:13] = 2
    click = next_click(np.zeros_like(target), target)
    assert click is not None and click[1] == 2
    assert all(low <= n <= high for n, low, high in zip(click[0], (10, 10, 10), (14, 12, 10), strict=True))
    labels = np.where(target == 2, 2, 0).astype(np.uint8)
    labels[0:5, 18:, 18:] = 1
    assert next_click(labels, target) == ((3, 3, 3), 4)
    assert next_click(target, target) is None


def test_a_simulated_annotator_corrects_the_phantom(tmp_path: Path) -> None:
    target = truth()
    image = np.stack([(target > 0) * 3.0, (target == 4) * 3.0 - (target == 1) * 3.0]).astype(np.float32)
    start = np.where(target == 4, 0, target).astype(np.uint8)
    spacing = GRID.spacing.tolist()
    found = simulate(start, target, lambda clicks: refined(start, image, clicks, spacing=spacing), 10)
    rows: list[Row] = [{"case": "a", "clicks": number, **scores(labels, target)} for number, labels in enumerate(found)]
    write_table(rows, tmp_path / "out" / "clicks.csv")
    assert (tmp_path / "out" / "clicks.csv").read_text().startswith("case,clicks,dice_ET,dice_TC,dice_WT,dice\na,0,")
    means = [float(row["dice"]) for row in rows]
    assert means[0] < 0.7
    reached = clicks_to_reach(means, 0.9)
    assert reached is not None and reached <= 8
    assert summary(rows, 0.9).splitlines()[-1].split() == ["dice", f"{means[0]:.3f}", f"{means[-1]:.3f}", str(reached)]
    assert clicks_to_reach(means, 1.1) is None


@pytest.mark.parametrize(("gains", "verdict"), [((0.1, 0.1), "yes"), ((0.3, -0.1), "no")])
def test_a_difference_counts_where_every_seed_agrees(gains: tuple[float, float], verdict: str) -> None:
    """Over the cases alone, both gains are as sure as can be."""
    rows: list[Row] = [
        {
            "seed": seed,
            "arm": arm,
            "case": f"case {case}",
            "region": "WT",
            "dice": 0.5 + 0.001 * case + (gain if arm == corrections.UNCERTAINTY else 0.0),
        }
        for seed, gain in enumerate(gains)
        for arm in corrections.ARMS
        for case in range(6)
    ]
    lines = corrections.summary(corrections.means(rows)).splitlines()
    (line,) = (line for line in lines if line.startswith("| uncertainty - random |"))
    assert line.endswith(f"| {gains[0]:+.3f}, {gains[1]:+.3f} | {verdict} |")


def bright(name: str) -> PreparedCase:
    rng = np.random.default_rng(len(name) + ord(name[-1]))
    image = rng.normal(0, 0.3, (4, 32, 32, 32)).astype(np.float32)
    regions = np.zeros((3, 32, 32, 32), np.uint8)
    for region, margin in enumerate((12, 10, 8)):
        regions[region, margin:-margin, margin:-margin, margin:-margin] = 1
        image[region + 1] += 4 * regions[region]
    return PreparedCase(name, torch.from_numpy(image).half(), torch.from_numpy(regions))


@pytest.mark.slow
def test_corrections_are_trained_on_and_no_training_is_done_twice(tmp_path: Path) -> None:
    pool = {case.name: case for case in map(bright, ("a", "b", "c", "d", "e"))}
    data = corrections.Data(pool, bright("shown"), [bright(f"test {n}") for n in range(2)])
    plan = corrections.Plan(cases=2, corrections=2, seeds=1, iterations=2, tuning=1)
    rows = corrections.run(data, plan, tmp_path, "cpu")
    assert {row["arm"] for row in rows} == set(corrections.ARMS)
    assert len(rows) == 4 * 2 * 3
    (folder,) = tmp_path.glob("*/seed_0")
    known, *corrected = (
        set(json.loads((folder / arm / "settings.json").read_text())["cases"])
        for arm in ("first", corrections.RANDOM, corrections.UNCERTAINTY)
    )
    assert len(known) == 2 and all(known < names and len(names) == 4 for names in corrected)
    weights = folder / "first" / "best.pt"
    written = weights.stat().st_mtime_ns
    assert corrections.run(data, plan, tmp_path, "cpu") == rows
    assert weights.stat().st_mtime_ns == written  # what is complete is not trained again
    corrections.draw(corrections.means(rows), tmp_path / corrections.FIGURE)
    assert (tmp_path / corrections.FIGURE).read_bytes().startswith(b"\x89PNG")
    with pytest.raises(DataError, match="5 cases are there"):
        corrections.run(data, corrections.Plan(), tmp_path / "other", "cpu")
