"""The one trainer of segmentation: 2D and 3D networks of any recipe, and the released pair's two stages."""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import asdict
from pathlib import Path

import monai
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.tensorboard import SummaryWriter

from acuity.anatomy import Region, Sequence
from acuity.errors import any_as_data_error
from acuity.imaging.regions import tidied
from acuity.models.segmentation import ONE_VIEW
from acuity.networks.slicewise import sees_several_planes
from acuity.research.losses.segmentation import agreement_loss
from acuity.research.metrics.overlap import dice
from acuity.research.sampling.augmentation import STANDARD, Augmentation
from acuity.research.sampling.patches import Batch, Patches, PreparedCase
from acuity.research.sampling.preparation import low_grade_twice, prepare_cases
from acuity.research.segmenters import whole_brain_logits
from acuity.research.synthetic.transplant import OtherBrains
from acuity.research.training import loop, runtime
from acuity.research.training.segmentation_recipe import SegmentationRecipe
from acuity.resources import file_sha256

SETTINGS = "settings.json"
MAX_GRADIENT = 5.0  # norm above which gradients are shrunk

# From a module and a whole brain (4, I, J, K) to its logits (3, I, J, K).
LogitsOf = Callable[[nn.Module, Tensor], Tensor]


def read_variants(sources: Seq[str | Path], names: Seq[str]) -> dict[str, list[PreparedCase]]:
    """Degraded versions of the named cases, by name.

    Parameters
    ----------
    sources : files that ``acuity.research.training.degraded`` made, and folders laid out as BraTS whose cases have its names

    Raises
    ------
    DataError : a file is absent or holds something else
    """
    variants: dict[str, list[PreparedCase]] = {}
    for source in map(Path, sources):
        if source.is_dir():
            found = prepare_cases(source, [name for name in names if (source / name).is_dir()])
        else:
            found = [case for case in _read_prepared(source) if case.name in names]
        for case in found:
            variants.setdefault(case.name, []).append(case)
    return variants


def _read_prepared(path: Path) -> list[PreparedCase]:
    with any_as_data_error(
        f"{path} cannot be read as degraded cases",
        rule="Each case is a dict of the fields of acuity.research.sampling.patches.PreparedCase.",
        remedy="Make the file with the segmentation bundle's `degrade`, see its docs.",
    ):
        return [PreparedCase(**item) for item in torch.load(path, weights_only=True)]


def _whole_brain(network: nn.Module, image: Tensor) -> Tensor:
    return whole_brain_logits(network, image, ONE_VIEW)


def train(
    recipe: SegmentationRecipe,
    cases: Seq[PreparedCase],
    validation_cases: Seq[PreparedCase],
    *,
    folder: str | Path,
    iterations: int,
    initial_weights: str | Path | None = None,
    variants: dict[str, list[PreparedCase]] | None = None,
    variant_share: float = 0.5,
    consistency: float = 0.0,
    augmentation: Augmentation = STANDARD,
    tumor_share: float = 0.6,
    other: OtherBrains | None = None,
    other_share: float = 0.2,
    spacing: float = 1.0,
    ema: float = 0.995,
    seed: int = 0,
    validate_every: int = 250,
    keep_last: bool = False,
    frozen_statistics: bool = False,
    device: str | None = None,
    release: Callable[[nn.Module], nn.Module] = lambda average: average,
    logits_of: LogitsOf = _whole_brain,
) -> Path:
    """Train a recipe's network, resuming where it was cut; under torchrun in several processes.

    Kept are the averaged weights of the highest mean Dice over whole validation brains, tidied as released, or the
    last ones.

    Parameters
    ----------
    cases : those of low grade, as the fixed split names them, are drawn twice as often as others
    folder : checkpoints, TensorBoard log with sample images, settings.json, and best.pt (a state_dict of what
        ``release`` gives)
    initial_weights : a state_dict of the recipe's network to start from
    variants : degraded versions of cases by name, which stand in for their case with probability ``variant_share``:
        super-resolved and interpolated inputs, so that they are not foreign
    consistency : weight of the squared difference between the probabilities on a variant and on the same place of its
        case, which then is trained on too; 0 leaves both out
    augmentation : what patches are perturbed by
    tumor_share : how many patches are centered on the tumor
    other, other_share : brains beside the cases, and how many patches are theirs
    spacing : of the training cases' voxels in mm
    ema : decay of the averaged weights
    keep_last : whatever the validation says, which then tells what it would of cases never seen
    frozen_statistics : batch normalization keeps the means and deviations that it has: those of a few cases are not
        those of all
    release : from the averaged network to the module that is validated and kept
    logits_of : how that module sees a whole brain of ``validation_cases``, which are at 1 mm

    Raises
    ------
    DataError : initial weights that cannot be read or are not the network's
    NonFiniteLossError : see ``acuity.research.training.loop.run``
    """
    run = runtime.start(device)
    cases = low_grade_twice(cases)
    network = recipe.network
    start = None if initial_weights is None else _start_from(network, Path(initial_weights))
    # 10% faster on a CPU; torch's type stubs do not know the argument.
    layout = torch.channels_last_3d if any(p.ndim == 5 for p in network.parameters()) else torch.channels_last
    network.to(run.device, memory_format=layout)  # type: ignore[call-overload]
    average = loop.averaged(network, ema)
    released = release(average.module).to(run.device)
    steps = _Steps(recipe, run, consistency, frozen_statistics)
    i, j, k = (int(n) for n in recipe.patch)
    patches = Patches(
        cases,
        (i, j, k),
        variants or {},
        variant_share,
        tumor_share,
        augmentation,
        spacing,
        twins=consistency > 0,
        other=other.draw if other else None,
        other_share=other_share,
        turned=sees_several_planes(network),
    )
    if run.rank == 0:
        Path(folder).mkdir(parents=True, exist_ok=True)
        settings = {
            "network": type(network).__name__,
            "parameters": sum(p.numel() for p in network.parameters()),
            "loss": recipe.loss.__name__,
            "optimizer": recipe.optimizer,
            "learning_rate": recipe.learning_rate,
            "constant_share": recipe.constant_share,
            "iterations": iterations,
            "batch": recipe.batch,
            "patch": [i, j, k],
            "spacing": spacing,
            "processes": run.processes,
            "seed": seed,
            "ema": ema,
            "tumor_share": tumor_share,
            "initial_weights": start,
            "variants": sorted(variants or ()),
            "variant_share": variant_share,
            "consistency": consistency,
            "augmentation": asdict(augmentation),
            "tumor_free": [brain.name for brain in other.tumor_free] if other else [],
            "grafts": [graft.name for graft in other.grafts] if other else [],
            "other_share": other_share,
            "cases": [case.name for case in cases],
            "torch": torch.__version__,
            "monai": monai.__version__,
        }
        (Path(folder) / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n")
    found: dict[str, NDArray[np.bool_]] = {}

    def step(n: int) -> dict[str, float]:
        rng = np.random.default_rng([seed, n, run.rank])
        torch.manual_seed(int(rng.integers(2**31)))  # of dropout, so that a resumed run drops the same
        losses = steps.run(patches.draw(recipe.batch, rng).to(run.device), recipe.rate(n, iterations))
        average.update_parameters(network)
        return losses

    def validate() -> dict[str, float]:
        released.eval()
        found.update({case.name: _regions(released, case, logits_of, run.device) for case in validation_cases})
        return dice_by_region([found[case.name] for case in validation_cases], validation_cases)

    def images(log: SummaryWriter, n: int) -> None:
        for case in validation_cases:
            log.add_image(f"{case.name}: T1c, FLAIR, truth, found", overview(case, found[case.name]), n)

    path = loop.run(
        step,
        iterations=iterations,
        folder=Path(folder),
        validate=validate,
        validate_every=validate_every,
        weights=lambda: dict(released.state_dict()),
        metric=None if keep_last else "dice",
        images=images,
        rank=run.rank,
        state={"network": network, "average": average, "optimizer": steps.optimizer},
    )
    run.wait()
    return path


class _Steps:
    """The optimization steps; holds the optimizer."""

    def __init__(
        self, recipe: SegmentationRecipe, run: runtime.Runtime, consistency: float, frozen_statistics: bool
    ) -> None:
        self.recipe, self.runtime, self.consistency = recipe, run, consistency
        self.frozen = [m for m in recipe.network.modules() if frozen_statistics and isinstance(m, _BatchNorm)]
        self.network = run.distribute(recipe.network)
        self.optimizer = recipe.make_optimizer(recipe.network.parameters())

    def run(self, batch: Batch, rate: float) -> dict[str, float]:
        """One step; the losses by name."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        for norm in self.frozen:
            norm.eval()
        with self.runtime.autocast():
            outputs = self.network(batch.image)
        logits = [output.float() for output in (outputs if isinstance(outputs, list) else [outputs])]
        total = torch.stack([self.recipe.loss(one, _middle(batch.target, one)) for one in logits]).mean()
        losses = {"region": total}
        if self.consistency and batch.twins:
            first, second = (logits[0][list(indices)] for indices in zip(*batch.twins, strict=True))
            losses["consistency"] = agreement_loss(first, second)
            total = total + self.consistency * losses["consistency"]
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.recipe.network.parameters(), MAX_GRADIENT)
        self.optimizer.step()
        return {name: value.item() for name, value in losses.items()}


def _middle(target: Tensor, logits: Tensor) -> Tensor:
    """Of a target (N, R, I, J, K) the middle, as large as the logits: a network may see more than it segments."""
    starts = [(n - m) // 2 for n, m in zip(target.shape[2:], logits.shape[2:], strict=True)]
    box = (slice(start, start + m) for start, m in zip(starts, logits.shape[2:], strict=True))
    return target[(slice(None), slice(None), *box)]


def dice_by_region(preds: Seq[NDArray[np.bool_]], cases: Seq[PreparedCase]) -> dict[str, float]:
    """Mean Dice over cases of each region, as "dice_ET", and of all, "dice"; preds : (3, I, J, K) each."""
    scores = np.array(
        [
            [dice(p, t) for p, t in zip(pred, case.regions.numpy().astype(bool), strict=True)]
            for pred, case in zip(preds, cases, strict=True)
        ]
    )
    by_region = zip([f"dice_{r.value}" for r in Region], scores.mean(axis=0), strict=True)
    return {**{name: float(value) for name, value in by_region}, "dice": float(scores.mean())}


def overview(case: PreparedCase, preds: NDArray[np.bool_]) -> Tensor:
    """(3, J, 4 I), 0 to 1: T1c, FLAIR, truth and ``preds`` (3, I, J, K) in the axial slice of the largest tumor.

    Of regions, ET, TC and WT are the red, the green and the blue channel.
    """
    k = int(case.regions[2].sum(dim=(0, 1)).argmax())
    channels = [list(Sequence).index(sequence) for sequence in (Sequence.T1C, Sequence.FLAIR)]
    grays = [case.image[channel, :, :, k].float().expand(3, -1, -1) for channel in channels]
    scaled = [((gray + 2) / 6).clamp(0, 1) * (gray != 0) for gray in grays]
    masks = [case.regions[..., k].float(), torch.from_numpy(preds[..., k]).float()]
    return torch.cat([*scaled, *masks], dim=1).transpose(1, 2)


@torch.no_grad()
def _regions(module: nn.Module, case: PreparedCase, logits_of: LogitsOf, device: torch.device) -> NDArray[np.bool_]:
    logits = logits_of(module, case.image.float().to(device))
    return tidied((logits > 0).cpu().numpy())


def _start_from(network: nn.Module, path: Path) -> dict[str, str]:
    """Load the weights; which they are, for the record."""
    with any_as_data_error(
        f"{path} does not hold weights of the recipe's {type(network).__name__}",
        rule="Initial weights must be of the recipe's network, in its size.",
        remedy="Name the best.pt of the same recipe, and --paper-size as it was trained with.",
    ):
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return {"file": path.name, "sha256": file_sha256(path)}
