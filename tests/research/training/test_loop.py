"""The training loop: resume, best weights, and stopping at a loss that is not finite."""

import math

import pytest
import torch

from acuity.research.training.loop import BEST, CHECKPOINT, NonFiniteLossError, cosine, run


def trainee(folder, iterations, seen, fail_at=None, **options):
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)

    def step(n):
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(n))
        loss = (network(x) - x.sum(dim=1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
        return {"loss": math.nan if n == fail_at else loss.item()}

    run(
        step,
        iterations=iterations,
        folder=folder,
        state={"network": network, "optimizer": optimizer},
        save_every=5,
        weights=network.state_dict,
        **options,
    )
    return network


def test_a_resumed_run_reaches_the_same_loss(tmp_path):
    whole: list[float] = []
    first: list[float] = []
    second: list[float] = []
    trainee(tmp_path / "whole", 20, whole)
    trainee(tmp_path / "cut", 10, first)
    trainee(tmp_path / "cut", 20, second)
    assert first + second == pytest.approx(whole, abs=1e-7)
    assert len(second) == 10


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path):
    with pytest.raises(NonFiniteLossError, match="iteration 12"):
        trainee(tmp_path, 20, [], fail_at=12)
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["iteration"] == 10


def test_the_best_weights_are_kept(tmp_path):
    scores = iter([0.5, 0.9, 0.7])
    network = trainee(tmp_path, 15, [], metric="score", validate_every=5, validate=lambda: {"score": next(scores)})
    best = torch.load(tmp_path / BEST, weights_only=True)
    assert list(scores) == []
    assert not torch.equal(best["weight"], network.weight)


def test_the_rate_warms_up_and_falls():
    rates = [cosine(n, 1000) for n in range(1000)]
    assert rates[0] < rates[49] == 1
    assert rates[-1] == pytest.approx(0.02, abs=0.001)
    assert rates[50:] == sorted(rates[50:], reverse=True)
