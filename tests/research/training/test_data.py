"""What a training sees: brains made from the cases, the share of each, and half the resolution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from acuity.research.sampling.patches import PreparedCase, Source
from acuity.research.training import data
from acuity.research.training.data import TrainingData, pooled, read_training_data, training_data
from tests.bundles.conftest import write_case


def case(name: str, size: int = 24) -> PreparedCase:
    """A tumor from voxel 5 to 18 along each axis."""
    regions = torch.zeros((3, size, size, size), dtype=torch.uint8)
    regions[:, 5:19, 5:19, 5:19] = 1
    image = torch.randn((4, size, size, size), generator=torch.Generator().manual_seed(0)).half()
    return PreparedCase(name, image, regions)


@pytest.fixture(autouse=True)
def free_brains(monkeypatch: pytest.MonkeyPatch) -> None:
    """One brain without a tumor for each case."""

    def brains(cases: list[PreparedCase], phantoms: int) -> list[PreparedCase]:
        return [PreparedCase(f"{one.name}, free", one.image, torch.zeros_like(one.regions)) for one in cases]

    monkeypatch.setattr(data, "tumor_free_brains", brains)


def test_the_cases_get_the_patches_that_the_other_sources_leave() -> None:
    others = [Source([case("cube")], 0.3), Source([case("another")], 0.2)]
    sources = TrainingData([case("a")], [], others).sources
    assert [source.share for source in sources] == pytest.approx([0.3, 0.2, 0.5])
    assert [source.all_names for source in sources] == [["cube"], ["another"], ["a"]]


@pytest.mark.parametrize(("halved", "size", "spacing"), [(False, 24, 1.0), (True, 12, 2.0)])
def test_other_brains_are_as_large_as_the_cases(halved: bool, size: int, spacing: float) -> None:
    held_out = case("b")
    made = training_data([case("a")], [held_out], halved=halved, other_share=0.4)
    other, cases = made.sources
    assert (made.spacing, other.share, other.all_names) == (spacing, 0.4, ["a, free"])
    drawn = [other.draw(np.random.default_rng(n)) for n in range(20)]
    assert {one.image.shape for one in (*drawn, cases.draw(np.random.default_rng(0)))} == {(4, size, size, size)}
    assert {bool(one.regions.any()) for one in drawn} == {False, True}
    assert made.held_out == [held_out]


def test_without_a_share_no_other_brains_are_made() -> None:
    assert training_data([case("a")], []).others == []


def test_a_share_of_the_cases_is_of_low_grade() -> None:
    names = ["high 1", "high 2", "high 3", "low"]
    made = training_data([case(name) for name in names], [], low_grade=["low", "of a test"], low_grade_share=0.4)
    assert made.weights == pytest.approx([0.2, 0.2, 0.2, 0.4])


@pytest.mark.parametrize("fold", [None, 1])
def test_the_parts_of_a_split_are_read(tmp_path: Path, fold: int | None) -> None:
    split = {"train": list("abc"), "validation": ["d"], "test": ["e"], "coarse": [], "low_grade": ["c", "d"]}
    for name in "abcd":
        write_case(tmp_path / name, np.random.default_rng(0))
    found = read_training_data(tmp_path, split, fold=fold)
    held_out = ["d"] if fold is None else ["b"]
    assert [one.name for one in found.held_out] == held_out
    assert [one.name for one in found.cases] == [name for name in "abcd" if name not in held_out]
    assert found.weights is not None and found.weights[2] == pytest.approx(0.2 if fold is None else 0.1)


def test_pooling_halves_and_keeps_the_majority() -> None:
    whole = case("a")
    half = pooled(whole)
    assert half.image.shape == (4, 12, 12, 12)
    torch.testing.assert_close(half.image.float().mean(), whole.image.float().mean(), atol=1e-3, rtol=0)
    # Voxels 5 to 18: six whole pairs along each axis, and half of one at both ends. Half a cell counts, at the faces;
    # a quarter or an eighth does not, at edges and corners.
    assert half.regions[2].sum() == 6**3 + 6 * 6**2
