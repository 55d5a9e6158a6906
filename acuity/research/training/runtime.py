"""The process that trains: one on a CPU or GPU, or one of several under torchrun."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Runtime:
    """A process's device and its place among the others.

    Parameters
    ----------
    device : of this process
    rank, processes : 0 and 1 without torchrun; only rank 0 validates, logs and saves
    """

    device: torch.device
    rank: int = 0
    processes: int = 1

    @property
    def settings(self) -> dict[str, object]:
        """For the record of a training."""
        return {"processes": self.processes, "torch": torch.__version__}

    def distribute(self, network: nn.Module) -> nn.Module:
        """The network on the device; its gradients are averaged over the processes if there are several."""
        network.to(self.device)
        if self.processes == 1:
            return network
        # A discriminator runs twice before its gradients are taken: buffers may not be overwritten in between. Not
        # every parameter of every generator is used (SRResCycGAN's alpha without its projection).
        return DistributedDataParallel(network, broadcast_buffers=False, find_unused_parameters=True)

    def wait(self) -> None:
        """Wait until every process is here, so that all can read what one has written."""
        if self.processes > 1:
            distributed.barrier()

    def autocast(self) -> AbstractContextManager:
        """bfloat16 on a GPU, and on a CPU with matrix units for it (AMX); on other CPUs it can be far slower."""
        fast = self.device.type == "cuda" or torch.cpu._is_amx_tile_supported()  # torch has no public function for it
        return torch.autocast(self.device.type, torch.bfloat16) if fast else nullcontext()


def start(device: str | None = None) -> Runtime:
    """Join torchrun's processes if its variables are set; on a GPU if there is one.

    Parameters
    ----------
    device : "cpu" or "cuda", instead of the device that is found
    """
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes == 1:
        return Runtime(torch.device(kind))
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if kind.startswith("cuda") else "gloo")
    local = f"cuda:{os.environ['LOCAL_RANK']}" if kind.startswith("cuda") else kind
    return Runtime(torch.device(local), distributed.get_rank(), processes)
