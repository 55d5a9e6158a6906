"""The fine networks' training from cubes and whole brains, on tiny ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from acuity.errors import DataError
from acuity.networks.slicewise import Slices
from acuity.networks.unet2d import UNet2d
from acuity.research.datasets import brats
from acuity.research.sampling.cubes import Cube, read_cubes
from acuity.research.sampling.patches import PreparedCase
from acuity.research.training import members
from acuity.research.training.members import CubeBrains, Folds, cube_patches, read_folds, train_member
from acuity.research.training.segmentation_recipe import Recipe
from tests.bundles.conftest import write_case

SPACING = (1.875, 1.875, 1.25)


@pytest.fixture
def cubes(tmp_path: Path) -> Path:
    """Four cubes of three patients, one of low grade, with a tumor of 4x4x4 voxels; that of the last is cut."""
    rng = np.random.default_rng(0)
    x = rng.integers(1, 255, (4, 4, 16, 16, 16), dtype=np.uint8)
    x[:, :, :2] = 0
    y = np.zeros((4, 16, 16, 16), np.uint8)
    y[:, 6:10, 6:10, 6:10] = 2
    y[:, 7:9, 7:9, 7:9] = 4
    y[3, 6:16] = 2
    path = tmp_path / "cubes.npz"
    np.savez(
        path,
        x=x,
        y=y,
        scale=np.array([0.1, -4.0]),
        spacing_mm=np.array(SPACING),
        patient=np.array(["a", "b", "b", "c"]),
        also=np.array(["", "case", "case", ""]),
        low_grade=np.array([True, False, False, False]),
    )
    return path


def test_cubes_lie_at_1_mm_with_their_tumor(cubes: Path) -> None:
    first, *_, last = read_cubes(cubes)
    assert first.case.image.shape[1:] == (30, 30, 20)
    voxel = SPACING[0] * SPACING[1] * SPACING[2]
    assert float(first.case.regions[2].sum()) == pytest.approx(64 * voxel, rel=0.25)
    assert (first.case.image[:, :3] == 0).all() and (first.case.image[:, 5:] != 0).any()
    assert first.low_grade and not last.low_grade
    assert first.cut_share == 0 < last.cut_share


@pytest.mark.parametrize("name", ["b", "case"])
def test_a_patient_is_left_out_by_either_name(cubes: Path, name: str) -> None:
    assert [cube.case.name for cube in read_cubes(cubes, {name})] == ["a", "c"]


def test_another_file_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="cannot be read as cubes"):
        read_cubes(tmp_path / "other.npz")


def test_half_of_the_cubes_that_are_drawn_are_of_low_grade(cubes: Path) -> None:
    source = cube_patches(read_cubes(cubes)).sources[0]
    rng = np.random.default_rng(0)
    low = np.mean([source.draw(rng).name == "a" for _ in range(400)])
    assert low == pytest.approx(0.5, abs=0.1)


def test_a_cube_s_tumor_is_set_into_a_brain(cubes: Path) -> None:
    image = torch.zeros(4, 60, 60, 60)
    image[:, 5:55, 5:55, 5:55] = torch.randn(4, 50, 50, 50, generator=torch.Generator().manual_seed(0))
    brain = PreparedCase("free", image.half(), torch.zeros(3, 60, 60, 60, dtype=torch.uint8))
    source = CubeBrains([brain], read_cubes(cubes))
    drawn = [source.draw(np.random.default_rng(seed)) for seed in range(8)]
    tumors = [torch.nonzero(one.regions[2]).float().mean(dim=0) for one in drawn if one.regions.any()]
    assert len(tumors) >= 4 and torch.stack(tumors).std(dim=0).min() > 2  # at places of their own
    for one in drawn:
        assert not (one.regions[2].bool() & (one.image == 0).all(dim=0)).any()


def test_the_folds_hold_each_case_once_and_no_test_case() -> None:
    folds = read_folds()
    names = [name for fold in folds.folds for name in fold]
    assert len(names) == len(set(names))
    assert not set(names) & set(brats.read_split()["test"])
    low = [sum(name in folds.low_grade for name in fold) for fold in folds.folds]
    assert max(low) - min(low) <= 1


def test_a_member_trains_through_both_stages(cubes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["one", "two", "ms"]
    for seed, name in enumerate(names):
        write_case(tmp_path / "data" / name, np.random.default_rng(seed), (40, 40, 36))
    monkeypatch.setattr(members, "read_folds", lambda: Folds([["one"], ["two"]], ["two"], {"ms": 1}))
    monkeypatch.setattr(members, "CUBES", ((16, 16, 3), 2))
    monkeypatch.setattr(members, "whole_brain_data", lambda *a: _whole_brain_data(*a, phantoms=0))
    torch.manual_seed(0)
    network = Slices(UNet2d(12, 3, width=4), ["axial", "coronal", "sagittal"], 1)
    recipe = Recipe(network, patch=(32, 32, 3), batch=2)
    path = train_member(
        0, recipe=recipe, data=tmp_path / "data", cubes=cubes, output=tmp_path / "out", iterations=(2, 3), device="cpu"
    )
    assert path == tmp_path / "out" / "whole0" / "best.pt"
    first, last = (torch.load(tmp_path / "out" / n / "best.pt", weights_only=True) for n in ("cubes0", "whole0"))
    assert first.keys() == last.keys()
    assert any(not torch.equal(first[key], last[key]) for key in first)


_whole_brain_data = members.whole_brain_data


def test_cubes_that_are_all_cut_are_not_set_in(cubes: Path) -> None:
    cut = [replace(cube, cut_share=1.0) for cube in read_cubes(cubes)]
    brain = PreparedCase("free", torch.ones(4, 8, 8, 8).half(), torch.zeros(3, 8, 8, 8, dtype=torch.uint8))
    assert isinstance(cut[0], Cube)
    with pytest.raises(ValueError, match="no cube"):
        CubeBrains([brain], cut)
