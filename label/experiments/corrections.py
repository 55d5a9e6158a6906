"""Whether corrections improve a model, and whether it gains more from those that it is least sure of.

``python -m label.experiments.corrections --data BRATS --output OUT`` writes corrections.csv (Dice of each test case and
region), corrections.png and summary.md. Trainings that are complete are not done again.

Annotators are simulated by the truth of BraTS training cases. The released model has seen all of these and would learn
nothing from them. So for each seed a first model is trained on a few of them, and chooses corrections among the others,
which it has not seen. From there it is trained on in three ways for the same number of iterations: on the first cases
alone (the gain of training on without corrections), with corrections chosen at random, and with those that it is least
sure of. All are scored on the test cases, which nothing here was trained or chosen by. The model is a 2D U-Net that
sees axial slices at 2 mm: a CPU core trains it in minutes until it lacks cases, not iterations.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.special import expit

from acuity.anatomy import Region, regions_to_labels
from acuity.console import print_error
from acuity.errors import AcuityError, DataError
from acuity.imaging.regions import tidied
from acuity.models.segmentation import ONE_VIEW, SegmentationResult, coarse_to_fine
from acuity.models.uncertainty import uncertainty
from acuity.networks.cascade import CoarseToFine
from acuity.networks.slicewise import Slices
from acuity.networks.unet2d import UNet2d
from acuity.research.datasets import brats
from acuity.research.evaluation.statistics import paired_difference
from acuity.research.metrics.overlap import dice
from acuity.research.sampling.patches import PreparedCase
from acuity.research.sampling.preparation import prepare_cases
from acuity.research.training import cascade, segmentation
from acuity.research.training.data import training_data
from acuity.research.training.segmentation_recipe import Recipe
from acuity.volume import Volume
from label.doubts import doubt
from label.experiments.tables import Row, write_table

FIRST, NONE, RANDOM, UNCERTAINTY = "first model", "no corrections", "random", "uncertainty"
ARMS = (FIRST, NONE, RANDOM, UNCERTAINTY)
TABLE, FIGURE, SUMMARY = "corrections.csv", "corrections.png", "summary.md"
_WIDTH = 16  # features of the network's first level
_PATCH, _BATCH = (64, 96, 1), 8  # voxels of 2 mm, of axial slices; patches of a step
_FIRST_RATE, _TUNING_RATE = 1e-3, 5e-4

# Mean Dice of a case's regions: arms by name, then (seeds, cases).
Means = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Plan:
    """The sizes of the comparison.

    Parameters
    ----------
    cases : that the first model is trained on
    corrections : that are added
    seeds : one first model each, on other cases
    iterations, tuning : of the first model, and of each training on
    """

    cases: int = 4
    corrections: int = 10
    seeds: int = 3
    iterations: int = 600
    tuning: int = 600


@dataclass(frozen=True)
class Data:
    """Prepared cases: those that first models and corrections come from, one to log, and those that are scored."""

    pool: Mapping[str, PreparedCase]
    shown: PreparedCase
    test: Seq[PreparedCase]


def run(data: Data, plan: Plan, output: Path, device: str | None = None) -> list[Row]:
    """Train and score; the rows of the table.

    Parameters
    ----------
    output : each plan's trainings have a folder of their own in it, so that seeds may be added

    Raises
    ------
    DataError : there are too few cases
    """
    if len(data.pool) < plan.cases + plan.corrections:
        raise DataError(
            f"{len(data.pool)} cases are there to train on.",
            rule=f"{plan.cases} for the first model and {plan.corrections} corrections are wanted.",
            remedy="Ask for fewer.",
        )
    rows: list[Row] = []
    for seed in range(plan.seeds):
        folder = (
            output / f"{plan.cases}+{plan.corrections}_cases_{plan.iterations}+{plan.tuning}_steps" / f"seed_{seed}"
        )
        order = [sorted(data.pool)[n] for n in np.random.default_rng(seed).permutation(len(data.pool))]
        known, unseen = order[: plan.cases], order[plan.cases :]
        first = _train(data, known, folder / "first", seed, plan.iterations, None, device)
        chosen = {NONE: [], **_choose(data, unseen, _network(first), plan.corrections, seed)}
        weights = {FIRST: first}
        for arm, names in chosen.items():
            weights[arm] = _train(data, known + names, folder / arm, seed, plan.tuning, first, device)
        for arm in ARMS:
            network = _network(weights[arm])
            rows += [
                {"seed": seed, "arm": arm, "case": case.name, "region": region.value, "dice": round(value, 5)}
                for case in data.test
                for region, value in scores(found(network, case), case).items()
            ]
    return rows


def found(network: CoarseToFine, case: PreparedCase) -> SegmentationResult:
    """The coarse network's segmentation of a case at 1 mm."""
    with torch.inference_mode():
        logits = coarse_to_fine(case.image.float(), network, coarse_views=ONE_VIEW, fine_views=ONE_VIEW)
    probabilities = expit(logits.numpy()).astype(np.float32)
    probabilities *= (case.image != 0).any(dim=0).numpy()
    return SegmentationResult(Volume(regions_to_labels(tidied(probabilities)), np.eye(4)), probabilities)


def scores(result: SegmentationResult, case: PreparedCase) -> dict[Region, float]:
    """Dice of each region."""
    truth = case.regions.numpy().astype(bool)
    pairs = zip(Region, tidied(result.probabilities), truth, strict=True)
    return {region: dice(mask, true) for region, mask, true in pairs}


def means(rows: Seq[Row]) -> Means:
    """Mean Dice over the regions, from the rows of the table."""
    values: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for row in rows:
        values[row["arm"], row["seed"], row["case"]].append(float(row["dice"]))
    seeds, cases = (sorted({key[at] for key in values}) for at in (1, 2))
    return {arm: np.array([[np.mean(values[arm, seed, case]) for case in cases] for seed in seeds]) for arm in ARMS}


def summary(dice_of: Means) -> str:
    """Markdown: mean Dice of each arm, and paired differences with 95 % intervals over the test cases.

    The last column says "yes" where the interval excludes 0 and the difference has one sign with every seed.
    """
    seeds, cases = dice_of[FIRST].shape
    lines = [
        f"Mean Dice of ET, TC and WT on {cases} test cases, {seeds} seeds. Intervals are over the cases, of the mean "
        "over seeds.",
        "",
        "| training | Dice | by seed |",
        "|---|---|---|",
        *(f"| {arm} | {dice_of[arm].mean():.3f} | {_by_seed(dice_of[arm], '.3f')} |" for arm in ARMS),
        "",
        "| difference | mean | 95 % interval | by seed | excludes 0, same sign with each seed |",
        "|---|---|---|---|---|",
    ]
    for better, worse in ((RANDOM, NONE), (UNCERTAINTY, NONE), (UNCERTAINTY, RANDOM)):
        gain = dice_of[better] - dice_of[worse]
        one = paired_difference(gain.mean(axis=0))
        same_sign = len(set(np.sign(gain.mean(axis=1)))) == 1
        lines.append(
            f"| {better} - {worse} | {one.mean:+.3f} | {one.low:+.3f} to {one.high:+.3f} | "
            f"{_by_seed(gain, '+.3f')} | {'yes' if one.low * one.high > 0 and same_sign else 'no'} |"
        )
    return "\n".join([*lines, ""])


def draw(dice_of: Means, path: Path) -> None:
    """Write a PNG of the mean Dice on the test cases by arm: a line for each seed, and the mean of all."""
    figure = Figure(figsize=(6.0, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    by_seed = np.stack([dice_of[arm].mean(axis=1) for arm in ARMS], axis=1)
    for number, row in enumerate(by_seed):
        axes.plot(ARMS, row, marker="o", color="0.7", linewidth=1, label=None if number else "a seed")
    axes.plot(ARMS, by_seed.mean(axis=0), marker="o", color="C0", linewidth=2, label="mean")
    axes.set_ylabel(f"mean Dice, {dice_of[FIRST].shape[1]} test cases")
    axes.grid(axis="y", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def _by_seed(values: np.ndarray, form: str) -> str:
    return ", ".join(format(value, form) for value in values.mean(axis=1))


def _choose(data: Data, unseen: Seq[str], network: CoarseToFine, count: int, seed: int) -> dict[str, list[str]]:
    """The names that are added at random, and those that the first model is least sure of."""
    drawn = np.random.default_rng([seed, 1]).choice(len(unseen), count, replace=False)
    doubts = {name: doubt(uncertainty(found(network, data.pool[name]))) for name in unseen}
    least_sure = sorted(unseen, key=lambda name: -doubts[name])[:count]
    return {RANDOM: [unseen[n] for n in sorted(drawn)], UNCERTAINTY: least_sure}


def _train(
    data: Data, names: Seq[str], folder: Path, seed: int, iterations: int, start: Path | None, device: str | None
) -> Path:
    torch.manual_seed(seed)
    rate = _FIRST_RATE if start is None else _TUNING_RATE
    return cascade.train(
        _pair(),
        "coarse",
        partial(Recipe, patch=_PATCH, batch=_BATCH, learning_rate=rate),
        training_data([data.pool[name] for name in names], [data.shown], halved=True),
        segmentation.Plan(iterations, ema=0.98, seed=seed, validate_every=iterations),
        folder=folder,
        initial_weights=start,
        device=device,
    )


def _pair() -> CoarseToFine:
    # The fine stage is never run: the smallest one stands for it.
    return CoarseToFine(Slices(UNet2d(width=_WIDTH)), torch.nn.Conv3d(4, 3, 1), fine_weight=0.0)


def _network(weights: Path) -> CoarseToFine:
    network = _pair()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()


def main(argv: Seq[str] | None = None) -> int:
    """Run the experiment and print its summary; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m label.experiments.corrections", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="BRATS", help="default: $ACUITY_DATA/brats")
    parser.add_argument("--output", type=Path, required=True, metavar="OUT", help="folder for models and results")
    for name, default in asdict(Plan()).items():
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help="(%(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU if there is one")
    args = parser.parse_args(argv)
    try:
        folder, split = brats.data_folder(args.data), brats.read_split()
        pool = {case.name: case for case in prepare_cases(folder, split["train"])}
        data = Data(pool, prepare_cases(folder, split["validation"][:1])[0], prepare_cases(folder, split["test"]))
        plan = Plan(**{name: getattr(args, name) for name in asdict(Plan())})
        rows = run(data, plan, args.output, args.device)
    except AcuityError as error:
        print_error(error)
        return error.exit_code
    write_table(rows, args.output / TABLE)
    dice_of = means(rows)
    (args.output / SUMMARY).write_text(summary(dice_of))
    draw(dice_of, args.output / FIGURE)
    print(summary(dice_of))
    return 0


if __name__ == "__main__":
    sys.exit(main())
