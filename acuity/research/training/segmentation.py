"""The one trainer of segmentation: 2D and 3D networks of any recipe, and the released pair's two stages."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass
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
from acuity.research.metrics.overlap import dice
from acuity.research.sampling.augmentation import STANDARD, Augmentation
from acuity.research.sampling.patches import Batch, Patches, PreparedCase
from acuity.research.segmenters import whole_brain_logits
from acuity.research.training import loop, runtime
from acuity.research.training.data import TrainingData
from acuity.research.training.segmentation_recipe import Recipe
from acuity.resources import file_sha256

MAX_GRADIENT = 5.0  # norm above which gradients are shrunk

# From the number of patches and a generator to a batch that depends on that generator alone.
Draw = Callable[[int, np.random.Generator], Batch]
# From a module and a whole brain (4, I, J, K) to its logits (3, I, J, K).
LogitsOf = Callable[[nn.Module, Tensor], Tensor]


@dataclass(frozen=True)
class Plan:
    """How a network is trained; the recipe says which.

    Parameters
    ----------
    iterations : steps in all
    augmentation : what patches are perturbed by
    tumor_share : part of the patches that are centered on the tumor
    ema : decay of the averaged weights
    seed : of what is drawn
    validate_every : iterations
    keep_last : keep the last weights instead of the best, so that the validation stays independent of the choice
    frozen_statistics : batch normalization keeps its means and deviations; a few cases would give unlike ones
    """

    iterations: int
    augmentation: Augmentation = STANDARD
    tumor_share: float = 0.6
    ema: float = 0.995
    seed: int = 0
    validate_every: int = 250
    keep_last: bool = False
    frozen_statistics: bool = False


def _whole_brain(network: nn.Module, image: Tensor) -> Tensor:
    return whole_brain_logits(network, image, ONE_VIEW)


def train(
    recipe: Recipe,
    data: TrainingData,
    plan: Plan,
    *,
    folder: str | Path,
    initial_weights: str | Path | None = None,
    device: str | None = None,
    draw: Draw | None = None,
    release: Callable[[nn.Module], nn.Module] = lambda average: average,
    logits_of: LogitsOf = _whole_brain,
) -> Path:
    """Train a recipe's network, resuming where it was cut; under torchrun in several processes.

    The averaged weights of the highest mean Dice over whole validation brains are kept, or the last ones. Regions are
    tidied before they are scored, as in the application.

    Parameters
    ----------
    folder : checkpoints, TensorBoard log with sample images, settings.json, and best.pt (a state_dict of what
        ``release`` gives)
    initial_weights : a state_dict of the recipe's network to start from
    device : "cpu" or "cuda", instead of what is found
    draw : gives the batch of a step, in place of patches from the sources of ``data``
    release : from the averaged network to the module that is validated and kept
    logits_of : how that module sees a whole brain of ``data.held_out``

    Returns
    -------
    The path of best.pt

    Raises
    ------
    DataError : initial weights that cannot be read or are not the network's
    NonFiniteLossError : see ``acuity.research.training.loop.run``
    """
    run = runtime.start(device)
    network = recipe.network
    start = None if initial_weights is None else _start_from(network, Path(initial_weights))
    # 10% faster on a CPU; torch's type stubs do not know the argument.
    layout = torch.channels_last_3d if any(p.ndim == 5 for p in network.parameters()) else torch.channels_last
    network.to(run.device, memory_format=layout)  # type: ignore[call-overload]
    average = loop.averaged(network, plan.ema)
    released = release(average.module).to(run.device)
    steps = _Steps(recipe, run, plan.frozen_statistics)
    i, j, k = (int(n) for n in recipe.patch)
    turned = sees_several_planes(network)
    if draw is None:
        draw = Patches(data.sources, (i, j, k), plan.tumor_share, plan.augmentation, data.spacing, turned).draw
    if run.rank == 0:
        loop.write_settings(Path(folder), _settings(recipe, data, plan) | {"initial_weights": start} | run.settings)
    found: dict[str, NDArray[np.bool_]] = {}

    def step(n: int) -> dict[str, float]:
        rng = np.random.default_rng([plan.seed, n, run.rank])
        torch.manual_seed(int(rng.integers(2**31)))  # of dropout, so that a resumed run drops the same
        losses = steps.run(draw(recipe.batch, rng).to(run.device), recipe.rate(n, plan.iterations))
        average.update_parameters(network)
        return losses

    def validate() -> dict[str, float]:
        released.eval()
        found.update({case.name: _regions(released, case, logits_of, run.device) for case in data.held_out})
        return dice_by_region([found[case.name] for case in data.held_out], data.held_out)

    def images(log: SummaryWriter, n: int) -> None:
        for case in data.held_out:
            log.add_image(f"{case.name}: T1c, FLAIR, truth, found", overview(case, found[case.name]), n)

    path = loop.run(
        step,
        iterations=plan.iterations,
        folder=Path(folder),
        validate=validate if data.held_out else None,
        validate_every=plan.validate_every,
        weights=lambda: dict(released.state_dict()),
        metric=None if plan.keep_last else "dice",
        images=images,
        rank=run.rank,
        state={"network": network, "average": average, "optimizer": steps.optimizer},
    )
    run.wait()
    return path


def _settings(recipe: Recipe, data: TrainingData, plan: Plan) -> dict[str, object]:
    """The settings that are recorded."""
    return {
        "network": type(recipe.network).__name__,
        "parameters": sum(p.numel() for p in recipe.network.parameters()),
        "loss": recipe.loss.__name__,
        "optimizer": recipe.optimizer,
        "learning_rate": recipe.learning_rate,
        "constant_share": recipe.constant_share,
        "batch": recipe.batch,
        "patch": [int(n) for n in recipe.patch],
        **asdict(plan),
        "spacing": data.spacing,
        "cases": [case.name for case in data.cases],
        "weights": data.weights,
        "others": [{"share": source.share, "names": source.all_names} for source in data.others],
        "held_out": [case.name for case in data.held_out],
        "monai": monai.__version__,
    }


class _Steps:
    """The optimization steps; holds the optimizer."""

    def __init__(self, recipe: Recipe, run: runtime.Runtime, frozen_statistics: bool) -> None:
        self.recipe, self.runtime = recipe, run
        self.frozen = [m for m in recipe.network.modules() if frozen_statistics and isinstance(m, _BatchNorm)]
        self.network = run.distribute(recipe.network)
        self.optimizer = recipe.make_optimizer(recipe.network.parameters())

    def run(self, batch: Batch, rate: float) -> dict[str, float]:
        """One step; the losses by name."""
        loop.set_rate(self.optimizer, rate)
        self.network.train()
        for norm in self.frozen:
            norm.eval()
        with self.runtime.autocast():
            outputs = self.network(batch.image)
        logits = [output.float() for output in (outputs if isinstance(outputs, list) else [outputs])]
        total = torch.stack([self.recipe.loss(one, _middle(batch.target, one)) for one in logits]).mean()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.recipe.network.parameters(), MAX_GRADIENT)
        self.optimizer.step()
        return {"region": total.item()}


def _middle(target: Tensor, logits: Tensor) -> Tensor:
    """The middle of a target (N, R, I, J, K), as large as the logits: a network may see more than it segments."""
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
    """(3, J, 4 I), 0 to 1: T1c, FLAIR, truth and ``preds`` (3, I, J, K) in the axial slice with most tumor.

    ET, TC and WT are the red, the green and the blue channel.
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
    """Load weights into a network, and describe them for the record."""
    with any_as_data_error(
        f"{path} does not hold weights of the recipe's {type(network).__name__}",
        rule="Initial weights must be of the recipe's network, in its size.",
        remedy="Name the best.pt of the same recipe, and --paper-size as it was trained with.",
    ):
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return {"file": path.name, "sha256": file_sha256(path)}
