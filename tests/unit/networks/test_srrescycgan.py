"""SRResCycGAN's generator."""

import pytest
import torch

from acuity.networks.srrescycgan import SRResCycGAN, foreground_noise_sigma, read_weights


def test_parameter_count_is_the_published_one():
    assert sum(p.numel() for p in SRResCycGAN(in_channels=3).parameters()) == 380_356


@torch.inference_mode()
def test_the_residual_is_taken_from_the_image():
    torch.manual_seed(0)
    network, image = SRResCycGAN().eval(), torch.rand(2, 1, 24, 20)
    assert network(image).shape == image.shape
    network.conv_out.parametrizations.weight.original0.zero_()
    network.conv_out.bias.zero_()
    torch.testing.assert_close(network(image), image)


@torch.inference_mode()
def test_a_stripped_brain_is_still_sharpened_under_the_projection():
    """Where the median over the whole image is zero, a residual limited by it would be zero too."""
    torch.manual_seed(0)
    image = torch.zeros(1, 1, 64, 64)
    image[..., 24:40, 24:40] = 0.5
    network = SRResCycGAN(projection=True).eval()
    assert foreground_noise_sigma(image * 255) >= 1.0
    assert (network(image) - image).abs().max() > 1e-4


def test_noise_level_is_estimated_from_the_foreground():
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(1, 1, 128, 128)
    image[..., 40:88, 40:88] = 100 + 8 * torch.randn(1, 1, 48, 48, generator=generator)
    assert foreground_noise_sigma(image).item() == pytest.approx(8, rel=0.3)


@torch.inference_mode()
def test_the_published_checkpoint_loads_and_folds(shared_data):
    state = torch.load(shared_data / "weights" / "SRResCGAN_srrescgan_model.pth", weights_only=True)
    gray = SRResCycGAN().eval()
    gray.load_state_dict(read_weights(str(shared_data / "weights" / "SRResCGAN_srrescgan_model.pth")))
    colour = SRResCycGAN(in_channels=3).eval()
    colour.load_state_dict({
        k.removeprefix("model.").replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"): v
        for k, v in state.items()
    })
    ramp = torch.linspace(0.2, 0.8, 32)
    image = (ramp[:, None] * ramp[None])[None, None]
    expected = colour(image.expand(-1, 3, -1, -1)).mean(dim=1, keepdim=True)
    torch.testing.assert_close(gray(image), expected, atol=7e-6, rtol=0)
