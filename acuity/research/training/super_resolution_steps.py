"""The optimization steps of super-resolution: of the pixel stage, and of the adversarial one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acuity.research.losses.best_buddy import best_buddy_loss, flat_mask
from acuity.research.losses.consistency import back_projection_loss, cycle_loss
from acuity.research.losses.perceptual import PerceptualLoss
from acuity.research.losses.pixel import high_pass, total_variation_loss
from acuity.research.losses.ranking import rank_content_loss
from acuity.research.losses.sharpening import unsharp_mask
from acuity.research.losses.vgg import available_network
from acuity.research.training import loop
from acuity.research.training.pairs import Batch
from acuity.research.training.runtime import Runtime
from acuity.research.training.super_resolution_recipe import ADVERSARIAL, Recipe


class PixelSteps:
    """Steps of a generator by L1 alone.

    Attributes
    ----------
    state : what a checkpoint keeps
    perceptual_description : which perceptual loss is used, for the record; None without one
    """

    perceptual_description: str | None = None

    def __init__(self, recipe: Recipe, run: Runtime) -> None:
        self.recipe, self.runtime = recipe, run
        self.generator = run.distribute(recipe.generator)
        self.generator_optimizer = _adam(recipe.generator)
        self.state: dict[str, loop.Stateful] = {
            "generator": recipe.generator,
            "generator_optimizer": self.generator_optimizer,
        }

    def run(self, batch: Batch, n: int, iterations: int) -> dict[str, float]:
        """Step ``n`` of ``iterations``; the losses by name."""
        loop.set_rate(self.generator_optimizer, self.recipe.pixel_learning_rate * loop.cosine(n, iterations))
        loss = F.l1_loss(batch.cut(self._super_resolved(batch)), batch.cut(batch.hr))
        _step(self.generator_optimizer, loss)
        return {"pixel": loss.item()}

    def _super_resolved(self, batch: Batch) -> Tensor:
        with self.runtime.autocast():
            sr = self.generator(batch.image)
        return sr.float()


class AdversarialSteps(PixelSteps):
    """Steps of a generator by all losses of a recipe, and of its discriminator."""

    def __init__(self, recipe: Recipe, run: Runtime) -> None:
        super().__init__(recipe, run)
        self.loss = ADVERSARIAL[recipe.adversarial]
        self.discriminator = run.distribute(recipe.discriminator)
        self.discriminator_optimizer = _adam(recipe.discriminator)
        self.state |= {
            "discriminator": recipe.discriminator,
            "discriminator_optimizer": self.discriminator_optimizer,
        }
        if recipe.ranker is not None:
            recipe.ranker.to(run.device).eval().requires_grad_(False)
        self.perceptual: PerceptualLoss | None = None
        if recipe.weights.perceptual:
            network = available_network()
            self.perceptual = PerceptualLoss(
                recipe.perceptual_layers,
                network=network,
                after_activation=recipe.after_activation,
                distance=recipe.perceptual_distance,
                relative=network == "vgg16",
            ).to(run.device)
            self.perceptual_description = self.perceptual.description

    def run(self, batch: Batch, n: int, iterations: int) -> dict[str, float]:
        """Step ``n`` of ``iterations``, first the generator's, then the discriminator's; the losses by name."""
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            loop.set_rate(optimizer, self.recipe.adversarial_rate(n / iterations))
        sr = self._super_resolved(batch)
        losses, weights = self._generator_losses(batch, sr), asdict(self.recipe.weights)
        _step(
            self.generator_optimizer,
            sum((weights[name] * value for name, value in losses.items()), start=sr.new_zeros(())),
        )
        losses["discriminator"] = self._discriminator_loss(batch, sr.detach())
        _step(self.discriminator_optimizer, losses["discriminator"])
        return {name: value.item() for name, value in losses.items()}

    def _generator_losses(self, batch: Batch, sr: Tensor) -> dict[str, Tensor]:
        """Every loss that has a weight."""
        weights, hr, fake = self.recipe.weights, batch.cut(batch.hr), batch.cut(sr)
        target = unsharp_mask(hr) if self.recipe.sharpened_target else hr
        losses: dict[str, Tensor] = {}
        if weights.pixel:
            losses["pixel"] = F.l1_loss(fake, target)
        if self.perceptual is not None:
            losses["perceptual"] = self.perceptual(fake, target)
        if weights.total_variation:
            losses["total_variation"] = total_variation_loss(fake, hr)
        if weights.cycle:
            losses["cycle"] = cycle_loss(sr, batch.lr, batch.degrade)
        if weights.best_buddy:
            losses["best_buddy"] = best_buddy_loss(fake, hr)
        if weights.back_projection:
            losses["back_projection"] = back_projection_loss(sr, batch.lr)
        if weights.rank_content:
            assert self.recipe.ranker is not None
            losses["rank_content"] = rank_content_loss(self.recipe.ranker(fake))
        if weights.adversarial:
            # The bare discriminator: its gradients are not used here and need not be averaged over processes.
            with _frozen(self.recipe.discriminator), self.runtime.autocast():
                real_logits = self.recipe.discriminator(self._view(hr, batch)).detach()
                fake_logits = self.recipe.discriminator(self._view(fake, batch))
            losses["adversarial"] = self.loss.generator(real_logits.float(), fake_logits.float())
        return losses

    def _discriminator_loss(self, batch: Batch, sr: Tensor) -> Tensor:
        with self.runtime.autocast():
            real_logits = self.discriminator(self._view(batch.cut(batch.hr), batch))
            fake_logits = self.discriminator(self._view(batch.cut(sr), batch))
        return self.loss.discriminator(real_logits.float(), fake_logits.float())

    def _view(self, image: Tensor, batch: Batch) -> Tensor:
        """The part of an image that the discriminator sees."""
        match self.recipe.discriminator_view:
            case "high_pass":
                return high_pass(image)
            case "textured":
                scale = batch.hr.shape[-1] // batch.lr.shape[-1]
                return image * (1 - batch.cut(flat_mask(batch.lr, scale)))
            case _:
                return image


def _adam(network: nn.Module) -> torch.optim.Adam:
    """Its learning rate is set at each step."""
    return torch.optim.Adam(network.parameters(), betas=(0.9, 0.999))


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """No gradients for the network's own parameters inside."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
