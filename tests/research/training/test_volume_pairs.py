"""Pairs of volumes: the network sees what interpolation makes of an acquisition, at the truth's place."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from acuity.cli import main
from acuity.models.super_resolution_volume import DISTANCE_UNIT, distances
from acuity.research.training.volume_pairs import MARGIN, AcquisitionPairs
from tests.bundles.conftest import write_case


@pytest.fixture(scope="module")
def volumes() -> list:
    noise = np.random.default_rng(0).random((2, 60, 56, 52))
    return [(gaussian_filter(n, 3) + 0.2).astype(np.float16) for n in noise]


def test_a_batch_depends_on_its_seed_alone_and_shows_the_truth_blurred(volumes: list) -> None:
    pairs = AcquisitionPairs(volumes, 24)
    one, same, other = (pairs.draw(3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    torch.testing.assert_close(one.image, same.image)
    assert not torch.equal(one.image, other.image)
    assert one.image.shape == (3, 4, 24, 24, 24)
    assert one.hr.shape == one.interpolated.shape == (3, 1, 24, 24, 24)
    assert float((one.interpolated - one.hr).abs().mean()) < 0.06
    assert one.cut(one.hr).shape[-3:] == (24 - 2 * MARGIN,) * 3


def test_validation_is_always_the_same_and_of_known_blurs(volumes: list) -> None:
    first, second = (AcquisitionPairs(volumes).fixed() for _ in range(2))
    assert list(first) == ["family", "x2_cubic", "x2_kspace", "x2_gaussian", "slices_5"]
    for kind, batches in first.items():
        for one, other in zip(batches, second[kind], strict=True):
            torch.testing.assert_close(one.image, other.image)


def test_distances_are_from_the_nearest_measured_sample() -> None:
    found = DISTANCE_UNIT * distances((10, 4, 6), (5.0, 1.0, 2.0))
    np.testing.assert_allclose(found[0, :, 0, 0], [-2, -1, 0, 1, 2] * 2, atol=1e-5)
    assert not found[1].any()
    np.testing.assert_allclose(found[2, 0, 0], [-0.5, 0.5] * 3, atol=1e-5)


def test_the_command_trains_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(3):
        write_case(tmp_path / "data" / f"Case_{n}", np.random.default_rng(n))
    words = ["train", "volume", "--data", str(tmp_path / "data"), "--output", str(tmp_path / "out"), "--patch", "16"]
    words += ["--batch", "1", "--device", "cpu", "--iterations"]
    assert main([*words, "1"]) == 0
    assert main([*words, "2"]) == 0
    path = Path(capsys.readouterr().out.split()[-1])
    assert path == tmp_path / "out" / "best.pt"
    assert "tail.weight" in torch.load(path, weights_only=True)
    assert torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["iteration"] == 2
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["patch"] == 16
