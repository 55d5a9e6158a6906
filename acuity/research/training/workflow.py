"""Acuity's trainings as MONAI's workflows see them: the ``train`` section of a bundle's train.json."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from ignite.engine import Events
from monai.engines import Trainer
from torch import nn

T = TypeVar("T")


class StagedTrainer(Trainer):
    """MONAI's trainer of a network that is trained in stages, each by Acuity's own loop.

    An epoch is ``epoch_length`` iterations of every stage. The config gives each stage its number of iterations, and
    takes ``max_epochs`` of this trainer as their bound, so that whoever sets it shortens all stages. Ignite's events
    STARTED and COMPLETED are fired; stages log, validate, save and resume by themselves.

    Parameters
    ----------
    stages : are called in turn; each gives the file of the weights that it kept, or None
    network : holds the weights of the last such file at the end
    max_epochs, epoch_length : see above
    device : of the training
    """

    def __init__(
        self,
        stages: Seq[Callable[[], object]],
        network: nn.Module,
        max_epochs: int,
        epoch_length: int,
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__(torch.device(device), max_epochs, data_loader=stages, epoch_length=epoch_length)
        self.stages = stages
        self.network = network

    def run(self) -> None:
        """Train all stages, resuming where they were cut."""
        self.fire_event(Events.STARTED)
        results = [stage() for stage in self.stages]
        kept = [result for result in results if isinstance(result, Path)]
        if kept:
            self.network.load_state_dict(torch.load(kept[-1], map_location="cpu", weights_only=True))
        self.state.epoch = self.state.max_epochs
        self.state.iteration = self.state.max_epochs * self.state.epoch_length
        self.fire_event(Events.COMPLETED)


class ReadWhenUsed(Seq[T]):
    """A sequence that is read at its first use, so that a config can be looked into without its data.

    Parameters
    ----------
    read : gives the items
    """

    def __init__(self, read: Callable[[], Seq[T]]) -> None:
        self._read = read

    @cached_property
    def _items(self) -> Seq[T]:
        return self._read()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Seq[T]: ...
    def __getitem__(self, index: Any) -> Any:
        """The item, or items, of the sequence that is read."""
        return self._items[index]
