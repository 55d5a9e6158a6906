"""Training the tumour segmentation: the coarse network first, then the fine one from its weights."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence as Seq
from pathlib import Path

import numpy as np
import torch
from monai.losses import DiceLoss
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from acuity.anatomy import Region, Sequence, labels_to_regions
from acuity.data import brats
from acuity.data.patches import Crop, PreparedCase, draw_centre, draw_matrix, perturb, take
from acuity.imaging.intensity import zscore
from acuity.imaging.regions import tidied
from acuity.inference.segmentation import ONE_VIEW, coarse_to_fine
from acuity.metrics.overlap import dice
from acuity.networks.equiunet import CoarseToFine
from acuity.training import loop
from acuity.volume import Volume

logger = logging.getLogger(__name__)


def prepare(name: str, images: dict[Sequence, Volume], labels: Volume) -> PreparedCase:
    """Z-score the four images of a stripped brain over it and cut them to its box."""
    box = brats.brain_box([images[s].array for s in Sequence])
    brain = np.any([images[s].array > 0 for s in Sequence], axis=0)
    mask = labels.with_array(brain.astype(np.uint8))
    image = np.stack([zscore(images[s], mask).array[box] for s in Sequence]).astype(np.float16)
    return PreparedCase(
        name, torch.from_numpy(image), torch.from_numpy(labels_to_regions(labels.array[box]).astype(np.uint8))
    )


def prepare_cases(folder: Path, names: Seq[str]) -> list[PreparedCase]:
    """The named BraTS cases, prepared."""
    return [
        prepare(name, brats.read_case(folder / name), brats.read_labels(folder / name))
        for name in tqdm(names, desc="reading cases", mininterval=10)
    ]


def pooled(case: PreparedCase) -> PreparedCase:
    """A case at half its resolution: averages of 2x2x2 voxels, as the coarse network sees it."""
    image = F.avg_pool3d(case.image.float()[None], 2)[0]
    regions = F.avg_pool3d(case.regions.float()[None], 2)[0] >= 0.5
    return PreparedCase(case.name, image.half(), regions.to(torch.uint8))


def region_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Dice with squared denominators (methods of Open BraTS) plus cross-entropy, mean over ET, TC, WT.

    logits, target : (N, 3, D, H, W)
    """
    overlap = DiceLoss(sigmoid=True, squared_pred=True, smooth_nr=1.0, smooth_dr=1.0)(logits, target)
    return overlap + F.binary_cross_entropy_with_logits(logits, target)


@torch.no_grad()
def validation_dice(network: CoarseToFine, cases: Seq[PreparedCase], device: torch.device) -> dict[str, float]:
    """Mean Dice by region over whole brains, by both networks as they are released but for the mirrored views."""
    scores = np.array([
        [dice(p, t) for p, t in zip(_one_view(network, case, device), case.regions.numpy().astype(bool), strict=True)]
        for case in cases
    ])
    by_region = dict(zip([f"dice_{r.value}" for r in Region], scores.mean(axis=0), strict=True))
    return {**{k: float(v) for k, v in by_region.items()}, "dice": float(scores.mean())}


def _one_view(network: CoarseToFine, case: PreparedCase, device: torch.device) -> NDArray[np.bool_]:
    image = case.image.float().to(device)
    logits = coarse_to_fine(image, network, coarse_views=ONE_VIEW, fine_views=ONE_VIEW)
    return tidied((logits > 0).cpu().numpy())


def train(
    network: CoarseToFine,
    *,
    stage: str,
    data: str | None = None,
    folder: str,
    iterations: int,
    patch: Seq[int] = (48, 64, 48),
    learning_rate: float = 2e-3,
    tumor_share: float = 0.6,
    initial_weights: str | None = None,
    ema: float = 0.995,
    seed: int = 0,
    validate_every: int = 250,
    degraded: Seq[str] = (),
    degraded_share: float = 0.5,
    train_cases: Seq[PreparedCase] | None = None,
    validation_cases: Seq[PreparedCase] | None = None,
    device: str | None = None,
) -> Path:
    """Train one stage, resuming where it was cut.

    Parameters
    ----------
    network : holds both networks; the other stage's weights pass through unchanged
    stage : "coarse" (images pooled by 2) or "fine" (full resolution)
    data : folder of BraTS cases, see ``brats.data_folder``
    folder : checkpoints, TensorBoard log and best.pt (a state_dict of ``network``)
    patch : voxels of the stage's resolution, multiples of 8
    tumor_share : how many patches are centred on the tumour
    initial_weights : a state_dict of ``network`` to start from
    ema : decay of the averaged weights, which are what validates and is released
    degraded : files of prepared cases made by ``acuity.training.degraded`` that stand in for a case's own image
        with probability ``degraded_share``: super-resolved and interpolated inputs, so that they are not foreign
    train_cases, validation_cases : prepared already (tests); else the fixed split is read from ``data``
    """
    target_device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if train_cases is None or validation_cases is None:
        split = brats.read_split()
        source = brats.data_folder(data)
        train_cases = prepare_cases(source, split["train"])
        validation_cases = prepare_cases(source, split["validation"])
    variants: dict[str, list[PreparedCase]] = {}
    for path in degraded:
        for item in torch.load(path, weights_only=True):
            variants.setdefault(item["name"], []).append(PreparedCase(**item))
    if stage == "coarse":
        train_cases = [pooled(c) for c in train_cases]
        variants = {name: [pooled(c) for c in cases] for name, cases in variants.items()}
    size = (int(patch[0]), int(patch[1]), int(patch[2]))

    if initial_weights is not None:
        network.load_state_dict(torch.load(initial_weights, map_location="cpu", weights_only=True))
    # 10% faster on a CPU; torch's type stubs do not know the argument.
    network.to(target_device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    trained = network.coarse if stage == "coarse" else network.fine
    average = loop.averaged(trained, ema)
    released = _with_average(network, stage, average.module)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=learning_rate, weight_decay=1e-5)

    def step(n: int) -> dict[str, float]:
        rng = np.random.default_rng([seed, n])
        case = train_cases[int(rng.integers(len(train_cases)))]
        if case.name in variants and rng.random() < degraded_share:
            case = variants[case.name][int(rng.integers(len(variants[case.name])))]
        crop = Crop(draw_centre(case, tumor_share, rng), draw_matrix(rng))
        image = perturb(take(case.image, crop, size), rng)[None].to(target_device)
        target = (take(case.regions, crop, size) >= 0.5).float()[None].to(target_device)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * loop.cosine(n, iterations)
        optimizer.zero_grad(set_to_none=True)
        loss = region_loss(trained(image), target)
        loss.backward()
        nn.utils.clip_grad_norm_(trained.parameters(), 5.0)
        optimizer.step()
        average.update_parameters(trained)
        return {"region_loss": loss.item()}

    def validate() -> dict[str, float]:
        released.eval()
        return validation_dice(released, validation_cases, target_device)

    return loop.run(
        step, iterations=iterations, folder=Path(folder), validate=validate, validate_every=validate_every,
        weights=lambda: dict(released.state_dict()), metric="dice",
        state={"network": network, "average": average, "optimizer": optimizer},
    )


def _with_average(network: CoarseToFine, stage: str, average: nn.Module) -> CoarseToFine:
    """A copy of ``network`` that runs ``average`` as its stage; before the fine stage is trained, the coarse alone."""
    released = copy.deepcopy(network)
    setattr(released, stage, average)
    if stage == "coarse":
        released.fine_weight = 0.0
    return released
