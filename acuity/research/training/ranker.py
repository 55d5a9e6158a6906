"""Training RankSRGAN's ranker, which predicts which of two images NIQE finds worse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from acuity.research.datasets.ranking import RankingSet
from acuity.research.losses.ranking import margin_ranking_loss
from acuity.research.training import loop, runtime


def train(
    ranker: nn.Module,
    pairs: RankingSet,
    validation_pairs: RankingSet,
    *,
    folder: str | Path,
    iterations: int,
    batch: int = 8,
    learning_rate: float = 1e-4,
    seed: int = 0,
    validate_every: int = 100,
    device: str | None = None,
) -> Path:
    """Train by margin ranking, resuming where it was cut; keep the weights that order most validation pairs right.

    Adam with weight decay 1e-4, the rate halved after a quarter and a half of the iterations (arXiv:1908.06382).

    Parameters
    ----------
    ranker : (N, 1, H, W) to scores (N, 1), higher is worse
    folder : checkpoints, TensorBoard log and best.pt (a state_dict of ``ranker``)
    """
    run = runtime.start(device)
    scorer = run.distribute(ranker)
    optimizer = torch.optim.Adam(ranker.parameters(), lr=learning_rate, weight_decay=1e-4)

    def step(n: int) -> dict[str, float]:
        rng = np.random.default_rng([seed, n, run.rank])
        loop.set_rate(optimizer, learning_rate * 0.5 ** sum(n >= share * iterations for share in (0.25, 0.5)))
        a, b, worse = _stacked(pairs, [int(i) for i in rng.integers(len(pairs), size=batch)], run.device)
        with run.autocast():
            scores = scorer(torch.cat([a, b])).float()
        first, second = scores.chunk(2)
        a_is_worse = worse[:, None] > 0
        loss = margin_ranking_loss(torch.where(a_is_worse, first, second), torch.where(a_is_worse, second, first))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return {"ranking": loss.item()}

    def validate() -> dict[str, float]:
        return {"accuracy": accuracy(ranker, validation_pairs, run.device)}

    path = loop.run(
        step,
        iterations=iterations,
        folder=Path(folder),
        validate=validate,
        validate_every=validate_every,
        weights=lambda: dict(ranker.state_dict()),
        metric="accuracy",
        rank=run.rank,
        state={"ranker": ranker, "optimizer": optimizer},
    )
    run.wait()
    return path


@torch.no_grad()
def accuracy(ranker: nn.Module, pairs: RankingSet, device: torch.device, batch: int = 16) -> float:
    """Share of the pairs, 0 to 1, whose worse image gets the higher score."""
    ranker.eval()
    right = 0
    for start in range(0, len(pairs), batch):
        a, b, worse = _stacked(pairs, range(start, min(start + batch, len(pairs))), device)
        right += int(((ranker(a) - ranker(b)).sign()[:, 0] == worse).sum())
    ranker.train()
    return right / len(pairs)


def _stacked(pairs: RankingSet, indices: range | list[int], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    a, b, worse = (torch.stack(part).to(device) for part in zip(*[pairs[i] for i in indices], strict=True))
    return a, b, worse
