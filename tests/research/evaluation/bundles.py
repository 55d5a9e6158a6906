"""Bundles of tiny networks."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from acuity.networks.initialization import start_as_interpolation
from acuity.networks.srresnet import SRResNet


def add_network(folder: Path, definition: dict[str, object], network: torch.nn.Module) -> None:
    """Write a bundle of a network that ``definition`` makes."""
    for part in ("configs", "models"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "configs" / "metadata.json").write_text(json.dumps({"version": "0.0.1"}))
    (folder / "configs" / "inference.json").write_text(json.dumps({"network_def": definition}))
    torch.save(network.state_dict(), folder / "models" / "model.pt")


def add_bundle(models: Path, name: str, *, scale: int = 2, spoiled: bool = False) -> SRResNet:
    """A network that interpolates exactly, bilinearly; spoiled, it gives something else."""
    torch.manual_seed(0)
    definition = {"features": 4, "blocks": 1, "scale": scale}
    network = SRResNet(**definition)
    start_as_interpolation(network)
    if spoiled:
        with torch.no_grad():
            network.conv_last.weight.mul_(0.8)
    add_network(models / name, {"_target_": "acuity.networks.srresnet.SRResNet", **definition}, network)
    return network


def add_convolution(models: Path, name: str) -> None:
    """A network that neither super-resolves nor segments."""
    definition = {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": 3}
    add_network(models / name, definition, torch.nn.Conv2d(1, 1, 3))
