"""What training leaves open of the segmentation, chosen on validation cases: views, weight, postprocessing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from acuity.anatomy import Region, labels_to_regions, regions_to_labels
from acuity.data import brats
from acuity.data.patches import PreparedCase
from acuity.data.preparation import prepare_cases
from acuity.data.tumor_free import mirrored_half, tumor_free_phantom
from acuity.evaluation.tables import Row, grouped, markdown_table, write_csv
from acuity.imaging.regions import DEFAULT, Postprocessing, calibrated, mask_box, tidied
from acuity.inference.bundle import CHOICES, load_bundle
from acuity.inference.segmentation import ALL_VIEWS, LEFT_RIGHT, mean_of_views, suspicious_box
from acuity.metrics.calibration import Reliability, fitted_temperature, reliability
from acuity.metrics.overlap import dice
from acuity.networks.cascade import CoarseToFine

T = TypeVar("T")

MARGIN = 0.002  # mean Dice; what gains less on so few cases is not worth a change
LARGEST_FALSE_ML = 0.1  # in any brain without a tumour
FIRST_PHANTOM = 500  # seed: those for training have higher ones, those for testing lower ones

# Candidates of each choice, the least change first: the first of those within MARGIN of the best is taken.
FINE_VIEWS = (len(LEFT_RIGHT), 1, len(ALL_VIEWS))
FINE_WEIGHTS = (0.5, 0.4, 0.6, 0.3, 0.7, 0.8, 0.9, 0.0, 1.0)
THRESHOLDS = (0.5, 0.45, 0.55, 0.4, 0.6, 0.35, 0.65, 0.3, 0.7)
SMALLEST_PARTS = (0.0, 0.05, 0.1, 0.2)  # more would leave out true second lesions, which few of the cases have
SMALLEST_PARTS_ML = (0.0, 0.05, 0.1, 0.2, 0.5)  # and tiny tumours
LEAST_PEAKS = (0.0, 0.7, 0.8, 0.9, 0.95, 0.98)
LEAST_ENHANCING_ML = (0.0, 0.05, 0.1, 0.2, 0.5)
UNCHANGED = replace(DEFAULT, smallest_part=0.0, enclosed_core=False)


@dataclass(frozen=True)
class Brain:
    """What both networks give for a brain.

    Parameters
    ----------
    brain : bool (I, J, K)
    target : bool (3, I, J, K), ET, TC, WT; nothing in a brain without a tumour
    coarse : float32 logits (3, I, J, K)
    fine : by the number of views, float32 logits of ``box``
    box : all channels of where the fine network looks; None where nothing is suspicious
    """

    name: str
    brain: NDArray[np.bool_]
    target: NDArray[np.bool_]
    coarse: NDArray[np.float32]
    fine: dict[int, NDArray[np.float32]]
    box: tuple[slice, ...] | None

    def logits(self, views: int, weight: float) -> NDArray[np.float32]:
        """(3, I, J, K), of both networks together: ``acuity.inference.segmentation.coarse_to_fine``'s."""
        if self.box is None:
            return self.coarse
        logits = self.coarse.copy()
        logits[self.box] += np.float32(weight) * (self.fine[views] - self.coarse[self.box])
        return logits


@dataclass(frozen=True)
class Found:
    """Probabilities of a brain, cut to where any may be found."""

    name: str
    target: NDArray[np.bool_]
    probabilities: NDArray[np.float32]

    def rows(self, step: str, setting: str, postprocessing: Postprocessing) -> list[Row]:
        """Dice of each region, or in a brain without a tumour the false volume."""
        masks = labels_to_regions(regions_to_labels(tidied(self.probabilities, postprocessing)))
        start = {"step": step, "setting": setting, "case": self.name}
        if not self.target.any():
            return [{**start, "region": Region.WT.value, "dice": "", "false_ml": float(masks[-1].sum()) / 1000}]
        return [
            {**start, "region": region.value, "dice": dice(p, t), "false_ml": ""}
            for region, p, t in zip(Region, masks, self.target, strict=True)
        ]


def compare(
    *,
    data: str | None,
    models: str,
    output: str,
    cases: Seq[str],
    phantoms: int = 4,
    bundle: str = "brain_tumor_segmentation",
) -> Path:
    """Choose one after the other, print the best and write what was compared.

    First what the networks' logits are made by: the fine network's views and weight, by mean Dice; then temperatures
    by likelihood; then the enclosed core, thresholds and the smallest part by mean Dice; the least volume and peak of a
    part by mean Dice where no more than LARGEST_FALSE_ML is found in any brain without a tumour; and the least volume
    of enhancing tumour by mean Dice again. Of settings within MARGIN the least change is taken.

    Parameters
    ----------
    cases : of validation: none that was trained on, none of test; brains without a tumour are their free halves,
        mirrored, where they have any
    phantoms : how many further brains have no tumour: those halves are few

    Returns
    -------
    ``choices.csv``: a row for each setting, case and region; ``choices.md`` beside it has the means, the calibration
    before and after, and the best settings as configs/inference.json takes them.
    """
    model = load_bundle(Path(models), bundle)
    network: CoarseToFine = model.network  # type: ignore[assignment]
    prepared = prepare_cases(brats.data_folder(data), cases)
    prepared += [half for case in prepared if (half := mirrored_half(case)) is not None]
    prepared += [tumor_free_phantom(seed) for seed in range(FIRST_PHANTOM, FIRST_PHANTOM + phantoms)]
    brains = [see(case, network, model.device) for case in tqdm(prepared, desc="choices")]
    search = Search()
    views, weight = search.network(brains)
    temperatures, calibration = calibrate(brains, views, weight)
    postprocessing = search.postprocessing(brains, views, weight, temperatures)

    folder = Path(output)
    write_csv(search.rows, folder / "choices.csv")
    best = {"fine_views": views, "fine_weight": weight,
            CHOICES: {"_target_": f"{Postprocessing.__module__}.Postprocessing", **asdict(postprocessing)}}  # fmt: skip
    text = json.dumps(best, indent=4)
    (folder / "choices.md").write_text(_summary(search.rows, calibration, text), encoding="utf-8")
    print(text)
    return folder / "choices.csv"


@torch.inference_mode()
def see(case: PreparedCase, network: CoarseToFine, device: torch.device) -> Brain:
    """Run both networks, the fine one once for all its views."""
    image = case.image.float().to(device)
    coarse = mean_of_views(network.coarse_logits, image, ALL_VIEWS)
    box = suspicious_box(coarse)
    fine = {}
    if box is not None:
        # The first is the plain one, and the first two are LEFT_RIGHT's.
        outputs = [mean_of_views(network.fine_logits, image[box], (axes,)).cpu() for axes in ALL_VIEWS]
        fine = {count: torch.stack(outputs[:count]).mean(dim=0).numpy() for count in FINE_VIEWS}
    return Brain(
        case.name, (case.image != 0).any(dim=0).numpy(), case.regions.numpy().astype(bool), coarse.cpu().numpy(),
        fine, box,
    )  # fmt: skip


def calibrate(
    brains: Seq[Brain], views: int, weight: float
) -> tuple[tuple[float, ...], dict[Region, tuple[Reliability, Reliability]]]:
    """Temperatures of ET, TC and WT, and the reliability before and after, inside the brains that have a tumour."""
    ill = [brain for brain in brains if brain.target.any()]
    logits = np.concatenate([brain.logits(views, weight)[:, brain.brain] for brain in ill], axis=1)
    target = np.concatenate([brain.target[:, brain.brain] for brain in ill], axis=1)
    temperatures = tuple(round(fitted_temperature(z, t), 3) for z, t in zip(logits, target, strict=True))
    before, after = calibrated(logits, DEFAULT.temperatures), calibrated(logits, temperatures)
    return temperatures, {
        region: (reliability(b, t), reliability(a, t))
        for region, b, a, t in zip(Region, before, after, target, strict=True)
    }


class Search:
    """The choices, one after the other; holds the rows of all that was compared."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def network(self, brains: Seq[Brain]) -> tuple[int, float]:
        """Views and weight of the fine network, by Dice with the postprocessing that models come with."""
        views = _least_change({
            count: self._score("fine views", str(count), _found(brains, count, FINE_WEIGHTS[0]), DEFAULT)[0]
            for count in FINE_VIEWS
        })  # fmt: skip
        weight = _least_change({
            share: self._score("fine weight", str(share), _found(brains, views, share), DEFAULT)[0]
            for share in FINE_WEIGHTS
        })  # fmt: skip
        return views, weight

    def postprocessing(
        self, brains: Seq[Brain], views: int, weight: float, temperatures: tuple[float, ...]
    ) -> Postprocessing:
        """All of it, from what changes nothing on."""
        found = _found(brains, views, weight, temperatures)
        best = replace(UNCHANGED, temperatures=temperatures)
        # Before the thresholds: a low one of TC would only fill holes that this fills.
        settings = [replace(best, enclosed_core=value) for value in (False, True)]
        best = self._best("enclosed_core", (False, True), settings, found)
        for index, region in enumerate(Region):
            settings = [
                replace(best, thresholds=(*best.thresholds[:index], value, *best.thresholds[index + 1 :]))
                for value in THRESHOLDS
            ]
            best = self._best(f"threshold of {region.value}", THRESHOLDS, settings, found)
        settings = [replace(best, smallest_part=value) for value in SMALLEST_PARTS]
        best = self._best("smallest_part", SMALLEST_PARTS, settings, found)

        # Together, and the least change of both first: either may keep false parts out.
        pairs = sorted(product(SMALLEST_PARTS_ML, LEAST_PEAKS),
                       key=lambda pair: SMALLEST_PARTS_ML.index(pair[0]) + LEAST_PEAKS.index(pair[1]))  # fmt: skip
        settings = [replace(best, smallest_part_ml=ml, least_peak=peak) for ml, peak in pairs]
        best = self._best("smallest_part_ml, least_peak", pairs, settings, found, largest_false_ml=LARGEST_FALSE_ML)

        settings = [replace(best, least_enhancing_ml=value) for value in LEAST_ENHANCING_ML]
        return self._best("least_enhancing_ml", LEAST_ENHANCING_ML, settings, found)

    def _best(
        self,
        step: str,
        values: Seq[object],
        settings: Seq[Postprocessing],
        found: Seq[Found],
        largest_false_ml: float = float("inf"),
    ) -> Postprocessing:
        """By Dice among those that find no more where no tumour is; if all do, what finds least there."""
        names = [str(value).strip("()") for value in values]
        scores = {
            setting: self._score(step, name, found, setting) for name, setting in zip(names, settings, strict=True)
        }
        least = max(largest_false_ml, min(false_ml for _, false_ml in scores.values()))
        return _least_change({setting: score for setting, (score, false_ml) in scores.items() if false_ml <= least})

    def _score(self, step: str, setting: str, found: Seq[Found], postprocessing: Postprocessing) -> tuple[float, float]:
        """Mean Dice, and the largest volume that is found where no tumour is."""
        rows = [row for one in found for row in one.rows(step, setting, postprocessing)]
        self.rows += rows
        return _mean(rows, "dice"), max(_values(rows, "false_ml"), default=0.0)


def _found(
    brains: Iterable[Brain], views: int, weight: float, temperatures: tuple[float, ...] = DEFAULT.temperatures
) -> list[Found]:
    cut = []
    for brain in brains:
        probabilities = calibrated(brain.logits(views, weight), temperatures) * brain.brain
        # Below every threshold nothing is ever found, which is nearly all of a brain.
        box = mask_box(np.any((probabilities > min(THRESHOLDS)) | brain.target, axis=0))
        where = (slice(None), *(box or [slice(1)] * 3))
        cut.append(Found(brain.name, brain.target[where], probabilities[where]))
    return cut


def _least_change(scores: dict[T, float]) -> T:
    """The first within MARGIN of the best."""
    best = max(scores.values())
    return next(setting for setting, score in scores.items() if score >= best - MARGIN)


def _values(rows: Iterable[Row], column: str) -> list[float]:
    return [float(row[column]) for row in rows if row[column] != ""]


def _mean(rows: Iterable[Row], column: str) -> float:
    return float(np.mean(_values(rows, column)))


def _summary(rows: Seq[Row], calibration: dict[Region, tuple[Reliability, Reliability]], best: str) -> str:
    lines = []
    for (step, setting), group in grouped(rows, "step", "setting").items():
        by_region = [_mean([row for row in group if row["region"] == region.value], "dice") for region in Region]
        largest = max(_values(group, "false_ml"), default=0.0)
        scores = [f"{score:.3f}" for score in (*by_region, _mean(group, "dice"))]
        lines.append([step, setting, *scores, f"{largest:.2f}"])
    errors = [
        [region.value, *(f"{found.expected_calibration_error:.4f}" for found in both)]
        for region, both in calibration.items()
    ]
    return "\n".join([
        markdown_table(["step", "setting", *Region, "mean Dice", "most false ml"], lines),
        "Expected calibration error, before and after dividing the logits by the temperatures:\n",
        markdown_table(["region", "before", "after"], errors),
        "Best: `choices` is a section of configs/inference.json, `fine_weight` one of its `network_def`;"
        f" views are what `acuity.inference.segmentation` has.\n\n```json\n{best}\n```\n",
    ])  # fmt: skip
