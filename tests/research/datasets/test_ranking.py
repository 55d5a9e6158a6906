"""The ranker's data: known networks in a known order."""

from __future__ import annotations

import logging
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from acuity.errors import DataError
from acuity.research.datasets.ranking import make_ranking_set, read_ranking_set
from acuity.research.datasets.slice_sets import ImageSlice


def degrade(hr):
    return F.avg_pool2d(hr, 4)


NETWORKS = {
    "smooth": lambda lr: F.interpolate(lr, scale_factor=4, mode="bilinear"),
    "blocky": lambda lr: F.interpolate(lr, scale_factor=4, mode="nearest"),
    "gray": lambda lr: torch.full((1, 1, 4 * lr.shape[-2], 4 * lr.shape[-1]), 0.5),
}


def flatness(image):
    """Higher is worse: a gray image scores 0, and the steps of a blocky one less than the slopes of a smooth one."""
    return -float((np.diff(image) != 0).mean())


@pytest.fixture
def slices():
    rng = np.random.default_rng(0)
    return [ImageSlice(rng.random((40, 32), dtype=np.float32), "a", "T1", n, (1.0, 1.0)) for n in range(2)]


@pytest.fixture
def made(slices, tmp_path):
    return make_ranking_set(NETWORKS, slices, flatness, tmp_path / "new" / "r.pt", degrade=degrade, count=5, size=16)


def test_the_order_is_the_scores(made):
    ranking = read_ranking_set(made)
    assert ranking.names == ["smooth", "blocky", "gray"]
    assert ranking.images.shape == (5, 3, 1, 16, 16) and ranking.scores.shape == (5, 3)
    assert (ranking.scores.diff(dim=1) > 0).all()  # smooth, then blocky, then gray
    assert len(ranking) == 5 * 3
    for first, second, worse in (ranking[n] for n in range(len(ranking))):
        assert first.shape == second.shape == (1, 16, 16) and first.dtype == torch.float32
        assert worse == (1 if flatness(first[0].numpy()) > flatness(second[0].numpy()) else -1)
        # The target of torch's loss: scores in the right order cost nothing, in the wrong one they do.
        scores = torch.tensor(flatness(first[0].numpy())), torch.tensor(flatness(second[0].numpy()))
        assert F.margin_ranking_loss(*scores, worse) == 0
        assert F.margin_ranking_loss(*scores[::-1], worse) > 0


def test_all_networks_see_the_same_patch_and_a_seed_repeats(made, slices, tmp_path):
    ranking = read_ranking_set(made)
    # Averaging over blocks undoes the blocky network: both come from one low-resolution patch.
    lr = degrade(ranking.images[:, 1].float())
    torch.testing.assert_close(NETWORKS["smooth"](lr), ranking.images[:, 0].float(), atol=2e-3, rtol=0)
    make = partial(make_ranking_set, NETWORKS, slices, flatness, degrade=degrade, count=5, size=16)
    again = read_ranking_set(make(tmp_path / "b.pt"))
    torch.testing.assert_close(again.images, ranking.images)
    other = read_ranking_set(make(tmp_path / "c.pt", seed=1))
    assert not torch.equal(other.images, ranking.images)


@pytest.mark.parametrize("refused", [np.nan, DataError("mostly background")])
def test_equal_scores_have_no_order_and_what_has_no_score_is_left_out(slices, tmp_path, caplog, refused):
    scores = iter([1.0, 1.0, 2.0, refused, 0.0, 1.0])

    def score(_):
        value = next(scores)
        if isinstance(value, DataError):
            raise value
        return value

    with caplog.at_level(logging.INFO):
        path = make_ranking_set(NETWORKS, slices, score, tmp_path / "r.pt", degrade=degrade, count=2, size=16)
    ranking = read_ranking_set(path)
    assert ranking.scores.tolist() == [[1.0, 1.0, 2.0]]
    assert ranking.pairs == [(0, 0, 2), (0, 1, 2)]
    assert "1 of 2 patches are ranked" in caplog.text


def test_what_cannot_be_ranked_is_refused(slices, tmp_path):
    make = partial(make_ranking_set, path=tmp_path / "r.pt", degrade=degrade, count=1, size=16)
    with pytest.raises(ValueError, match="a ranking needs two or more"):
        make({"one": NETWORKS["gray"]}, slices, flatness)
    with pytest.raises(ValueError, match=r"same gives \(1, 1, 4, 4\)"):
        make({**NETWORKS, "same": lambda lr: lr}, slices, flatness)
    with pytest.raises(DataError, match="None of 1 patches has finite scores"):
        make(NETWORKS, slices, lambda _: float("inf"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        {"names": ["a", "b"], "images": torch.zeros(3, 2, 1, 4, 4)},
        {"names": ["a"], "images": torch.zeros(3, 2, 1, 4, 4), "scores": torch.zeros(3, 2)},
        {"names": ["a", "b"], "images": torch.zeros(3, 2, 4, 4), "scores": torch.zeros(3, 2)},
        [1, 2],
        None,
    ],
)
def test_another_file_is_refused(tmp_path, content):
    if content is None:
        (tmp_path / "r.pt").write_bytes(b"no weights")
    else:
        torch.save(content, tmp_path / "r.pt")
    with pytest.raises(DataError, match=r"r\.pt is no ranking set \(\w+\)"):
        read_ranking_set(tmp_path / "r.pt")
