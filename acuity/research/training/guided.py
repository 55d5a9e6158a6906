"""Training super-resolution on, with the loss of a frozen segmenter through it."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from acuity.errors import BundleError
from acuity.imaging.forward_model import resize_cubic
from acuity.models.bundle import load_bundle
from acuity.models.segmentation import ONE_VIEW
from acuity.research.losses.segmentation import agreement_loss, dice_cross_entropy_loss
from acuity.research.segmenters import whole_brain_logits
from acuity.research.training import loop, runtime
from acuity.research.training.guided_patches import (
    MARGIN,
    GuidedPatch,
    ScaledCase,
    Size,
    VolumeDegradation,
    draw_degradation,
    draw_patch,
)
from acuity.research.training.super_resolution import SETTINGS, set_rate, start_from

logger = logging.getLogger(__name__)

# What validation patches are degraded by: as LRBraTS, and as axial slices of 5 mm at 1 mm in the plane.
VALIDATION = {
    "x2": VolumeDegradation((2.0, 2.0, 2.0), "cubic"),
    "thick": VolumeDegradation((1.0, 1.0, 5.0), "box"),
}


@dataclass(frozen=True)
class Guidance:
    """Weights of the segmenter's losses beside the pixel loss, whose weight is 1; a loss of weight 0 is not computed.

    Parameters
    ----------
    segmentation : of Dice and cross-entropy of what the segmenter finds in the result, against the truth
    agreement : of the squared difference of its probabilities in the result and in the original
    """

    segmentation: float = 0.0
    agreement: float = 0.0


def read_segmenter(bundle: str | Path) -> nn.Module:
    """The fine network of a segmentation bundle, given by its folder: (N, 4, I, J, K) to logits (N, 3, I, J, K).

    Raises
    ------
    BundleNotFoundError, BundleError : see ``acuity.models.bundle.load_bundle``; or it has no fine network
    """
    folder = Path(bundle).resolve()
    loaded = load_bundle(folder.parent, folder.name)
    if not hasattr(loaded.network, "fine"):
        raise BundleError(
            f"The network of the bundle {loaded.name} is {type(loaded.network).__name__}.",
            rule="Super-resolution is guided by the fine network of a coarse-to-fine pair.",
            remedy="Give the folder of the bundle brain_tumor_segmentation.",
        )
    logger.info("guided by %s %s, weights %s", loaded.name, loaded.version, loaded.weights_sha256)
    return loaded.network.get_submodule("fine")


def refined(lr: Tensor, size: Size, network: nn.Module) -> Tensor:
    """Super-resolve (C, i, j, k) to (C, *size) as ``acuity.models.super_resolution`` does, with gradients.

    Slices across the axis that lost most are restored in their plane, then slices of a plane that holds this axis. The
    network sees background too, which is interpolated there. The projection onto the measured data is left out: it
    takes tens of steps, whose gradients would be costly.

    Parameters
    ----------
    lr : of one axis less fine than ``size``, or of all three and equally so
    network : (N, 1, h, w), interpolated to the target, to the same shape
    """
    *in_plane, through = [axis for axis in range(3) if lr.shape[1 + axis] < size[axis]]
    across = 1 if through == 0 else 0
    current = lr
    for axes, normal in [(in_plane, through), ([through], across)]:
        if not axes:
            continue
        shape = tuple(size[axis] if axis in axes else current.shape[1 + axis] for axis in range(3))
        ratios = tuple(m / n for m, n in zip(current.shape[1:], shape, strict=True))
        current = _restored(resize_cubic(current, shape, ratios).clamp_min(0), normal, network)
    return current


def _restored(volume: Tensor, normal: int, network: nn.Module) -> Tensor:
    """Run the network over the slices of (C, I, J, K) that follow one another along ``normal``."""
    slices = torch.movedim(volume, 1 + normal, 1)
    flat = slices.reshape(-1, 1, *slices.shape[2:]).contiguous(memory_format=torch.channels_last)
    return torch.movedim(network(flat).reshape(slices.shape), 1, 1 + normal).clamp_min(0)


def guided_losses(sr: Tensor, patch: GuidedPatch, segmenter: nn.Module, guidance: Guidance) -> dict[str, Tensor]:
    """L1, and those of the segmenter's losses that have a weight, inside the margin; by name.

    Parameters
    ----------
    sr : (4, I, J, K), of the size of the patch's ``hr``
    segmenter : (N, 4, I, J, K), z-scored, to logits (N, 3, I, J, K); in eval mode
    """
    losses = {"pixel": F.l1_loss(_cut(sr), _cut(patch.hr))}
    if not (guidance.segmentation or guidance.agreement):
        return losses
    logits = _cut(whole_brain_logits(segmenter, patch.scored(sr), ONE_VIEW))[None]
    if guidance.segmentation:
        losses["segmentation"] = dice_cross_entropy_loss(logits, _cut(patch.regions)[None])
    if guidance.agreement:
        with torch.no_grad():
            original = _cut(whole_brain_logits(segmenter, patch.scored(patch.hr), ONE_VIEW))[None]
        losses["agreement"] = agreement_loss(logits, original)
    return losses


def total_loss(losses: Mapping[str, Tensor], guidance: Guidance) -> Tensor:
    """The sum of ``guided_losses``, weighted."""
    weights = {"pixel": 1.0, **asdict(guidance)}
    return torch.stack([weights[name] * value for name, value in losses.items()]).sum()


@torch.no_grad()
def gains(network: nn.Module, segmenter: nn.Module, patches: Mapping[str, Seq[GuidedPatch]]) -> dict[str, float]:
    """What the network gains over tricubic interpolation, mean over the patches of each kind.

    Returns
    -------
    "psnr_gain_KIND" in dB, "segmentation_gain_KIND": the fall of the segmentation loss, and "segmentation_gain", the
    mean of the latter. For given patches that is the negative of the loss and a constant.
    """
    only_segmentation = Guidance(segmentation=1.0)
    found: dict[str, float] = {}
    for kind, ones in patches.items():
        psnr, segmentation = [], []
        for one in ones:
            images = (one.interpolated(), refined(one.lr, one.size, network))
            errors = [F.mse_loss(_cut(image), _cut(one.hr)).item() for image in images]
            psnr.append(10 * math.log10(errors[0] / errors[1]))
            first, second = (guided_losses(image, one, segmenter, only_segmentation) for image in images)
            segmentation.append((first["segmentation"] - second["segmentation"]).item())
        found[f"psnr_gain_{kind}"] = float(np.mean(psnr))
        found[f"segmentation_gain_{kind}"] = float(np.mean(segmentation))
    found["segmentation_gain"] = float(np.mean([found[f"segmentation_gain_{kind}"] for kind in patches]))
    return found


def train(
    network: nn.Module,
    segmenter: nn.Module,
    cases: Seq[ScaledCase],
    validation_cases: Seq[ScaledCase],
    *,
    guidance: Guidance,
    folder: str | Path,
    iterations: int,
    patch: Seq[int] = (40, 40, 24),
    tumor_share: float = 0.7,
    learning_rate: float = 1e-4,
    initial_weights: str | Path | None = None,
    ema: float = 0.99,
    seed: int = 0,
    validate_every: int = 50,
    device: str | None = None,
) -> Path:
    """Train a network of the clinical chain on, resuming where it was cut; under torchrun in several processes.

    Each step sees one patch of one case, in all four sequences. Kept are the averaged weights of the lowest
    segmentation loss on patches of the validation cases' tumors. Precision is full on a GPU too: bfloat16 would
    round what is interpolated to 8 bits.

    Parameters
    ----------
    network : (N, 1, h, w), interpolated slices of 0 to about 1, to the same shape
    segmenter : (N, 4, I, J, K), z-scored, to logits (N, 3, I, J, K); it is frozen, and stays so
    guidance : without any weight the network is trained by L1 alone, on the same patches
    folder : checkpoints, TensorBoard log with sample images, settings.json, and best.pt (the network's state_dict)
    patch : voxels along i, j, k, without the margin
    tumor_share : how many patches are centered on the tumor
    initial_weights : a file to start from, ours or as published, see ``acuity.research.weights.checkpoints``
    ema : decay of the averaged weights

    Returns
    -------
    best.pt

    Raises
    ------
    DataError : initial weights that cannot be read or are not the network's
    NonFiniteLossError : see ``acuity.research.training.loop.run``
    """
    run = runtime.start(device)
    start = None if initial_weights is None else start_from(network, Path(initial_weights))
    # 10% faster on a CPU; torch's type stubs do not know the argument.
    network.to(run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    segmenter.to(run.device).eval().requires_grad_(False)
    average = loop.averaged(network, ema)
    trained = run.distribute(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    i, j, k = (int(n) for n in patch)
    held_out = {
        kind: [
            draw_patch(case, (i, j, k), 1.0, degradation, np.random.default_rng([1, n])).to(run.device)
            for n, case in enumerate(validation_cases)
        ]
        for kind, degradation in VALIDATION.items()
    }
    if run.rank == 0:
        Path(folder).mkdir(parents=True, exist_ok=True)
        settings = {
            "guidance": asdict(guidance),
            "iterations": iterations,
            "patch": [i, j, k],
            "margin": MARGIN,
            "tumor_share": tumor_share,
            "learning_rate": learning_rate,
            "processes": run.processes,
            "seed": seed,
            "ema": ema,
            "initial_weights": start,
            "segmenter": {
                "network": type(segmenter).__name__,
                "parameters": sum(p.numel() for p in segmenter.parameters()),
            },
            "cases": [case.name for case in cases],
            "torch": torch.__version__,
        }
        (Path(folder) / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n")

    def step(n: int) -> dict[str, float]:
        set_rate(optimizer, learning_rate * loop.cosine(n, iterations))
        rng = np.random.default_rng([seed, n, run.rank])
        case = cases[int(rng.integers(len(cases)))]
        one = draw_patch(case, (i, j, k), tumor_share, draw_degradation(rng), rng).to(run.device)
        losses = guided_losses(refined(one.lr, one.size, trained), one, segmenter, guidance)
        optimizer.zero_grad(set_to_none=True)
        total_loss(losses, guidance).backward()
        optimizer.step()
        average.update_parameters(network)
        return {name: value.item() for name, value in losses.items()}

    def validate() -> dict[str, float]:
        average.eval()
        return gains(average.module, segmenter, held_out)

    @torch.no_grad()
    def images(log: SummaryWriter, n: int) -> None:
        for kind, ones in held_out.items():
            row = [ones[0].interpolated(), refined(ones[0].lr, ones[0].size, average.module), ones[0].hr]
            # Sagittal slices are those that the network restores last, across thick axial slices and for x2.
            log.add_image(f"{kind}: interpolated, super-resolved, truth; T1, T1c, T2, FLAIR", _sagittal(row), n)

    path = loop.run(
        step,
        iterations=iterations,
        folder=Path(folder),
        validate=validate,
        validate_every=validate_every,
        weights=lambda: dict(average.module.state_dict()),
        metric="segmentation_gain",
        images=images,
        rank=run.rank,
        state={"network": network, "average": average, "optimizer": optimizer},
    )
    run.wait()
    return path


def _cut(volume: Tensor) -> Tensor:
    """(C, I, J, K) without the margin."""
    inner = slice(MARGIN, -MARGIN)
    return volume[:, inner, inner, inner]


def _sagittal(volumes: Seq[Tensor]) -> Tensor:
    """(1, rows, columns): a row for each of (C, I, J, K), of the middle sagittal slices of its channels, head up."""
    rows = [torch.cat([channel[len(channel) // 2].T.flip(0) for channel in volume], dim=1) for volume in volumes]
    return torch.cat(rows)[None].clamp(0, 1)
