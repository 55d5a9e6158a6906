"""The one trainer of super-resolution GANs: by pixel loss first, then adversarially, by any recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from acuity.errors import DataError
from acuity.research.losses.best_buddy import best_buddy_loss, flat_mask
from acuity.research.losses.consistency import back_projection_loss, cycle_loss
from acuity.research.losses.perceptual import PerceptualLoss
from acuity.research.losses.pixel import high_pass, total_variation_loss
from acuity.research.losses.ranking import rank_content_loss
from acuity.research.losses.sharpening import unsharp_mask
from acuity.research.losses.vgg import available_network
from acuity.research.training import loop, runtime
from acuity.research.training.pairs import Batch, Pairs, psnr_gain
from acuity.research.training.runtime import Runtime
from acuity.research.training.super_resolution_recipe import ADVERSARIAL, Recipe
from acuity.research.weights.checkpoints import load_published

INTERPOLATED = "interpolated.pt"
ADVERSARIAL_SHARE = 0.8  # of the interpolated weights; ESRGAN's published example


@dataclass(frozen=True)
class Plan:
    """How one stage is trained, whichever the recipe.

    Parameters
    ----------
    stage : "pixel" minimizes L1 alone; "adversarial", which starts from its result, all losses of the recipe
    iterations : steps in all
    batch : patches of a step and process
    ema : decay of the averaged weights
    seed : of what is drawn
    validate_every : iterations
    """

    stage: Literal["pixel", "adversarial"]
    iterations: int
    batch: int = 8
    ema: float = 0.995
    seed: int = 0
    validate_every: int = 200


def train(
    recipe: Recipe,
    pairs: Pairs,
    validation_pairs: Pairs,
    plan: Plan,
    *,
    folder: str | Path,
    initial_weights: str | Path | None = None,
    device: str | None = None,
) -> Path:
    """Train one stage of a recipe, resuming where it was cut; under torchrun in several processes.

    The pixel stage keeps the weights of the highest PSNR on validation pairs, the adversarial one its last, averaged
    over iterations both: PSNR alone would always choose the weights that the adversarial loss has changed least. Of
    these and those that it started from ADVERSARIAL_SHARE is taken (network interpolation; Wang et al., ESRGAN,
    section 3.4), which keeps most of the texture and loses less of the truth.

    Parameters
    ----------
    folder : checkpoints, TensorBoard log with sample images, settings.json, and best.pt (a state_dict of the generator)
    initial_weights : a file to start from, ours or as published, see ``acuity.research.weights.checkpoints``
    device : "cpu" or "cuda", instead of what is found

    Returns
    -------
    The weights to go on with or to release: best.pt, interpolated.pt of an adversarial stage that had initial weights

    Raises
    ------
    DataError : initial weights that cannot be read or are not the generator's
    NonFiniteLossError : see ``acuity.research.training.loop.run``
    """
    run = runtime.start(device)
    start = None if initial_weights is None else start_from(recipe.generator, Path(initial_weights))
    started_from = {name: value.clone() for name, value in recipe.generator.state_dict().items()}
    adversarial = plan.stage == "adversarial"
    # 10% faster on a CPU; torch's type stubs do not know the argument.
    recipe.generator.to(run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = loop.averaged(recipe.generator, plan.ema)
    steps = _Steps(recipe, run, adversarial=adversarial)
    if run.rank == 0:
        settings = {
            **asdict(plan),
            "patch": pairs.size,
            "initial_weights": start,
            "adversarial_share": ADVERSARIAL_SHARE if adversarial and start else None,
            "loss_weights": asdict(recipe.weights),
            "perceptual": steps.perceptual_description,
        }
        loop.write_settings(Path(folder), settings | run.settings)
    held_out = validation_pairs.fixed()

    def step(n: int) -> dict[str, float]:
        drawn = pairs.draw(plan.batch, np.random.default_rng([plan.seed, n, run.rank])).to(run.device)
        losses = steps.run(drawn, n, plan.iterations)
        average.update_parameters(recipe.generator)
        return losses

    def validate() -> dict[str, float]:
        average.eval()
        return {f"psnr_gain_{kind}": psnr_gain(average.module, ones, run.device) for kind, ones in held_out.items()}

    @torch.no_grad()
    def images(log: SummaryWriter, n: int) -> None:
        for kind, ones in held_out.items():
            one = ones[0]
            row = torch.cat([one.interpolated, average.module(one.image.to(run.device)).cpu(), one.hr], dim=-1)
            log.add_images(f"{kind}: interpolated, super-resolved, truth", row.clamp(0, 1), n)

    path = loop.run(
        step,
        iterations=plan.iterations,
        folder=Path(folder),
        validate=validate,
        validate_every=plan.validate_every,
        weights=lambda: dict(average.module.state_dict()),
        images=images,
        rank=run.rank,
        metric=None if adversarial else f"psnr_gain_{next(iter(held_out))}",
        state={"average": average, **steps.state},
    )
    if adversarial and start:
        trained, path = path, Path(folder) / INTERPOLATED
        if run.rank == 0:
            weights = interpolated(started_from, torch.load(trained, map_location="cpu", weights_only=True))
            loop.save_atomically(weights, path)
    run.wait()
    return path


def interpolated(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], share: float = ADVERSARIAL_SHARE
) -> dict[str, Tensor]:
    """Weights on the line from those of ``first`` to those of ``second``, which are of the same network.

    Parameters
    ----------
    share : of ``second``, 0 to 1; what is no floating-point number is the second's
    """
    return {
        name: torch.lerp(first[name].cpu(), value, share) if value.is_floating_point() else value
        for name, value in second.items()
    }


def start_from(generator: nn.Module, path: Path) -> dict[str, str]:
    """Load the weights; which they are, for the record.

    Batch norm keeps the statistics that come with them: those of a few patches are so far from a whole image's that
    some slices would come out worse than interpolated.

    Raises
    ------
    DataError : they cannot be read or are not the generator's
    """
    network, description = load_published(path)
    try:
        generator.load_state_dict(network.state_dict())
    except RuntimeError as error:
        raise DataError(
            f"{path} holds {description.architecture} with {description.features} features and "
            f"{description.blocks} blocks.",
            rule="Initial weights must be of the recipe's generator, in its size.",
            remedy="Most published weights need --paper-size.",
        ) from error
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return {"file": path.name, "format": description.format, "sha256": description.sha256}


class _Steps:
    """The optimization steps of one stage; holds the networks and their optimizers."""

    def __init__(self, recipe: Recipe, run: Runtime, *, adversarial: bool) -> None:
        self.recipe, self.runtime, self.adversarial = recipe, run, adversarial
        self.generator = run.distribute(recipe.generator)
        rate = recipe.learning_rate if adversarial else recipe.pixel_learning_rate
        self.generator_optimizer = torch.optim.Adam(recipe.generator.parameters(), lr=rate, betas=(0.9, 0.999))
        self.state: dict[str, loop.Stateful] = {
            "generator": recipe.generator,
            "generator_optimizer": self.generator_optimizer,
        }
        self.perceptual: PerceptualLoss | None = None
        if not adversarial:
            return
        self.loss = ADVERSARIAL[recipe.adversarial]
        self.discriminator = run.distribute(recipe.discriminator)
        self.discriminator_optimizer = torch.optim.Adam(
            recipe.discriminator.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.999)
        )
        self.state |= {
            "discriminator": recipe.discriminator,
            "discriminator_optimizer": self.discriminator_optimizer,
        }
        if recipe.ranker is not None:
            recipe.ranker.to(run.device).eval().requires_grad_(False)
        if recipe.weights.perceptual:
            network = available_network()
            self.perceptual = PerceptualLoss(
                recipe.perceptual_layers,
                network=network,
                after_activation=recipe.after_activation,
                distance=recipe.perceptual_distance,
                relative=network == "vgg16",
            ).to(run.device)

    @property
    def perceptual_description(self) -> str | None:
        """Which perceptual loss it is, for the record."""
        return None if self.perceptual is None else self.perceptual.description

    def run(self, batch: Batch, n: int, iterations: int) -> dict[str, float]:
        """One step of the generator and, in the adversarial stage, one of the discriminator; the losses by name."""
        self._set_rates(n, iterations)
        with self.runtime.autocast():
            sr = self.generator(batch.image)
        sr = sr.float()
        if not self.adversarial:
            losses = {"pixel": F.l1_loss(batch.cut(sr), batch.cut(batch.hr))}
            total = losses["pixel"]
        else:
            losses = self._generator_losses(batch, sr)
            weights = asdict(self.recipe.weights)
            total = sum((weights[name] * value for name, value in losses.items()), start=sr.new_zeros(()))
        self.generator_optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.generator_optimizer.step()
        found = {name: value.item() for name, value in losses.items()}
        if self.adversarial:
            found["discriminator"] = self._discriminator_step(batch, sr.detach())
        return found

    def _set_rates(self, n: int, iterations: int) -> None:
        if not self.adversarial:
            loop.set_rate(self.generator_optimizer, self.recipe.pixel_learning_rate * loop.cosine(n, iterations))
            return
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            loop.set_rate(optimizer, self.recipe.adversarial_rate(n / iterations))

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
            # The bare discriminator: its gradients are not wanted here, and need not be averaged over processes.
            with _frozen(self.recipe.discriminator), self.runtime.autocast():
                real_logits = self.recipe.discriminator(self._view(hr, batch)).detach()
                fake_logits = self.recipe.discriminator(self._view(fake, batch))
            losses["adversarial"] = self.loss.generator(real_logits.float(), fake_logits.float())
        return losses

    def _discriminator_step(self, batch: Batch, sr: Tensor) -> float:
        with self.runtime.autocast():
            real_logits = self.discriminator(self._view(batch.cut(batch.hr), batch))
            fake_logits = self.discriminator(self._view(batch.cut(sr), batch))
        loss = self.loss.discriminator(real_logits.float(), fake_logits.float())
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.discriminator_optimizer.step()
        return loss.item()

    def _view(self, image: Tensor, batch: Batch) -> Tensor:
        """What the discriminator sees of an image."""
        match self.recipe.discriminator_view:
            case "high_pass":
                return high_pass(image)
            case "textured":
                scale = batch.hr.shape[-1] // batch.lr.shape[-1]
                return image * (1 - batch.cut(flat_mask(batch.lr, scale)))
            case _:
                return image


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """No gradients for the network's own parameters inside."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
