"""What training leaves open of the segmentation, chosen on cases that it did not see: weight and postprocessing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from acuity.anatomy import Region, labels_to_regions, regions_to_labels
from acuity.imaging.regions import DEFAULT, Postprocessing, calibrated, mask_box, tidied
from acuity.models.bundle import CHOICES, load_bundle
from acuity.models.calibration import LOWEST, Reliability, fitted_temperature, reliability
from acuity.research.datasets import brats
from acuity.research.evaluation import columns as col
from acuity.research.evaluation.cases import grade_of
from acuity.research.evaluation.segmentation.held_out import Brain, held_out_brains
from acuity.research.evaluation.segmentation.table import MEAN, case_values
from acuity.research.evaluation.tables import document, markdown, shown
from acuity.research.metrics.overlap import brats_overlap, dice
from acuity.research.store import Row, write_table, write_text

T = TypeVar("T")

MARGIN = 0.002  # mean Dice; what gains less on so few cases is not worth a change
LARGEST_FALSE_ML = 0.1  # in a brain without a tumor

# Candidates of each choice, the least change first: the first of those within MARGIN of the best is taken.
FINE_WEIGHTS = (0.8, 0.7, 0.9, 0.6, 1.0, 0.5, 0.4, 0.3, 0.0)
THRESHOLDS = (0.5, 0.45, 0.55, 0.4, 0.6, 0.35, 0.65, 0.3, 0.7)
# 0.05 before 0: small false parts far off cost next to no Dice, but most of HD95. More than these would leave out true
# second lesions, which few of the cases have.
SMALLEST_PARTS = (0.05, 0.0, 0.1, 0.2)
SMALLEST_PARTS_ML = (0.0, 0.05, 0.1, 0.2, 0.5)  # and tiny tumors
LEAST_ENHANCING_ML = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)  # in all
START = replace(  # of the search
    DEFAULT,
    smallest_part=SMALLEST_PARTS[0],
    smallest_part_ml=SMALLEST_PARTS_ML[0],
    least_enhancing_ml=LEAST_ENHANCING_ML[0],
)

STEP, SETTING, DICE, FALSE_ML = "step", "setting", "dice", "false_ml"  # columns of choices.csv


@dataclass(frozen=True)
class Found:
    """Probabilities of a brain, cut to where any may be found."""

    name: str
    target: NDArray[np.bool_]
    probabilities: NDArray[np.float32]

    def masks(self, postprocessing: Postprocessing) -> NDArray[np.bool_]:
        """(3, I, J, K), as labels hold them."""
        return labels_to_regions(regions_to_labels(tidied(self.probabilities, postprocessing)))

    def rows(self, step: str, setting: str, postprocessing: Postprocessing) -> list[Row]:
        """Dice of each region, or in a brain without a tumor the false volume."""
        masks = self.masks(postprocessing)
        start = {STEP: step, SETTING: setting, col.CASE: self.name}
        if not self.target.any():
            false_ml = float(masks[-1].sum()) / 1000
            return [{**start, col.REGION: Region.WT.value, DICE: np.nan, FALSE_ML: false_ml}]
        return [
            {**start, col.REGION: region.value, DICE: dice(p, t), FALSE_ML: np.nan}
            for region, p, t in zip(Region, masks, self.target, strict=True)
        ]


def compare(
    *,
    data: str | None,
    models: str,
    output: str,
    held_out: Seq[Seq[str]],
    unseen: Seq[str],
    phantoms: int = 4,
    bundle: str = "brain_tumor_segmentation",
) -> Path:
    """Choose one after the other, print the best and write what was compared; resumes where it was cut.

    First the fine network's weight, by mean Dice; then temperatures by likelihood; then thresholds and the smallest
    part's share by mean Dice, twice; then the least enhancing volume by mean Dice. The smallest part's volume comes
    last, by the mean over all brains, where one without a tumor counts as 1 if no more than LARGEST_FALSE_ML is found
    in it, else as 0. Of settings within MARGIN the least change is taken.

    Parameters
    ----------
    held_out, unseen, phantoms : as ``held_out_brains`` takes them; the weight is chosen by ``unseen`` alone

    Returns
    -------
    ``choices.csv``: a row for each setting, case and region; ``choices.md`` beside it has the means, the calibration
    before and after, what the best settings give by grade, and the settings as configs/inference.json takes them.

    Raises
    ------
    As ``held_out_brains``.
    """
    model = load_bundle(Path(models), bundle)
    folder = Path(output)
    seen = held_out_brains(model, held_out, unseen, data=brats.data_folder(data), phantoms=phantoms, folder=folder)
    search = Search()
    weight = search.weight([brain for brain in seen if brain.coarse is not None])
    temperatures, calibration = calibrate(seen, weight)
    found = found_in(seen, weight, temperatures)
    postprocessing = search.postprocessing(found, temperatures)

    rows = pd.DataFrame(search.rows)
    write_table(rows, folder / "choices.csv")
    best = {
        "fine_weight": weight,
        CHOICES: {"_target_": f"{Postprocessing.__module__}.Postprocessing", **asdict(postprocessing)},
    }
    text = json.dumps(best, indent=4)
    by_grade = grade_table(found, postprocessing)
    write_text(_summary(rows, calibration, by_grade, text), folder / "choices.md")
    print(text)
    return folder / "choices.csv"


def calibrate(
    brains: Seq[Brain], weight: float
) -> tuple[tuple[float, ...], dict[Region, tuple[Reliability, Reliability]]]:
    """Temperatures of ET, TC and WT, and the reliability before and after, inside the brains that have a tumor.

    Fitted are the voxels that reliability counts: the millions that are surely healthy would be made surer, at the cost
    of those that are not.
    """
    ill = [brain for brain in brains if brain.target.any()]
    logits = np.concatenate([brain.logits(weight)[:, brain.brain] for brain in ill], axis=1)
    target = np.concatenate([brain.target[:, brain.brain] for brain in ill], axis=1)
    before = calibrated(logits, DEFAULT.temperatures)
    temperatures = tuple(
        round(fitted_temperature(z[p >= LOWEST], t[p >= LOWEST]), 3)
        for z, p, t in zip(logits, before, target, strict=True)
    )
    after = calibrated(logits, temperatures)
    return temperatures, {
        region: (reliability(b, t), reliability(a, t))
        for region, b, a, t in zip(Region, before, after, target, strict=True)
    }


def grade_table(found: Iterable[Found], postprocessing: Postprocessing) -> str:
    """Markdown: Dice and HD95 in mm by grade, by BraTS's rule for absent regions; brains with a tumor alone."""
    rows: list[Row] = []
    for one in found:
        if one.target.any():
            for region, p, t in zip(Region, one.masks(postprocessing), one.target, strict=True):
                overlap = asdict(brats_overlap(p, t, spacing=(1.0, 1.0, 1.0)))
                rows.append({col.CASE: one.name, col.GRADE: grade_of(one.name), col.REGION: region.value, **overlap})
    scores = pd.DataFrame(rows)
    regions = [*(region.value for region in Region), MEAN]
    lines = []
    for grade in ("all", "high", "low", "unknown"):
        group = scores if grade == "all" else scores[scores[col.GRADE] == grade]
        for metric, digits in ((col.DSC, 3), (col.HD95, 1)) if len(group) else ():
            means = [case_values(group, metric, "brats", region).mean() for region in regions]
            lines.append([grade, group[col.CASE].nunique(), metric, *(shown(mean, digits) for mean in means)])
    return markdown(pd.DataFrame(lines, columns=["grade", "cases", "measure", *regions]))


class Search:
    """The choices, one after the other; holds the rows of all that was compared."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def weight(self, brains: Seq[Brain]) -> float:
        """The fine network's, by Dice with the postprocessing that the search starts from."""
        ill = [brain for brain in brains if brain.target.any()]
        return _least_change(
            {share: self._score("fine weight", str(share), found_in(ill, share), START) for share in FINE_WEIGHTS}
        )

    def postprocessing(self, found: Seq[Found], temperatures: tuple[float, ...]) -> Postprocessing:
        """All of it, from START on; ``found`` is calibrated by these temperatures."""
        ill = [one for one in found if one.target.any()]
        best = replace(START, temperatures=temperatures)
        for turn in ("", ", again"):  # what is best of one depends on the others
            for index, region in enumerate(Region):
                before, after = best.thresholds[:index], best.thresholds[index + 1 :]
                limits = {str(value): replace(best, thresholds=(*before, value, *after)) for value in THRESHOLDS}
                best = self._best(f"threshold of {region.value}{turn}", limits, ill)
            parts = {str(value): replace(best, smallest_part=value) for value in SMALLEST_PARTS}
            best = self._best(f"smallest_part{turn}", parts, ill)
        least = {str(value): replace(best, least_enhancing_ml=value) for value in LEAST_ENHANCING_ML}
        best = self._best("least_enhancing_ml", least, ill)
        volumes = {str(value): replace(best, smallest_part_ml=value) for value in SMALLEST_PARTS_ML}
        return self._best("smallest_part_ml", volumes, found)

    def _best(self, step: str, settings: dict[str, Postprocessing], found: Seq[Found]) -> Postprocessing:
        return _least_change({setting: self._score(step, name, found, setting) for name, setting in settings.items()})

    def _score(self, step: str, setting: str, found: Seq[Found], postprocessing: Postprocessing) -> float:
        """Mean over brains: of Dice, and of one without a tumor 1 where next to nothing is found in it, else 0."""
        scores = []
        for one in found:
            rows = one.rows(step, setting, postprocessing)
            self.rows += rows
            if one.target.any():
                scores.append(np.mean([row[DICE] for row in rows]))
            else:
                scores.append(float(rows[0][FALSE_ML] <= LARGEST_FALSE_ML))
        return float(np.mean(scores))


def found_in(
    brains: Iterable[Brain], weight: float, temperatures: tuple[float, ...] = DEFAULT.temperatures
) -> list[Found]:
    """Calibrated probabilities of both networks together, cut to where any threshold may find something."""
    cut = []
    for brain in brains:
        probabilities = calibrated(brain.logits(weight), temperatures) * brain.brain
        # Below every threshold nothing is ever found, which is nearly all of a brain.
        box = mask_box(np.any((probabilities > min(THRESHOLDS)) | brain.target, axis=0))
        where = (slice(None), *(box or [slice(1)] * 3))
        cut.append(Found(brain.name, brain.target[where], probabilities[where]))
    return cut


def _least_change(scores: dict[T, float]) -> T:
    """The first within MARGIN of the best."""
    best = max(scores.values())
    return next(setting for setting, score in scores.items() if score >= best - MARGIN)


def _summary(
    rows: pd.DataFrame, calibration: dict[Region, tuple[Reliability, Reliability]], by_grade: str, best: str
) -> str:
    lines = []
    for key, group in rows.groupby([STEP, SETTING], sort=False):
        by_region = group.groupby(col.REGION)[DICE].mean()
        false_ml = group[FALSE_ML].dropna()
        scores = [shown(score, 3) for score in (*by_region[list(Region)], group[DICE].mean())]
        healthy = [f"{(false_ml > LARGEST_FALSE_ML).sum()} of {len(false_ml)}", shown(false_ml.max(), 2)]
        lines.append([*key, *scores, *(healthy if len(false_ml) else ("", ""))])
    header = [STEP, SETTING, *Region, "mean Dice", f"more than {LARGEST_FALSE_ML} ml false", "largest (ml)"]
    errors = [
        [region.value, *(f"{found.expected_calibration_error:.4f}" for found in both)]
        for region, both in calibration.items()
    ]
    return document(
        markdown(pd.DataFrame(lines, columns=header)),
        "Expected calibration error, before and after dividing the logits by the temperatures:",
        markdown(pd.DataFrame(errors, columns=["region", "before", "after"])),
        "Scores of the best settings; a case is of low grade as the fixed split names it:",
        by_grade,
        "Best: `choices` is a section of configs/inference.json, `fine_weight` one of its `network_def`.",
        f"```json\n{best}\n```",
    )
