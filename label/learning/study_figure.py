"""The picture of the study: mean Dice on the test cases, by what was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def draw(means: Mapping[tuple[str, str, str], float], arms: Seq[str], path: Path) -> None:
    """Write a PNG: a line for each seed, which is one first model, and the mean of all.

    Parameters
    ----------
    means : Dice by seed, arm and case
    arms : from left to right
    """
    seeds = sorted({seed for seed, _, _ in means})
    cases = sorted({case for _, _, case in means})
    values = np.array([[np.mean([means[seed, arm, case] for case in cases]) for arm in arms] for seed in seeds])
    figure = Figure(figsize=(6.0, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for seed, row in zip(seeds, values, strict=True):
        axes.plot(arms, row, marker="o", color="0.7", linewidth=1, label="a seed" if seed == seeds[0] else None)
    axes.plot(arms, values.mean(axis=0), marker="o", color="C0", linewidth=2, label="mean")
    axes.set_ylabel(f"mean Dice, {len(cases)} test cases")
    axes.grid(axis="y", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)
