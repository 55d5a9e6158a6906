"""Training the super-resolution GAN: pixel loss first, then adversarially."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from acuity.anatomy import Sequence
from acuity.data import brats
from acuity.data.slices import Degradation, crop_margin, degrade, draw_degradation, draw_patches, interpolate_back
from acuity.losses.adversarial import relativistic_discriminator_loss, relativistic_generator_loss
from acuity.losses.perceptual import VGG16Features, perceptual_loss
from acuity.losses.pixel import high_pass, total_variation_loss
from acuity.networks.discriminators import VGGDiscriminator
from acuity.networks.srrescycgan import read_weights
from acuity.training import loop

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LossWeights:
    """Weights of the generator's losses.

    SRResCGAN's are 10 pixel, 1 perceptual, 1 total variation, 1 adversarial, on a pixel loss of 0..1. The
    adversarial and perceptual ones here are smaller: a medical image may not gain texture that was not there.
    ``cycle`` weighs L1(degrade(sr), lr), SRResCycGAN's cycle with the known degradation for its learned inverse.
    """

    pixel: float = 10.0
    perceptual: float = 0.02
    total_variation: float = 1.0
    adversarial: float = 0.005
    cycle: float = 10.0


def read_volumes(folder: Path, names: Seq[str]) -> list[NDArray[np.float16]]:
    """Every sequence of the named cases, cut to the brain's box, divided by its 99.9th percentile in the brain."""
    volumes = []
    for name in tqdm(names, desc="reading cases", mininterval=10):
        images = brats.read_case(folder / name)
        box = brats.brain_box([images[s].array for s in Sequence])
        for sequence in Sequence:
            array = images[sequence].array[box]
            volumes.append((array / np.percentile(array[array > 0], 99.9)).astype(np.float16))
    return volumes


def fine_cases(names: Seq[str]) -> list[str]:
    """Those of ``names`` with fine grey levels; the others are no target for super-resolution."""
    coarse = set(brats.read_split()["coarse"])
    return [name for name in names if name not in coarse]


@torch.no_grad()
def psnr_gain(network: nn.Module, volumes: Seq[NDArray[np.float16]], device: torch.device) -> dict[str, float]:
    """dB by which the network beats cubic interpolation on fixed patches, x2 in both axes and along one."""
    gains: dict[str, list[float]] = {}
    cases = {"x2": (2.0, 2.0), "x2_one_axis": (2.0, 1.0), "x5_one_axis": (5.0, 1.0)}
    for n, volume in enumerate(volumes):
        rng = np.random.default_rng([1, n])
        hr = draw_patches(volume, 4, 96, rng)
        for name, factors in cases.items():
            image = interpolate_back(degrade(hr, Degradation(factors, "cubic")), (hr.shape[-2], hr.shape[-1]))
            sr = network(image.to(device)).cpu()
            errors = [((crop_margin(x) - crop_margin(hr)) ** 2).mean().item() for x in (image, sr)]
            gains.setdefault(name, []).append(10 * math.log10(errors[0] / errors[1]))
    return {f"psnr_gain_{name}": float(np.mean(values)) for name, values in gains.items()}


def train(
    generator: nn.Module,
    *,
    data: str | None = None,
    folder: str,
    iterations: int,
    pretrain_iterations: int,
    batch: int = 8,
    patch: int = 48,
    learning_rate: float = 5e-4,
    adversarial_learning_rate: float = 1e-4,
    loss_weights: LossWeights | dict | None = None,
    perceptual_layer: Seq[int] = (3, 3),
    discriminator_features: int = 32,
    initial_weights: str | None = None,
    ema: float = 0.995,
    seed: int = 0,
    validate_every: int = 200,
    train_volumes: list[NDArray[np.float16]] | None = None,
    validation_volumes: list[NDArray[np.float16]] | None = None,
    device: str | None = None,
) -> Path:
    """Train a generator, resuming where it was cut.

    The first ``pretrain_iterations`` minimise the pixel loss alone; then the discriminator, which sees high-pass
    images, and the other losses join at the smaller rate. The best weights are chosen among the adversarial ones,
    by PSNR on the validation cases.

    Parameters
    ----------
    generator : maps (N, 1, H, W) interpolated to the target grid, 0 to 1, to the super-resolved image
    folder : checkpoints, TensorBoard log and best.pt (a state_dict of ``generator``)
    initial_weights : a state_dict to start from, ours or as SRResCGAN's authors released it
    train_volumes, validation_volumes : prepared already (tests); else the fixed split is read from ``data``
    """
    target_device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    weights = LossWeights(**loss_weights) if isinstance(loss_weights, dict) else loss_weights or LossWeights()
    if train_volumes is None or validation_volumes is None:
        split, source = brats.read_split(), brats.data_folder(data)
        train_volumes = read_volumes(source, fine_cases(split["train"]))
        validation_volumes = read_volumes(source, split["validation"])
    volumes, held_out = train_volumes, validation_volumes
    if initial_weights is not None:
        generator.load_state_dict(read_weights(initial_weights))

    # 10% faster on a CPU; torch's type stubs do not know the argument.
    generator.to(target_device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    discriminator = VGGDiscriminator(1, patch, discriminator_features).to(target_device)
    layer = (int(perceptual_layer[0]), int(perceptual_layer[1]))
    features = VGG16Features(layer).to(target_device) if weights.perceptual else None
    average = loop.averaged(generator, ema)
    generator_optimizer = torch.optim.Adam(generator.parameters(), lr=learning_rate, betas=(0.9, 0.999))
    discriminator_optimizer = torch.optim.Adam(
        discriminator.parameters(), lr=adversarial_learning_rate, betas=(0.9, 0.999)
    )
    logger.info("loss weights: %s", asdict(weights))
    reached = 0

    def batch_of(n: int) -> tuple[Tensor, Tensor, Tensor, Degradation]:
        rng = np.random.default_rng([seed, n])
        hr = draw_patches(volumes[int(rng.integers(len(volumes)))], batch, patch, rng)
        degradation = draw_degradation(rng)
        lr = degrade(hr, degradation)
        image = interpolate_back(lr, (hr.shape[-2], hr.shape[-1]))
        return image.to(target_device), hr.to(target_device), lr.to(target_device), degradation

    def adversarial_terms(sr: Tensor, hr: Tensor, lr: Tensor, degradation: Degradation) -> dict[str, Tensor]:
        fake, real = crop_margin(sr), crop_margin(hr)
        fake_logits, real_logits = discriminator(high_pass(fake)), discriminator(high_pass(real))
        terms = {
            "adversarial": relativistic_generator_loss(real_logits.detach(), fake_logits),
            "total_variation": total_variation_loss(fake, real),
            "cycle": F.l1_loss(degrade(sr, degradation), lr),
        }
        if features is not None:
            terms["perceptual"] = perceptual_loss(features, fake, real)
        return terms

    def discriminator_step(sr: Tensor, hr: Tensor) -> float:
        discriminator.requires_grad_(True)
        real_logits = discriminator(high_pass(crop_margin(hr)))
        fake_logits = discriminator(high_pass(crop_margin(sr.detach())))
        loss = relativistic_discriminator_loss(real_logits, fake_logits)
        discriminator_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        discriminator_optimizer.step()
        return loss.item()

    def step(n: int) -> dict[str, float]:
        nonlocal reached
        reached = n + 1
        adversarial = n >= pretrain_iterations
        rate = (
            adversarial_learning_rate * loop.cosine(n - pretrain_iterations, iterations - pretrain_iterations)
            if adversarial
            else learning_rate * loop.cosine(n, pretrain_iterations)
        )
        for group in generator_optimizer.param_groups:
            group["lr"] = rate
        image, hr, lr, degradation = batch_of(n)
        sr = generator(image)
        terms = {"pixel": F.l1_loss(crop_margin(sr), crop_margin(hr))}
        if adversarial:
            discriminator.requires_grad_(False)
            terms |= adversarial_terms(sr, hr, lr, degradation)
        loss = sum((getattr(weights, name) * value for name, value in terms.items()), start=sr.new_zeros(()))
        generator_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        generator_optimizer.step()
        average.update_parameters(generator)
        losses = {name: value.item() for name, value in terms.items()}
        if adversarial:
            losses["discriminator"] = discriminator_step(sr, hr)
        return losses

    def validate() -> dict[str, float]:
        average.eval()
        metrics = psnr_gain(average.module, held_out, target_device)
        # Weights of the pixel loss alone are never the released ones.
        metrics["score"] = metrics["psnr_gain_x2"] if reached > pretrain_iterations else -math.inf
        return metrics

    @torch.no_grad()
    def images(log: SummaryWriter, n: int) -> None:
        hr = draw_patches(held_out[0], 4, 96, np.random.default_rng(2))
        image = interpolate_back(degrade(hr, Degradation((2.0, 2.0), "cubic")), (hr.shape[-2], hr.shape[-1]))
        rows = torch.cat([image, average.module(image.to(target_device)).cpu(), hr], dim=-1)
        log.add_images("interpolated, super-resolved, truth", rows.clamp(0, 1), n)

    return loop.run(
        step, iterations=iterations, folder=Path(folder), validate=validate, validate_every=validate_every,
        weights=lambda: dict(average.module.state_dict()), metric="score", images=images,
        state={
            "generator": generator, "discriminator": discriminator, "average": average,
            "generator_optimizer": generator_optimizer, "discriminator_optimizer": discriminator_optimizer,
        },
    )
