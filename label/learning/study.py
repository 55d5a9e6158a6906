"""Whether corrections improve a model, and whether those chosen by uncertainty do so more than those chosen at random.

``python -m label.learning.study --data BRATS --output OUT`` writes study.csv (Dice of each test case and region),
study.png and summary.md. Interrupted, it goes on where it stopped.

Annotators are simulated by the truth of BraTS training cases. The released model has seen all of these, so that none
would teach it anything: for each seed a first model is trained on a few of them, and chooses corrections among the
others, which it has not seen. From there it is trained on in three ways for the same number of iterations: on the first
cases alone (what training on brings without corrections), with corrections chosen at random, and with those that it is
least sure of. All are scored on the test cases, which nothing here was trained or chosen by. The model is a 2D U-Net
that sees axial slices at 2 mm: a CPU core trains it in minutes until cases are what it lacks, not iterations.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
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
from acuity.research.evaluation.bootstrap import paired_difference
from acuity.research.metrics.overlap import dice
from acuity.research.sampling.patches import PreparedCase
from acuity.research.sampling.preparation import prepare_cases
from acuity.research.training import cascade
from acuity.volume import Volume
from label.learning.doubts import doubt
from label.learning.study_figure import draw

FIRST, NONE, RANDOM, UNCERTAINTY = "first model", "no corrections", "random", "uncertainty"
ARMS = (FIRST, NONE, RANDOM, UNCERTAINTY)
TABLE, FIGURE, SUMMARY, SETTINGS = "study.csv", "study.png", "summary.md", "settings.json"
_FIELDS = ("seed", "arm", "case", "region", "dice")


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Parameters
    ----------
    cases : that the first model is trained on
    corrections : that are added
    seeds : one first model each, on other cases
    iterations, tuning : of the first model, and of each training on
    learning_rate, tuning_rate : of the same
    width : features of the network's first level
    patch : voxels of 2 mm, of axial slices: multiples of 32, and 1
    batch : patches of a step
    """

    cases: int = 4
    corrections: int = 10
    seeds: int = 3
    iterations: int = 600
    tuning: int = 600
    learning_rate: float = 1e-3
    tuning_rate: float = 5e-4
    width: int = 16
    patch: tuple[int, int, int] = (64, 96, 1)
    batch: int = 8


@dataclass(frozen=True)
class Data:
    """Prepared cases: those that first models and corrections come from, one to log, and those that are scored."""

    pool: Mapping[str, PreparedCase]
    shown: PreparedCase
    test: Seq[PreparedCase]


def run(data: Data, plan: Plan, output: Path, device: str | None = None) -> Path:
    """Train and score all that is missing; the table's path.

    Raises
    ------
    DataError : the folder holds a study with another plan, or there are too few cases
    """
    if len(data.pool) < plan.cases + plan.corrections:
        raise DataError(
            f"{len(data.pool)} cases are there to train on.",
            rule=f"{plan.cases} for the first model and {plan.corrections} corrections are wanted.",
            remedy="Ask for fewer.",
        )
    output.mkdir(parents=True, exist_ok=True)
    _keep_settings(plan, output)
    table = output / TABLE
    for seed in range(plan.seeds):
        done = {(row["seed"], row["arm"]) for row in read_table(table)}
        if all((str(seed), arm) in done for arm in ARMS):
            continue
        folder = output / f"seed_{seed}"
        order = [sorted(data.pool)[n] for n in np.random.default_rng(seed).permutation(len(data.pool))]
        known, unseen = order[: plan.cases], order[plan.cases :]
        first = _train(data, known, plan, folder / "first", seed, None, device)
        chosen = _corrections(data, unseen, first, plan, folder, seed)
        for arm in ARMS:
            if (str(seed), arm) in done:
                continue
            weights = first
            if arm != FIRST:
                names = known + chosen.get(arm, [])
                weights = _train(data, names, plan, folder / arm.replace(" ", "_"), seed, first, device)
            _append(
                table,
                [
                    {"seed": seed, "arm": arm, "case": case.name, "region": region.value, "dice": round(value, 5)}
                    for case in data.test
                    for region, value in scores(found(_network(plan, weights), case), case).items()
                ],
            )
    return table


def found(network: CoarseToFine, case: PreparedCase) -> SegmentationResult:
    """What the coarse network finds in a case at 1 mm."""
    with torch.inference_mode():
        logits = coarse_to_fine(case.image.float(), network, coarse_views=ONE_VIEW, fine_views=ONE_VIEW)
    probabilities = expit(logits.numpy()).astype(np.float32)
    probabilities *= (case.image != 0).any(dim=0).numpy()
    return SegmentationResult(Volume(regions_to_labels(tidied(probabilities)), np.eye(4)), probabilities)


def scores(result: SegmentationResult, case: PreparedCase) -> dict[Region, float]:
    """Dice of each region."""
    masks = tidied(result.probabilities)
    truth = case.regions.numpy().astype(bool)
    return {region: dice(mask, true) for region, mask, true in zip(Region, masks, truth, strict=True)}


def least_sure(network: CoarseToFine, cases: Seq[PreparedCase], count: int) -> list[str]:
    """Names of the cases that a network doubts most, the most doubtful first."""
    doubts = {case.name: doubt(uncertainty(found(network, case))) for case in cases}
    return sorted(doubts, key=lambda name: -doubts[name])[:count]


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of the table; none where it is absent."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def means(rows: Seq[Mapping[str, str]]) -> dict[tuple[str, str, str], float]:
    """Mean Dice over the regions, by seed, arm and case."""
    values: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        values.setdefault((row["seed"], row["arm"], row["case"]), []).append(float(row["dice"]))
    return {key: float(np.mean(one)) for key, one in values.items()}


def summary(rows: Seq[Mapping[str, str]]) -> str:
    """Markdown: mean Dice of each arm, and paired differences with 95 % intervals over the test cases.

    A difference is called real where its interval leaves out 0 and it has one sign with every seed.
    """
    by_case = means(rows)
    seeds = sorted({seed for seed, _, _ in by_case})
    cases = sorted({case for _, _, case in by_case})

    # Seeds along the first axis, cases along the second.
    dice_of = {arm: np.array([[by_case[seed, arm, case] for case in cases] for seed in seeds]) for arm in ARMS}
    lines = [
        f"Mean Dice of ET, TC and WT on {len(cases)} test cases, {len(seeds)} seeds. Intervals are over the "
        "cases, of the mean over seeds.",
        "",
        "| training | Dice | by seed |",
        "|---|---|---|",
        *(f"| {arm} | {dice_of[arm].mean():.3f} | {_by_seed(dice_of[arm], '.3f')} |" for arm in ARMS),
        "",
        "| difference | mean | 95 % interval | by seed | |",
        "|---|---|---|---|---|",
    ]
    for better, worse in ((RANDOM, NONE), (UNCERTAINTY, NONE), (UNCERTAINTY, RANDOM)):
        gain = dice_of[better] - dice_of[worse]
        one = paired_difference(gain.mean(axis=0))
        same_sign = len(set(np.sign(gain.mean(axis=1)))) == 1
        verdict = "real" if one.real and same_sign else "may be chance"
        lines.append(
            f"| {better} - {worse} | {one.mean:+.3f} | {one.low:+.3f} to {one.high:+.3f} | "
            f"{_by_seed(gain, '+.3f')} | {verdict} |"
        )
    return "\n".join([*lines, ""])


def _by_seed(values: np.ndarray, form: str) -> str:
    return ", ".join(format(value, form) for value in values.mean(axis=1))


def _corrections(
    data: Data, unseen: Seq[str], first: Path, plan: Plan, folder: Path, seed: int
) -> dict[str, list[str]]:
    """The names that each arm adds, kept in a file: computing the doubts takes a while."""
    path = folder / "corrections.json"
    if path.is_file():
        kept: dict[str, list[str]] = json.loads(path.read_text())
        return kept
    drawn = np.random.default_rng([seed, 1]).choice(len(unseen), plan.corrections, replace=False)
    chosen = {
        RANDOM: [unseen[n] for n in sorted(drawn)],
        UNCERTAINTY: least_sure(_network(plan, first), [data.pool[name] for name in unseen], plan.corrections),
    }
    path.write_text(json.dumps(chosen, indent=2) + "\n")
    return chosen


def _train(
    data: Data, names: Seq[str], plan: Plan, folder: Path, seed: int, start: Path | None, device: str | None
) -> Path:
    iterations = plan.iterations if start is None else plan.tuning
    torch.manual_seed(seed)
    return cascade.train(
        _pair(plan),
        part="coarse",
        folder=str(folder),
        iterations=iterations,
        patch=plan.patch,
        batch=plan.batch,
        learning_rate=plan.learning_rate if start is None else plan.tuning_rate,
        other_share=0.0,
        ema=0.98,
        seed=seed,
        initial_weights=None if start is None else str(start),
        validate_every=iterations,
        device=device,
        train_cases=[data.pool[name] for name in names],
        validation_cases=[data.shown],
    )


def _pair(plan: Plan) -> CoarseToFine:
    # The fine stage is never run: the smallest one stands for it.
    return CoarseToFine(Slices(UNet2d(width=plan.width)), torch.nn.Conv3d(4, 3, 1), fine_weight=0.0)


def _network(plan: Plan, weights: Path) -> CoarseToFine:
    network = _pair(plan)
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()


def _keep_settings(plan: Plan, output: Path) -> None:
    path = output / SETTINGS
    settings = json.loads(json.dumps(asdict(plan)))
    if path.is_file():
        before = json.loads(path.read_text())
        if {**before, "seeds": 0} != {**settings, "seeds": 0}:
            raise DataError(
                "The folder holds a study with another plan.",
                rule="One table holds one plan; more seeds may be added.",
                remedy="Name another folder.",
            )
    path.write_text(json.dumps(settings, indent=2) + "\n")


def _append(table: Path, rows: Seq[Mapping[str, object]]) -> None:
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, _FIELDS)
        if file.tell() == 0:
            writer.writeheader()
        writer.writerows(rows)


def main(argv: Seq[str] | None = None) -> int:
    """Run the study and print its summary; returns the exit code."""
    plan = Plan()
    parser = argparse.ArgumentParser(prog="python -m label.learning.study", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="BRATS", help="default: $ACUITY_DATA/brats")
    parser.add_argument("--output", type=Path, required=True, metavar="OUT", help="folder for models and results")
    for name, text in (
        ("cases", "of the first model"),
        ("corrections", "that are added"),
        ("seeds", "each with a first model of its own"),
        ("iterations", "of the first model"),
        ("tuning", "iterations of each training on"),
    ):
        default = getattr(plan, name)
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"{text} (%(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU if there is one")
    args = parser.parse_args(argv)
    try:
        folder, split = brats.data_folder(args.data), brats.read_split()
        pool = {case.name: case for case in prepare_cases(folder, split["train"])}
        data = Data(pool, prepare_cases(folder, split["validation"][:1])[0], prepare_cases(folder, split["test"]))
        wanted = Plan(args.cases, args.corrections, args.seeds, args.iterations, args.tuning)
        rows = read_table(run(data, wanted, args.output, args.device))
    except AcuityError as error:
        print_error(error)
        return error.exit_code
    text = summary(rows)
    (args.output / SUMMARY).write_text(text)
    draw(means(rows), ARMS, args.output / FIGURE)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
