"""Loading a released model: a MONAI bundle's network, weights and postprocessing."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from monai.bundle import ConfigParser
from torch import nn

from acuity._allocator import keep_freed_memory
from acuity.errors import BundleError, BundleNotFoundError
from acuity.imaging.regions import DEFAULT, Postprocessing
from acuity.resources import changeable_by_others, file_sha256

CHOICES = "choices"  # the section of configs/inference.json that holds a Postprocessing


@dataclass(frozen=True)
class Bundle:
    """A released model, ready to run.

    Parameters
    ----------
    name, version : as the metadata gives them
    network : in eval mode, on the GPU if there is one
    weights_sha256 : hash of the file of weights
    metadata : configs/metadata.json
    postprocessing : of a network that segments, from the section CHOICES of configs/inference.json
    config_sha256 : hash of configs/inference.json
    warnings : where others can change the bundle: its configuration is code
    """

    name: str
    version: str
    network: nn.Module = field(repr=False)
    weights_sha256: str
    metadata: dict = field(repr=False)
    postprocessing: Postprocessing = DEFAULT
    config_sha256: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return next(self.network.parameters()).device


def load_bundle(models: Path, name: str, *, weights: Path | None = None) -> Bundle:
    """Load ``models``/``name``: its network as configs/inference.json defines it, weights from models/model.pt.

    Weights are read with ``weights_only=True``, so that they cannot run code. The configuration can: MONAI evaluates
    its ``$`` expressions and calls what it names. Those stored in half precision run in
    single precision.

    Parameters
    ----------
    weights : a file of weights that replaces the bundle's own

    Raises
    ------
    BundleNotFoundError : the folder, its configuration or its weights are absent
    BundleError : the configuration is not valid, or the weights do not fit the network
    """
    keep_freed_memory()
    folder = models / name
    weights = weights or folder / "models" / "model.pt"
    for path in (folder / "configs" / "metadata.json", folder / "configs" / "inference.json", weights):
        if not path.is_file():
            shown = path.relative_to(models) if path.is_relative_to(models) else path
            raise BundleNotFoundError(
                f"{shown} was not found in the models folder.",
                rule=f"The models folder must hold the bundle {name} with configs/ and models/model.pt.",
                remedy="Give the folder of the released bundles with -m (or HOLOSCAN_MODEL_PATH).",
            )
    config = folder / "configs" / "inference.json"
    try:
        metadata = json.loads((folder / "configs" / "metadata.json").read_text())
        parser = ConfigParser()
        parser.read_config(config)
        network = parser.get_parsed_content("network_def")
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        postprocessing = parser.get_parsed_content(CHOICES) if CHOICES in parser else DEFAULT
        if not isinstance(postprocessing, Postprocessing):
            raise ValueError(f"{CHOICES} of configs/inference.json is no {Postprocessing.__name__}")
    except (ValueError, KeyError, RuntimeError, ImportError, pickle.UnpicklingError) as error:
        raise BundleError(
            f"The bundle {name} cannot be used: {error.__cause__ or error}",  # MONAI hides the reason in the cause
            rule="Its weights must be a state_dict that fits the network of configs/inference.json, its choices valid.",
            remedy="Take the released bundle, whole.",
        ) from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Bundle(
        name=name,
        version=str(metadata["version"]),
        network=network.eval().requires_grad_(False).to(device),
        weights_sha256=file_sha256(weights),
        metadata=metadata,
        postprocessing=postprocessing,
        config_sha256=file_sha256(config),
        warnings=tuple(_warnings(name, config)),
    )


def _warnings(name: str, config: Path) -> Iterator[str]:
    place = changeable_by_others(config)
    if place is not None:
        kind = "folder" if place.is_dir() else "file"
        yield (
            f"The bundle {name} can be changed by other accounts of this computer ({kind} {place.name or 'root'}). "
            "Its configuration is code: keep models where no one else can write."
        )
