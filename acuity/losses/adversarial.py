"""Adversarial losses on logits; both sides see real and fake ones, as a relativistic loss needs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def _target(logits: Tensor, value: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, value))


def relativistic_generator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Relativistic average GAN, generator: fakes should look more real than the mean real one.

    Jolicoeur-Martineau 2018 (arXiv:1807.00734), as ESRGAN and SRResCycGAN use it.
    """
    return relativistic_discriminator_loss(real_logits=fake_logits, fake_logits=real_logits)


def relativistic_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Relativistic average GAN, discriminator: reals should look more real than the mean fake one."""
    real = _target(real_logits - fake_logits.mean(), 1.0)
    fake = _target(fake_logits - real_logits.mean(), 0.0)
    return (real + fake) / 2
