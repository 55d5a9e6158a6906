"""Weights of super-resolution networks, as their authors released them or as Acuity saves them, for one channel.

The names of every format are first mapped to Acuity's; the network's sizes are then read from the shapes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from acuity.errors import DataError, any_as_data_error
from acuity.networks.rrdbnet import RRDBNet
from acuity.networks.srgan import SRGANGenerator
from acuity.networks.srrescycgan import SRResCycGAN
from acuity.networks.srresnet import SRResNet
from acuity.research.weights import ncnn
from acuity.resources import file_sha256

State = dict[str, Tensor]
Generator = RRDBNet | SRResNet | SRGANGenerator | SRResCycGAN
Renaming = tuple[str, str | Callable[[re.Match[str]], str]]  # a pattern and its replacement, as re.sub takes them

_RRDBNET = "trunk.0.0.convs.0.weight"  # in Acuity's names, only an RRDBNet has this key
_SRGAN = "trunk.0.norm1.weight"
_SRRESCYCGAN = "conv1.parametrizations.weight.original1"
_REMEDY = "Name a generator's weights as its authors released them or Acuity saved them, not a whole training state."
_NOT_PARAMETERS = ("running_mean", "running_var", "num_batches_tracked")

# A key that only this format has, and the format's name.
_FORMATS = {
    "RRDB_trunk.0.RDB1.conv1.weight": "ESRGAN, BSRGAN or Beby-GAN",
    "body.0.rdb1.conv1.weight": "Real-ESRGAN",
    "recon_trunk.0.conv1.weight": "RankSRGAN",
    "model.conv1.weight_v": "SRResCGAN or SRResCycGAN",
    "block1.0.weight": "SRGAN with tanh",
    _RRDBNET: "Acuity",
    "trunk.0.conv1.weight": "Acuity",
    _SRRESCYCGAN: "Acuity",
}


def _from_zero(template: str) -> Callable[[re.Match[str]], str]:
    """A replacement with the matched numbers, which the published names count from 1."""
    return lambda match: template.format(*(int(number) - 1 for number in match.groups()))


# From the published names to Acuity's. Acuity's own match none of the patterns.
_RENAMINGS: list[Renaming] = [
    (r"^(?:RRDB_trunk|body|recon_trunk)\.", "trunk."),
    (r"\.(?:RDB|rdb)(\d)\.conv(\d)\.", _from_zero(".{}.convs.{}.")),
    (r"^(?:trunk_conv|conv_body|LRconv)\.", "conv_trunk."),
    (r"^(?:upconv|conv_up)(\d)\.", _from_zero("conv_up.{}.")),
    (r"^HRconv\.", "conv_hr."),
    (r"^model\.", ""),
    (r"\.weight_g$", ".parametrizations.weight.original0"),
    (r"\.weight_v$", ".parametrizations.weight.original1"),
]


def _srgan_renamings(state: State) -> list[Renaming]:
    """``block1`` is the head, the last but one the trunk's end, the last upsampling and tail, the rest the trunk."""
    last = _count(state, r"block(\d+)\.")
    tail = _count(state, rf"block{last}\.(\d+)\.") - 1
    return [
        (r"^block1\.0\.", "conv_first."),
        (r"^block1\.1\.", "prelu_first."),
        (rf"^block{last - 1}\.0\.", "conv_trunk."),
        (rf"^block{last - 1}\.1\.", "trunk_end."),
        (rf"^block{last}\.{tail}\.", "conv_last."),
        (rf"^block{last}\.(\d+)\.", r"upsampling.\1."),
        (r"^block(\d+)\.", lambda match: f"trunk.{int(match[1]) - 2}."),
        (r"\.bn(\d)\.", r".norm\1."),
    ]


@dataclass(frozen=True)
class WeightsDescription:
    """What a file of weights holds.

    Parameters
    ----------
    architecture : the network's class
    format : whose names the file has
    features, blocks, growth : the network's sizes; only RRDBNet has a ``growth``
    scale : of the output; None for a network that takes the interpolated image
    channels : 3 for natural images
    file_parameters, parameters : in the file, and of the network folded to one channel
    sha256 : of the file (of an ncnn pair's .bin)
    """

    architecture: str
    format: str
    features: int
    blocks: int
    growth: int | None
    scale: int | None
    channels: int
    file_parameters: int
    parameters: int
    sha256: str


def load_published(path: Path) -> tuple[Generator, WeightsDescription]:
    """The network of a file of weights, with one channel, in evaluation mode, and what the file holds.

    Known are ESRGAN, BSRGAN and Beby-GAN; Real-ESRGAN (its averaged weights where it has both); RankSRGAN;
    SRResCGAN and SRResCycGAN; an SRGAN that bounds its output by tanh; RRDBNets for ncnn, named by their .param; and
    Acuity's own.

    Raises
    ------
    DataError
        When the file cannot be read, its format is unknown, or its weights make none of the networks.
    """
    if path.suffix == ".param":
        file = path.with_suffix(".bin")
        format_name, state = "ncnn", ncnn.read_rrdbnet(path, file)
    else:
        file = path
        format_name, state = to_our_names(_read_tensors(path))
    network = network_of(fold_to_one_channel(state)).eval()
    description = WeightsDescription(
        architecture=type(network).__name__,
        format=format_name,
        features=_conv_first(state).shape[0],
        blocks=_blocks(state),
        growth=state[_RRDBNET].shape[0] if _RRDBNET in state else None,
        scale=None if isinstance(network, SRResCycGAN) else network.scale,
        channels=_channels(state),
        file_parameters=sum(v.numel() for k, v in state.items() if not k.endswith(_NOT_PARAMETERS)),
        parameters=sum(p.numel() for p in network.parameters()),
        sha256=file_sha256(file),
    )
    return network, description


def to_our_names(state: Mapping[str, Tensor]) -> tuple[str, State]:
    """The format of a flat state_dict, and the same weights in Acuity's names.

    Raises
    ------
    DataError
        When the format is unknown.
    """
    state = {key.removeprefix("module."): value for key, value in state.items()}
    marker = next((marker for marker in _FORMATS if marker in state), None)
    if marker is None:
        raise DataError(
            f"The weights are in an unknown format; the first of their {len(state)} keys are {_listed(state)}.",
            rule=f"Known are {', '.join(sorted(set(_FORMATS.values())))}.",
            remedy=_REMEDY,
        )
    renamings = _srgan_renamings(state) if marker == "block1.0.weight" else _RENAMINGS
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in renamings:
            key = re.sub(pattern, replacement, key)
        renamed[key] = value
    return _FORMATS[marker], renamed


def network_of(state: State) -> Generator:
    """The network whose state_dict this is, in Acuity's names: its class and its sizes are read from the shapes.

    Raises
    ------
    DataError
        When keys are absent or superfluous, or shapes do not fit together.
    """
    network = _network(state)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        problems = " ".join(str(error).partition(":")[2].split())
        raise _misfit(f"Weights like {type(network).__name__}'s do not fit it: {problems[:300]}") from error
    return network


def fold_to_one_channel(state: State) -> State:
    """A state_dict in Acuity's names for one channel; one of one channel as it is.

    The first convolution is summed over its inputs and the last averaged over its outputs, which equals replicating
    the image, running and averaging. After unshuffling, each sub-pixel's three inputs are summed. It is not exact for
    a network that ends in tanh or clamps: there the average is taken before it.

    Raises
    ------
    DataError
        When the first or last convolution is absent, or the channels do not fit together.
    """
    channels, first = _channels(state), _conv_first(state)
    if channels == 1:
        return state
    if first.shape[1] % channels:
        raise _misfit(f"Weights have {first.shape[1]} channels at their input and {channels} at their output.")
    folded = dict(state)
    if _SRRESCYCGAN in state:
        for conv, fold in (("conv1", torch.sum), ("conv_out", torch.mean)):  # axis 1 is the transposed one's outputs
            # A folded weight is not normalized by its own norm, so gain (0) and direction (1) are computed anew.
            gain, direction = (f"{conv}.parametrizations.weight.original{n}" for n in (0, 1))
            weight = fold(state[direction] * state[gain] / _norm(state[direction]), dim=1, keepdim=True)
            folded[gain], folded[direction] = _norm(weight), weight
        folded["conv_out.bias"] = state["conv_out.bias"].mean(dim=0, keepdim=True)
        return folded
    # Sub-pixels lie within each channel, as torch's pixel_unshuffle orders them.
    folded["conv_first.weight"] = first.unflatten(1, (channels, -1)).sum(dim=1)
    for name in ("conv_last.weight", "conv_last.bias"):
        folded[name] = _tensor(state, name).mean(dim=0, keepdim=True)
    return folded


def _norm(weight: Tensor) -> Tensor:
    """The norm (F, 1, 1, 1) of each slice along the first axis, as weight norm has it."""
    return weight.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)


def _network(state: State) -> Generator:
    """The network, not yet with the weights."""
    channels, first, blocks = _channels(state), _conv_first(state), _blocks(state)
    features = first.shape[0]
    if _SRRESCYCGAN in state:
        return SRResCycGAN(channels, features, blocks)
    unshuffle = _RRDBNET in state and first.shape[1] == 4 * channels
    doublings = _count(state, r"(?:conv_up|upsampling)\.(\d+)\.") - int(unshuffle)
    if doublings not in (1, 2):
        raise _misfit(f"Weights whose upsampling doubles the size {doublings} times.")
    if _RRDBNET in state:
        growth = state[_RRDBNET].shape[0]
        return RRDBNet(channels, channels, features, blocks, growth, 2**doublings, unshuffle)
    if _SRGAN in state:
        bounded = "trunk_end.running_mean" not in state
        return SRGANGenerator(channels, channels, features, blocks, 2**doublings, bounded)
    return SRResNet(channels, channels, features, blocks, 2**doublings)


def _conv_first(state: State) -> Tensor:
    first = _tensor(state, _SRRESCYCGAN if _SRRESCYCGAN in state else "conv_first.weight")
    if first.ndim != 4:
        raise _misfit(f"Weights of a first convolution of shape {tuple(first.shape)}, which has not four axes.")
    return first


def _channels(state: State) -> int:
    """Channels of the output."""
    return _tensor(state, "conv_out.bias" if "conv_out.bias" in state else "conv_last.bias").shape[0]


def _blocks(state: State) -> int:
    return _count(state, r"(?:trunk|layer1)\.(\d+)\.")


def _tensor(state: State, name: str) -> Tensor:
    if name not in state:
        raise _misfit(f"Weights lack {name}; their first keys are {_listed(state)}.")
    return state[name]


def _count(state: State, pattern: str) -> int:
    """How many different numbers the keys have where ``pattern`` captures one."""
    return len({match[1] for key in state if (match := re.match(pattern, key))})


def _misfit(found: str) -> DataError:
    return DataError(
        found,
        rule="Weights must make one of RRDBNet, SRResNet, SRGANGenerator and SRResCycGAN completely, at x2 or x4.",
        remedy=_REMEDY,
    )


def _listed(keys: Iterable[object]) -> str:
    names = [str(key) for key in keys]
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def _read_tensors(path: Path) -> State:
    """The flat state_dict of a .pth file; of Real-ESRGAN's two the averaged one."""
    with any_as_data_error(
        f"{path.name} cannot be read as weights",
        rule="A .pth or .pt file must hold a state_dict of tensors alone: nothing in it is executed.",
        remedy="Name an existing file of weights, or an ncnn model's .param.",
    ):
        content = torch.load(path, map_location="cpu", weights_only=True)
    for name in ("params_ema", "params"):
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        keys = _listed(content) if isinstance(content, dict) else type(content).__name__
        raise DataError(
            f"{path.name} is no state_dict: it holds {keys}.",
            rule="Weights are a flat dictionary of tensors, or Real-ESRGAN's params_ema and params.",
            remedy=_REMEDY,
        )
    return content
