"""SRResCycGAN's generator."""

import pytest
import torch

from acuity.networks.srrescycgan import SRResCycGAN, foreground_noise_sigma, noise_sigma, project
from acuity.research.weights.checkpoints import load_published


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
def test_a_stripped_brain_is_sharpened_only_by_the_foreground_s_noise_level():
    """With the published estimate the exact-zero background gives no noise, and the output is the input itself."""
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(1, 1, 64, 64)
    image[..., 20:44, 20:44] = 0.5 + 0.02 * torch.randn(1, 1, 24, 24, generator=generator)
    torch.manual_seed(0)
    ours = SRResCycGAN(projection=True).eval()
    published = SRResCycGAN(projection=True, foreground_sigma=False).eval()
    published.load_state_dict(ours.state_dict())
    assert noise_sigma(image * 255) == 0
    torch.testing.assert_close(published(image), image, rtol=1e-6, atol=0)
    assert foreground_noise_sigma(image * 255) >= 1
    assert (ours(image) - image).abs().max() > 1e-4


@torch.inference_mode()
def test_with_noise_everywhere_both_estimates_let_the_same_through():
    torch.manual_seed(0)
    image = 128 + 5 * torch.randn(1, 1, 128, 128)
    assert noise_sigma(image).item() == pytest.approx(5, rel=0.1)
    assert foreground_noise_sigma(image).item() == pytest.approx(noise_sigma(image).item())


def test_the_projection_limits_the_norm_and_leaves_small_residuals():
    torch.manual_seed(0)
    residual = torch.stack([torch.full((1, 8, 8), 10.0), torch.full((1, 8, 8), 0.1), torch.zeros(1, 8, 8)])
    limited = project(residual, torch.tensor([0.7]), torch.tensor([2.0, 2.0, 0.0]))
    assert limited[0].norm().item() == pytest.approx(2.0 * 2.01375 * 63**0.5, rel=1e-4)  # exp(0.7) = 2.01375
    torch.testing.assert_close(limited[1:], residual[1:])


def test_noise_level_is_estimated_from_the_foreground():
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(1, 1, 128, 128)
    image[..., 40:88, 40:88] = 100 + 8 * torch.randn(1, 1, 48, 48, generator=generator)
    assert foreground_noise_sigma(image).item() == pytest.approx(8, rel=0.3)


@torch.inference_mode()
def test_the_published_checkpoint_loads_and_folds(shared_data):
    file = shared_data / "weights" / "SRResCGAN_srrescgan_model.pth"
    state = torch.load(file, weights_only=True)
    gray, _ = load_published(file)
    color = SRResCycGAN(in_channels=3).eval()
    color.load_state_dict(
        {
            k.removeprefix("model.")
            .replace("weight_g", "parametrizations.weight.original0")
            .replace("weight_v", "parametrizations.weight.original1"): v
            for k, v in state.items()
        }
    )
    ramp = torch.linspace(0.2, 0.8, 32)
    image = (ramp[:, None] * ramp[None])[None, None]
    expected = color(image.expand(-1, 3, -1, -1)).mean(dim=1, keepdim=True)
    torch.testing.assert_close(gray(image), expected, atol=7e-6, rtol=0)
