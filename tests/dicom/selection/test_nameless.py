"""Real brains as studies whose headers name no sequence: chosen right or refused, never wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from acuity.anatomy import Sequence
from acuity.research.datasets import brats
from acuity.research.datasets.layouts import named_cases
from acuity.research.synthetic.phantom import make_phantom
from acuity.volume import Volume
from benchmarks.selection import coarse, outcome


@pytest.mark.slow
def test_no_brats_case_is_chosen_wrong(shared_data: Path) -> None:
    folder = shared_data / "brats"
    counts: Counter[str] = Counter()
    for name in named_cases(folder):
        images = {s: coarse(v, 2.0) for s, v in brats.read_case(folder / name).items()}
        counts[outcome(images, seed=name)[0]] += 1
    assert counts["wrong"] == 0 and counts["refused"] <= 1, counts


@pytest.fixture(scope="module")
def phantom() -> dict[Sequence, Volume]:
    return make_phantom(seed=3, spacing_mm=3.0).volumes


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_a_nameless_phantom_is_chosen_right(phantom: dict[Sequence, Volume], seed: str) -> None:
    assert outcome(phantom, seed=seed) == ("right", "")


def test_without_an_agent_nothing_is_guessed(phantom: dict[Sequence, Volume]) -> None:
    result, text = outcome({**phantom, Sequence.T1C: phantom[Sequence.T1]}, seed="1")
    assert result == "refused" and text.startswith("ambiguous-sequence: 2 T1-weighted volumes")


def test_without_timing_and_names_nothing_is_guessed(phantom: dict[Sequence, Volume]) -> None:
    result, text = outcome(phantom, seed="1", timing=False)
    assert result == "refused" and text.startswith("missing-sequence")
