"""The one training loop: steps, checkpoints, resume, logs, and a stop when a loss is not finite."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Protocol

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from acuity._allocator import keep_freed_memory

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
SETTINGS = "settings.json"


class Stateful(Protocol):
    """What a checkpoint can keep: networks, optimizers, averaged weights."""

    def state_dict(self) -> dict:
        """Give the state, in tensors and plain types only."""

    def load_state_dict(self, state: dict) -> object:
        """Take the state back."""


class NonFiniteLossError(RuntimeError):
    """A loss became NaN or infinite; the last checkpoint before it is kept."""


def half_cosine(progress: float) -> float:
    """From 1 at the start (0) to 0 at the end (1) along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def cosine(iteration: int, iterations: int, warmup: int = 50) -> float:
    """Factor of the learning rate: linear warm-up, then half a cosine from 1 to 0.02."""
    if iteration < warmup:
        return (iteration + 1) / warmup
    return 0.02 + 0.98 * half_cosine(min(1.0, (iteration - warmup) / max(1, iterations - warmup)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give all parameters this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """A copy of ``network`` whose weights follow it by exponential moving average."""
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))


def save_atomically(state: object, path: Path) -> None:
    """``torch.save`` that never leaves a half-written file."""
    partial = path.with_suffix(".part")
    torch.save(state, partial)
    os.replace(partial, path)


def write_settings(folder: Path, settings: Mapping[str, object]) -> None:
    """Record in settings.json what a training is."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n")


def run(
    step: Callable[[int], Mapping[str, float]],
    *,
    iterations: int,
    folder: Path,
    state: Mapping[str, Stateful],
    save_every: int = 100,
    validate: Callable[[], Mapping[str, float]] | None = None,
    validate_every: int = 500,
    weights: Callable[[], dict] | None = None,
    metric: str | None = None,
    images: Callable[[SummaryWriter, int], None] | None = None,
    rank: int = 0,
) -> Path:
    """Train until ``iterations``, resuming from the folder's checkpoint if there is one.

    Parameters
    ----------
    step : does iteration n and returns its losses by name. It draws its batch from n alone, so that a resumed run
        sees the same batches
    state : what a checkpoint keeps, by name
    validate : returns metrics by name
    weights : gives the state_dict that a release would hold; it is kept as best.pt
    metric : name of a metric; the weights of its highest value are kept. None keeps the last weights
    images : logs sample images to TensorBoard after each validation
    rank : of the process under torchrun; only rank 0 validates, logs and saves

    Returns
    -------
    The path of best.pt

    Raises
    ------
    NonFiniteLossError : at the first loss that is not finite; the last checkpoint is from before it
    """
    keep_freed_memory()
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / CHECKPOINT
    start, best = 0, -math.inf
    if checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        for name, item in state.items():
            item.load_state_dict(saved["state"][name])
        start, best = saved["iteration"], saved["best"]
        logger.info("resumed at iteration %d", start)

    def save(iteration: int) -> None:
        kept = {name: item.state_dict() for name, item in state.items()}
        save_atomically({"iteration": iteration, "best": best, "state": kept}, checkpoint)

    with SummaryWriter(folder / "log", purge_step=start) if rank == 0 else nullcontext() as log:
        progress = tqdm(
            range(start, iterations),
            initial=start,
            total=iterations,
            desc=folder.name,
            mininterval=10,
            disable=rank != 0,
        )
        for n in progress:
            losses = step(n)
            if not all(math.isfinite(value) for value in losses.values()):
                raise NonFiniteLossError(f"iteration {n}: {dict(losses)}; {checkpoint} is from before it")
            if log is None:
                continue
            for name, value in losses.items():
                log.add_scalar(f"loss/{name}", value, n)
            progress.set_postfix({name: f"{value:.4f}" for name, value in losses.items()}, refresh=False)
            done = n + 1
            if validate is not None and (done % validate_every == 0 or done == iterations):
                metrics = validate()
                for name, value in metrics.items():
                    log.add_scalar(f"validation/{name}", value, done)
                logger.info("iteration %d: %s", done, {k: round(v, 4) for k, v in metrics.items()})
                if images is not None:
                    images(log, done)
                if weights is not None and metric is not None and metrics[metric] > best:
                    best = metrics[metric]
                    save_atomically(weights(), folder / BEST)
            if done % save_every == 0 or done == iterations:
                if weights is not None and metric is None:
                    save_atomically(weights(), folder / BEST)
                save(done)
    return folder / BEST
