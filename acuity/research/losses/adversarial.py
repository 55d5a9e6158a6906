"""Adversarial losses on logits. Both sides take real and fake logits, as a relativistic loss needs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class AdversarialLoss(NamedTuple):
    """The losses of generator and discriminator, each a function of (real_logits, fake_logits)."""

    generator: Callable[[Tensor, Tensor], Tensor]
    discriminator: Callable[[Tensor, Tensor], Tensor]


def _cross_entropy(logits: Tensor, value: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, value))


def _square(logits: Tensor, value: float) -> Tensor:
    return (logits - value).square().mean()


def vanilla_generator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The non-saturating loss -log D(fake) of Goodfellow 2014 (arXiv:1406.2661); ``real_logits`` are not used.

    Logits may have any shape: (N, 1), or (N, 1, H, W) of a discriminator that judges pixels.
    """
    return _cross_entropy(fake_logits, 1.0)


def vanilla_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The sum -log D(real) - log(1 - D(fake)), as in Real-ESRGAN and RankSRGAN."""
    return _cross_entropy(real_logits, 1.0) + _cross_entropy(fake_logits, 0.0)


def relativistic_generator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Relativistic average GAN, generator: fake images should look more real than the mean real one.

    Jolicoeur-Martineau 2018 (arXiv:1807.00734), in the form of ESRGAN and SRResCycGAN.
    """
    return relativistic_discriminator_loss(real_logits=fake_logits, fake_logits=real_logits)


def relativistic_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Relativistic average GAN, discriminator: real images should look more real than the mean fake one."""
    real = _cross_entropy(real_logits - fake_logits.mean(), 1.0)
    fake = _cross_entropy(fake_logits - real_logits.mean(), 0.0)
    return (real + fake) / 2


def least_squares_generator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Squared distance of fake logits from 1, Mao 2017 (arXiv:1611.04076); ``real_logits`` are not used.

    Without the paper's factor 1/2, as in BSRGAN's code, whose loss weight of 0.1 belongs to this form.
    """
    return _square(fake_logits, 1.0)


def least_squares_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Squared distance of real logits from 1, plus that of fake logits from 0."""
    return _square(real_logits, 1.0) + _square(fake_logits, 0.0)


VANILLA = AdversarialLoss(vanilla_generator_loss, vanilla_discriminator_loss)
RELATIVISTIC = AdversarialLoss(relativistic_generator_loss, relativistic_discriminator_loss)
LEAST_SQUARES = AdversarialLoss(least_squares_generator_loss, least_squares_discriminator_loss)
