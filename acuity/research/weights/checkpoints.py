"""Weights of super-resolution networks, as their authors released them or as Acuity saves them, for one channel.

Every format becomes a state_dict in Acuity's own names first; the network's sizes are then read from its shapes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from acuity.errors import DataError, any_as_data_error
from acuity.networks import srrescycgan
from acuity.networks.rrdbnet import RRDBNet
from acuity.networks.srgan import SRGANGenerator
from acuity.networks.srrescycgan import SRResCycGAN
from acuity.networks.srresnet import SRResNet
from acuity.research.weights import ncnn
from acuity.resources import file_sha256

State = dict[str, Tensor]
Generator = RRDBNet | SRResNet | SRGANGenerator | SRResCycGAN

_RRDBNET = "trunk.0.0.convs.0.weight"  # keys that only these have in Acuity's names
_SRGAN = "trunk.0.norm1.weight"
_SRRESCYCGAN = "conv1.parametrizations.weight.original1"
_NOT_PARAMETERS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights, read.

    Parameters
    ----------
    format : whose names it has
    state : the state_dict in Acuity's names, with the file's channels
    sha256 : of the file (of an ncnn pair's .bin)
    """

    format: str
    state: State
    sha256: str


@dataclass(frozen=True)
class WeightsDescription:
    """What a file of weights holds.

    Parameters
    ----------
    architecture : the network's class
    format : whose names the file has
    features, blocks, growth : the network's sizes; ``growth`` is RRDBNet's alone
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
    SRResCGAN and SRResCycGAN (their published projection is left off: set ``network.projection``); an SRGAN that bounds
    its output by tanh; RRDBNets for ncnn, whose .param is named; and Acuity's own.

    Raises
    ------
    DataError
        When the file cannot be read, its format is unknown, or its weights make none of the networks.
    """
    checkpoint = read_checkpoint(path)
    network = network_of(fold_to_one_channel(checkpoint.state)).eval()
    first = _conv_first(checkpoint.state)
    growth = checkpoint.state.get(_RRDBNET)
    description = WeightsDescription(
        architecture=type(network).__name__,
        format=checkpoint.format,
        features=first.shape[0],
        blocks=_count(checkpoint.state, r"(?:trunk|layer1)\.(\d+)\."),
        growth=None if growth is None else growth.shape[0],
        scale=None if isinstance(network, SRResCycGAN) else network.scale,
        channels=_channels(checkpoint.state),
        file_parameters=sum(v.numel() for k, v in checkpoint.state.items() if not k.endswith(_NOT_PARAMETERS)),
        parameters=sum(p.numel() for p in network.parameters()),
        sha256=checkpoint.sha256,
    )
    return network, description


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a file of any known format, without folding its channels; raises DataError as :func:`load_published`."""
    if path.suffix == ".param":
        weights = path.with_suffix(".bin")
        return Checkpoint("ncnn", ncnn.read_rrdbnet(path, weights), file_sha256(weights))
    format_name, state = to_our_names(_read_tensors(path))
    return Checkpoint(format_name, state, file_sha256(path))


def to_our_names(state: Mapping[str, Tensor]) -> tuple[str, State]:
    """The format of a flat state_dict, and the same weights in Acuity's names.

    Raises
    ------
    DataError
        When the format is unknown.
    """
    state = {key.removeprefix("module."): value for key, value in state.items()}
    for marker, (name, rename) in _FORMATS.items():
        if marker in state:
            return name, rename(state)
    raise DataError(
        f"The weights are in an unknown format; the first of their {len(state)} keys are {_listed(state)}.",
        rule=f"Known are {', '.join(sorted({name for name, _ in _FORMATS.values()}))}.",
        remedy="Name a generator's weights, not a discriminator's or a whole training state.",
    )


def network_of(state: State) -> Generator:
    """The network whose state_dict this is, in Acuity's names: its class and its sizes are read from the shapes.

    Raises
    ------
    DataError
        When keys are absent or superfluous, or shapes do not fit together.
    """
    if _SRRESCYCGAN in state:
        blocks = _count(state, r"layer1\.(\d+)\.")
        network: Generator = SRResCycGAN(_channels(state), _conv_first(state).shape[0], blocks)
    else:
        network = _upsampling_network(state)
    expected = network.state_dict()
    # Files older than PyTorch 0.4.1 do not count batches; torch fills that in.
    absent = [key for key in expected.keys() - state.keys() if not key.endswith("num_batches_tracked")]
    unequal = [key for key in expected.keys() & state.keys() if expected[key].shape != state[key].shape]
    problems = {"lack": absent, "have beyond its": state.keys() - expected.keys(), "have in another shape": unequal}
    for problem, keys in problems.items():
        if keys:
            raise _misfit(f"Weights like {type(network).__name__}'s {problem} {_listed(sorted(keys))}.")
    network.load_state_dict(state)
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
    channels = _channels(state)
    if channels == 1:
        return state
    if _SRRESCYCGAN in state:
        return srrescycgan.fold_to_one_channel(state)
    first = _conv_first(state)
    if first.shape[1] % channels:
        raise _misfit(f"Weights have {first.shape[1]} channels at their input and {channels} at their output.")
    folded = dict(state)
    # Sub-pixels lie within each channel, as torch's pixel_unshuffle orders them.
    folded["conv_first.weight"] = first.unflatten(1, (channels, -1)).sum(dim=1)
    for name in ("conv_last.weight", "conv_last.bias"):
        folded[name] = _tensor(state, name).mean(dim=0, keepdim=True)
    return folded


def _upsampling_network(state: State) -> Generator:
    """A network with ``conv_first``, ``trunk`` and ``conv_last``, not yet with the weights."""
    channels, first = _channels(state), _conv_first(state)
    features, blocks = first.shape[0], _count(state, r"trunk\.(\d+)\.")
    upsamplings = _count(state, r"(?:conv_up|upsampling)\.(\d+)\.")
    if _RRDBNET in state:
        unshuffle = first.shape[1] == 4 * channels
        growth = state[_RRDBNET].shape[0]
        scale = _scale(upsamplings - int(unshuffle))
        return RRDBNet(channels, channels, features, blocks, growth, scale, unshuffle)
    if _SRGAN in state:
        bounded = "trunk_end.running_mean" not in state
        return SRGANGenerator(channels, channels, features, blocks, _scale(upsamplings), bounded)
    return SRResNet(channels, channels, features, blocks, _scale(upsamplings))


def _scale(upsamplings: int) -> int:
    if upsamplings not in (1, 2):
        raise _misfit(f"Weights whose upsampling doubles the size {upsamplings} times.")
    return int(2**upsamplings)


def _conv_first(state: State) -> Tensor:
    first = _tensor(state, _SRRESCYCGAN if _SRRESCYCGAN in state else "conv_first.weight")
    if first.ndim != 4:
        raise _misfit(f"Weights of a first convolution of shape {tuple(first.shape)}, which has not four axes.")
    return first


def _channels(state: State) -> int:
    """Channels of the output."""
    name = "conv_out.bias" if "conv_out.bias" in state else "conv_last.bias"
    return int(_tensor(state, name).shape[0])


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
        remedy="Name the file that the method's authors released, or one that Acuity saved.",
    )


def _listed(keys: Iterable[object]) -> str:
    names = [str(key) for key in keys]
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def _same(state: State) -> State:
    return state


def _rename_trunk(state: State) -> State:
    """ESRGAN's, Real-ESRGAN's and RankSRGAN's names, which differ in little."""

    def dense(match: re.Match[str]) -> str:
        return f"trunk.{match[1]}.{int(match[2]) - 1}.convs.{int(match[3]) - 1}."

    renamed = {}
    for key, value in state.items():
        name = re.sub(r"^(?:RRDB_trunk|body)\.(\d+)\.(?:RDB|rdb)(\d)\.conv(\d)\.", dense, key)
        name = re.sub(r"^recon_trunk\.", "trunk.", name)
        name = re.sub(r"^(?:trunk_conv|conv_body|LRconv)\.", "conv_trunk.", name)
        name = re.sub(r"^(?:upconv|conv_up)(\d)\.", lambda match: f"conv_up.{int(match[1]) - 1}.", name)
        renamed[re.sub(r"^HRconv\.", "conv_hr.", name)] = value
    return renamed


def _rename_srgan(state: State) -> State:
    """``block1`` is the head, the last but one the trunk's end, the last upsampling and tail, the rest the trunk."""
    last = _count(state, r"block(\d+)\.")
    tail = _count(state, rf"block{last}\.(\d+)\.") - 1
    names = {"block1.0": "conv_first", "block1.1": "prelu_first"}
    names |= {f"block{n}": f"trunk.{n - 2}" for n in range(2, last - 1)}
    names |= {f"block{last - 1}.0": "conv_trunk", f"block{last - 1}.1": "trunk_end", f"block{last}.{tail}": "conv_last"}
    names |= {f"block{last}.{n}": f"upsampling.{n}" for n in range(tail)}

    def renamed(key: str) -> str:
        for old, new in names.items():
            if key.startswith(f"{old}."):
                return re.sub(r"\.bn(\d)\.", r".norm\1.", new + key.removeprefix(old))
        return key

    return {renamed(key): value for key, value in state.items()}


# A key that only this format has: its name, and the way to Acuity's names.
_FORMATS: dict[str, tuple[str, Callable[[State], State]]] = {
    "RRDB_trunk.0.RDB1.conv1.weight": ("ESRGAN, BSRGAN or Beby-GAN", _rename_trunk),
    "body.0.rdb1.conv1.weight": ("Real-ESRGAN", _rename_trunk),
    "recon_trunk.0.conv1.weight": ("RankSRGAN", _rename_trunk),
    "model.conv1.weight_v": ("SRResCGAN or SRResCycGAN", srrescycgan.from_published),
    "block1.0.weight": ("SRGAN with tanh", _rename_srgan),
    _RRDBNET: ("Acuity", _same),
    "trunk.0.conv1.weight": ("Acuity", _same),
    _SRRESCYCGAN: ("Acuity", _same),
}


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
            remedy="Name a generator's weights, not a whole training state.",
        )
    return content
