"""Published weights load: each format against the published network, written here anew from its own keys."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor
from torch.nn import functional as F

from acuity.errors import DataError
from acuity.networks.rrdbnet import RRDBNet
from acuity.networks.srgan import SRGANGenerator
from acuity.networks.srrescycgan import SRResCycGAN
from acuity.networks.srresnet import SRResNet
from acuity.research.weights.checkpoints import fold_to_one_channel, load_published, network_of, to_our_names

F0, GROWTH, BLOCKS = 8, 4, 2  # features, growth and blocks of the synthetic checkpoints

ESRGAN = {"trunk": "RRDB_trunk.{}.RDB{}.conv{}", "end": "trunk_conv", "up": "upconv{}", "hr": "HRconv"}
REAL_ESRGAN = {"trunk": "body.{}.rdb{}.conv{}", "end": "conv_body", "up": "conv_up{}", "hr": "conv_hr"}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def conv(state: dict[str, Tensor], name: str, out_channels: int, in_channels: int, kernel: int = 3) -> None:
    state[f"{name}.weight"] = torch.randn(out_channels, in_channels, kernel, kernel) / (in_channels**0.5 * kernel)
    state[f"{name}.bias"] = 0.1 * torch.randn(out_channels)


def apply(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)


def rrdb_checkpoint(names: dict[str, str], upsamplings: int, in_channels: int) -> dict[str, Tensor]:
    state: dict[str, Tensor] = OrderedDict()
    conv(state, "conv_first", F0, in_channels)
    for i in range(BLOCKS):
        for j in (1, 2, 3):
            for k in range(5):
                conv(state, names["trunk"].format(i, j, k + 1), GROWTH if k < 4 else F0, F0 + k * GROWTH)
    for name in (names["end"], *(names["up"].format(n + 1) for n in range(upsamplings)), names["hr"]):
        conv(state, name, F0, F0)
    conv(state, "conv_last", 3, F0)
    return state


def rrdb_published(state: dict[str, Tensor], names: dict[str, str], upsamplings: int, x: Tensor) -> Tensor:
    """ESRGAN's network, by its published keys."""
    if state["conv_first.weight"].shape[1] == 12:  # Real-ESRGAN's x2: 2x2 pixels become channels, channel by channel
        n, c, h, w = x.shape
        x = x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, 4 * c, h // 2, w // 2)
    head = x = apply(state, "conv_first", x)
    for i in range(BLOCKS):
        inner = x
        for j in (1, 2, 3):
            features = [inner]
            for k in range(1, 5):
                out = apply(state, names["trunk"].format(i, j, k), torch.cat(features, 1))
                features.append(F.leaky_relu(out, 0.2))
            inner = inner + 0.2 * apply(state, names["trunk"].format(i, j, 5), torch.cat(features, 1))
        x = x + 0.2 * inner
    x = head + apply(state, names["end"], x)
    for n in range(upsamplings):
        x = x.repeat_interleave(2, -1).repeat_interleave(2, -2)
        x = F.leaky_relu(apply(state, names["up"].format(n + 1), x), 0.2)
    return apply(state, "conv_last", F.leaky_relu(apply(state, names["hr"], x), 0.2))


def rank_srgan_checkpoint() -> dict[str, Tensor]:
    state: dict[str, Tensor] = OrderedDict()
    conv(state, "conv_first", F0, 3)
    for i in range(BLOCKS):
        conv(state, f"recon_trunk.{i}.conv1", F0, F0)
        conv(state, f"recon_trunk.{i}.conv2", F0, F0)
    conv(state, "LRconv", F0, F0)
    for name in ("upconv1", "upconv2"):
        conv(state, name, 4 * F0, F0)
    conv(state, "HRconv", F0, F0)
    conv(state, "conv_last", 3, F0)
    return state


def rank_srgan_published(state: dict[str, Tensor], x: Tensor) -> Tensor:
    head = x = apply(state, "conv_first", x)
    for i in range(BLOCKS):
        x = x + apply(state, f"recon_trunk.{i}.conv2", apply(state, f"recon_trunk.{i}.conv1", x).relu())
    x = head + apply(state, "LRconv", x)
    for name in ("upconv1", "upconv2"):
        x = F.pixel_shuffle(apply(state, name, x), 2).relu()
    return apply(state, "conv_last", apply(state, "HRconv", x).relu())


def srgan_published(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The SRGAN with tanh, up to its last convolution."""

    def norm(name: str, y: Tensor) -> Tensor:
        mean, var, weight, bias = (state[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(y, mean, var, weight, bias)

    last = max(int(key.split(".")[0].removeprefix("block")) for key in state)
    head = x = F.prelu(apply(state, "block1.0", x), state["block1.1.weight"])
    for block in (f"block{n}" for n in range(2, last - 1)):
        y = F.prelu(norm(f"{block}.bn1", apply(state, f"{block}.conv1", x)), state[f"{block}.prelu.weight"])
        x = x + norm(f"{block}.bn2", apply(state, f"{block}.conv2", y))
    x = head + F.prelu(apply(state, f"block{last - 1}.0", x), state[f"block{last - 1}.1.weight"])
    n = 0
    while f"block{last}.{n}.conv.weight" in state:
        up = F.pixel_shuffle(apply(state, f"block{last}.{n}.conv", x), 2)
        x = F.prelu(up, state[f"block{last}.{n}.prelu.weight"])
        n += 1
    return apply(state, f"block{last}.{n}", x)


def saved(content: object, tmp_path: Path) -> Path:
    torch.save(content, tmp_path / "net.pth")
    return tmp_path / "net.pth"


@pytest.mark.parametrize(
    ("names", "wrap", "upsamplings", "in_channels", "expected"),
    [
        (ESRGAN, None, 2, 3, ("ESRGAN, BSRGAN or Beby-GAN", 4)),
        (ESRGAN, None, 1, 3, ("ESRGAN, BSRGAN or Beby-GAN", 2)),  # BSRGAN x2
        (REAL_ESRGAN, "params", 2, 3, ("Real-ESRGAN", 4)),
        (REAL_ESRGAN, "params_ema", 2, 12, ("Real-ESRGAN", 2)),
    ],
)
@torch.inference_mode()
def test_rrdb_nets(names, wrap, upsamplings, in_channels, expected, tmp_path):
    state = rrdb_checkpoint(names, upsamplings, in_channels)
    network, found = load_published(saved({wrap: state} if wrap else state, tmp_path))
    image = torch.rand(2, 1, 6, 8)
    published = rrdb_published(state, names, upsamplings, image.expand(-1, 3, -1, -1)).mean(dim=1, keepdim=True)
    torch.testing.assert_close(network(image), published, atol=1e-5, rtol=0)
    assert isinstance(network, RRDBNet) and not network.training
    assert (found.architecture, found.format, found.scale) == ("RRDBNet", *expected)
    assert (found.features, found.growth, found.blocks, found.channels) == (F0, GROWTH, BLOCKS, 3)
    assert found.file_parameters == sum(value.numel() for value in state.values())
    assert found.sha256 == hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()


@torch.inference_mode()
def test_three_channels_stay_where_they_are_not_folded():
    state = rrdb_checkpoint(REAL_ESRGAN, 2, 12)
    network = network_of(to_our_names(state)[1])
    image = torch.rand(1, 3, 6, 8)
    torch.testing.assert_close(network(image), rrdb_published(state, REAL_ESRGAN, 2, image))


@torch.inference_mode()
def test_rank_srgan_with_the_prefix_of_data_parallel_training(tmp_path):
    state = rank_srgan_checkpoint()
    network, found = load_published(saved({f"module.{key}": value for key, value in state.items()}, tmp_path))
    image = torch.rand(2, 1, 5, 7)
    published = rank_srgan_published(state, image.expand(-1, 3, -1, -1)).mean(dim=1, keepdim=True)
    torch.testing.assert_close(network(image), published, atol=1e-5, rtol=0)
    assert (found.architecture, found.format, found.scale) == ("SRResNet", "RankSRGAN", 4)
    assert (found.features, found.growth, found.blocks) == (F0, None, BLOCKS)


def test_the_averaged_weights_of_two_are_taken(tmp_path):
    plain, averaged = rrdb_checkpoint(REAL_ESRGAN, 2, 3), rrdb_checkpoint(REAL_ESRGAN, 2, 3)
    network, _ = load_published(saved({"params": plain, "params_ema": averaged}, tmp_path))
    torch.testing.assert_close(network.state_dict()["conv_hr.weight"], averaged["conv_hr.weight"])


@pytest.mark.parametrize(
    "network",
    [
        RRDBNet(features=4, blocks=1, growth=2, scale=2, unshuffle=True),
        RRDBNet(features=4, blocks=2, growth=3),
        SRResNet(features=4, blocks=1, scale=2),
        SRGANGenerator(features=4, blocks=3),
        SRResCycGAN(features=4, blocks=2),
    ],
)
@torch.inference_mode()
def test_our_own_weights_come_back(network, tmp_path):
    network.eval()
    image = torch.rand(1, 1, 8, 8)
    loaded, found = load_published(saved(network.state_dict(), tmp_path))
    assert (found.format, found.channels, type(loaded)) == ("Acuity", 1, type(network))
    assert found.parameters == found.file_parameters == sum(p.numel() for p in network.parameters())
    torch.testing.assert_close(loaded(image), network(image))


@torch.inference_mode()
def test_a_published_srgan_folds_exactly():
    network = SRGANGenerator(3, 3, features=4, blocks=1).eval()
    image = torch.rand(1, 1, 6, 6)
    folded = network_of(fold_to_one_channel(dict(network.state_dict()))).eval()
    expected = network(image.expand(-1, 3, -1, -1)).mean(dim=1, keepdim=True)
    torch.testing.assert_close(folded(image), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("file", "scale", "parameters"), [("netG_epoch_2_100.pth", 2, 586_379), ("netG_epoch_4_100.pth", 4, 734_092)]
)
@torch.inference_mode()
def test_released_srgan_weights(shared_data, file, scale, parameters):
    """They do what they were trained for, on a photograph: better than cubic interpolation."""
    path = shared_data / "weights" / file
    network, found = load_published(path)
    assert (found.architecture, found.scale, found.blocks) == ("SRGANGenerator", scale, 5)
    assert found.file_parameters == parameters
    hr = (data.camera()[:128, 128:256] / 255).astype(np.float32)
    lr = Image.fromarray(hr).resize((128 // scale, 128 // scale), Image.Resampling.BICUBIC)
    image = torch.from_numpy(np.array(lr))[None, None]
    sr = network(image)[0, 0].numpy()
    cubic = np.asarray(lr.resize((128, 128), Image.Resampling.BICUBIC)).clip(0, 1)
    assert peak_signal_noise_ratio(hr, sr, data_range=1) > peak_signal_noise_ratio(hr, cubic, data_range=1) + 1
    # before tanh the fold is exact
    state = torch.load(path, map_location="cpu", weights_only=True)
    published = srgan_published(state, image.expand(-1, 3, -1, -1)).mean(dim=1)
    np.testing.assert_allclose(np.arctanh(2 * sr.astype(float) - 1), published[0], atol=1e-4)


@torch.inference_mode()
def test_released_srrescgan_weights(shared_data):
    file = shared_data / "weights" / "SRResCGAN_srrescgan_model.pth"
    network, found = load_published(file)
    assert isinstance(network, SRResCycGAN)
    assert (found.format, found.scale, found.blocks) == ("SRResCGAN or SRResCycGAN", None, 5)
    assert (found.channels, found.file_parameters) == (3, 380_356)
    image = torch.from_numpy(data.camera()[:64, :64] / 255).float()[None, None]
    assert 0.001 < (network(image) - image).abs().mean() < 0.05  # a residual, and a small one
    names = {
        "model.": "",
        "weight_g": "parametrizations.weight.original0",
        "weight_v": "parametrizations.weight.original1",
    }
    color = SRResCycGAN(in_channels=3).eval()
    state = torch.load(file, weights_only=True)
    color.load_state_dict({reduce(lambda k, old: k.replace(old, names[old]), names, key): state[key] for key in state})
    ramp = torch.linspace(0.2, 0.8, 32)
    image = (ramp[:, None] * ramp[None])[None, None]  # nothing of it is clamped
    expected = color(image.expand(-1, 3, -1, -1)).mean(dim=1, keepdim=True)
    torch.testing.assert_close(network(image), expected, atol=7e-6, rtol=0)


def test_an_unknown_format_is_named_by_its_first_keys(tmp_path):
    path = saved({f"layer{n}.weight": torch.zeros(2) for n in range(9)}, tmp_path)
    with pytest.raises(DataError, match=r"first of their 9 keys are layer0.weight, .*layer3.weight, \.\.\..*RankSRGAN"):
        load_published(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("HRconv.bias"), r"Missing key\(s\) in state_dict: \"conv_hr.bias\""),
        (lambda s: s.pop("conv_last.bias"), "lack conv_last.bias"),
        (lambda s: s.pop("conv_first.weight"), "lack conv_first.weight"),
        (lambda s: s.update(extra=torch.zeros(1)), r"Unexpected key\(s\) in state_dict: \"extra\""),
        (lambda s: s.update({"HRconv.bias": torch.zeros(3)}), "size mismatch for conv_hr.bias"),
        (lambda s: s.update({"conv_first.weight": torch.zeros(F0, 3)}), r"shape \(8, 3\), which has not four axes"),
        (lambda s: s.update({"conv_first.weight": torch.zeros(F0, 4, 3, 3)}), "4 channels at their input and 3 at"),
        (
            lambda s: (s.pop("upconv1.weight"), s.pop("upconv2.weight"), s.pop("upconv1.bias"), s.pop("upconv2.bias")),
            "doubles the size 0 times",
        ),
    ],
)
def test_weights_that_make_no_network_are_refused(change, message, tmp_path):
    state = rrdb_checkpoint(ESRGAN, 2, 3)
    change(state)
    with pytest.raises(DataError, match=message):
        load_published(saved(state, tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"a": torch.zeros(1)}, "epoch": 3}, "is no state_dict: it holds model, epoch"),
        ([torch.zeros(1)], "is no state_dict: it holds list"),
        (Path("x"), r"cannot be read as weights \(UnpicklingError\)"),  # an object that loading would have to make
    ],
)
def test_what_is_no_state_dict_is_refused(content, message, tmp_path):
    with pytest.raises(DataError, match=message):
        load_published(saved(content, tmp_path))


def test_what_is_no_torch_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent.pth cannot be read as weights \(FileNotFoundError\)"):
        load_published(tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(DataError, match=r"text.pth cannot be read as weights"):
        load_published(tmp_path / "text.pth")
    (tmp_path / "cut.pth").write_bytes(saved(rank_srgan_checkpoint(), tmp_path).read_bytes()[:3000])
    with pytest.raises(DataError, match=r"cut.pth cannot be read as weights"):
        load_published(tmp_path / "cut.pth")
