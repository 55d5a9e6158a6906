"""How well the tumor is found: every model on every kind of input, original, interpolated and super-resolved."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from acuity.anatomy import Region, Sequence, labels_to_regions
from acuity.errors import DataError
from acuity.models.calibration import expected_dice, reliability
from acuity.models.segmentation import SegmentationResult
from acuity.pipeline.result import software
from acuity.research.datasets import brats
from acuity.research.derived.sets import made_as
from acuity.research.evaluation import bootstrap
from acuity.research.evaluation import store as volume_files
from acuity.research.evaluation.segmentation.figures import (
    PICTURED,
    Outlined,
    draw_means,
    draw_outlines,
    draw_reliability,
)
from acuity.research.evaluation.segmentation.models import SegmentationModel, require_models
from acuity.research.evaluation.segmentation.table import HR, NOTES, pooled, read_published, summary
from acuity.research.evaluation.tables import Row, grouped
from acuity.research.evaluation.volumes.figures import pixel_aspects, tumor_slices
from acuity.research.metrics.overlap import brats_overlap, present_overlap
from acuity.resources import config_file
from acuity.volume import Volume

BRAINS_DIFFER = 0.25  # of their voxels; stripping 3 mm too much or too little changes 15 %

_KEYS = ("case", "model", "input")
_Key = tuple[str, ...]


def evaluate(
    *,
    data: str | Path | None,
    output: str | Path,
    cases: Seq[str],
    models: Seq[SegmentationModel],
    inputs: Mapping[str, str | Path] | None = None,
    missing: Seq[Sequence] = (),
) -> Path:
    """Segment each case on each kind of input by each model, and score ET, TC and WT against the truth.

    Every model is given the brain of the input's images, all four of them: wherever any has signal.
    ``segmentation.csv`` has a row for each case, model, input and region, ``segmentation.md`` the means, the
    differences to the original images with their confidence intervals and what the columns are, ``calibration.csv``
    the voxels by their probability, ``settings.json`` what is needed to repeat it; ``dice.png``, ``reliability.png``
    and, for each case, ``panels/CASE.png`` show them. All are written after each case, the tables' rows after each
    model. Rows of an earlier run are kept: they are measured again only where the images, the truth, the model or
    Acuity's version were others.

    Parameters
    ----------
    data : folder of BraTS cases: the truth, and the input HR; None takes the environment's
    models : see ``acuity.research.evaluation.segmentation.models``
    inputs : further kinds of input by name, each a folder of the same cases on the same grids, as `acuity dataset`
        makes them; labels in it are not looked at
    missing : sequences that are kept from the models; the inputs' names then say so

    Returns
    -------
    ``segmentation.csv``

    Raises
    ------
    DataError : a case that is absent or not on the grid of the truth, a name given twice, no sequence that is left
    ModelError : a model that cannot be used
    OutputError : ``output`` cannot be written to
    """
    source, folder = brats.data_folder(data), Path(output)
    require_models(models)
    kinds = _kinds(source, inputs or {}, missing)
    volume_files.make_folder(folder)
    run = _Run(folder, models, kinds)
    with tqdm(total=len(cases) * len(kinds) * len(models), desc="segmentation") as bar:
        for name in cases:
            case = _Case(source / name)
            for kind in kinds:
                run.measure(_Task(case, kind), bar)
            run.write()
            run.draw(case)
    run.draw_all()
    return run.table


def brain_of(images: Mapping[Sequence, Volume]) -> Volume:
    """The mask of a stripped case: wherever any sequence has signal."""
    return images[Sequence.T1].with_array(brats.brain_mask(images).astype(np.uint8))


def score(
    result: SegmentationResult, truth: Volume, brain: Volume
) -> tuple[dict[Region, Row], dict[Region, list[Row]]]:
    """Of each region the scores, and the voxels of the brain by their probability.

    Parameters
    ----------
    truth : labels 0, 1, 2, 4 on the grid of ``result``
    brain : uint8 mask on that grid

    Returns
    -------
    Scores that are not defined are "".
    """
    scores: dict[Region, Row] = {}
    bins: dict[Region, list[Row]] = {}
    inside = brain.array > 0
    preds, target = labels_to_regions(result.labels.array), labels_to_regions(truth.array)
    for region, p, t, probabilities in zip(Region, preds, target, result.probabilities, strict=True):
        overlap = brats_overlap(p, t, spacing=tuple(truth.spacing))
        present = present_overlap(overlap, p, t)
        expected = expected_dice(probabilities, p)
        scores[region] = {
            **asdict(overlap),
            **{f"{name}_paper": "" if math.isnan(value) else value for name, value in asdict(present).items()},
            "volume_ml": float(p.sum()) * truth.grid.voxel_volume,
            "true_volume_ml": float(t.sum()) * truth.grid.voxel_volume,
            "expected_dsc": "" if math.isnan(expected) else expected,
        }
        found = reliability(probabilities[inside], t[inside])
        bins[region] = [
            {"bin": str(n), "voxels": str(voxels), "positives": str(positives), "probabilities": float(total)}
            for n, (voxels, positives, total) in enumerate(
                zip(found.voxels, found.positives, found.probabilities, strict=True)
            )
        ]
    return scores, bins


@dataclass(frozen=True)
class _Kind:
    """A kind of input: a folder of cases, of which some sequences are kept from the models."""

    name: str
    folder: Path
    missing: tuple[Sequence, ...]


def _kinds(source: Path, inputs: Mapping[str, str | Path], missing: Seq[Sequence]) -> list[_Kind]:
    if HR in inputs:
        raise DataError(
            f"An input is named {HR}.", rule=f"{HR} are the original images.", remedy="Give the input another name."
        )
    if len(set(missing)) == len(Sequence):
        raise DataError(
            f"{', '.join(missing)} are missing.",
            rule="A tumor is sought in one sequence at least.",
            remedy="Leave one out.",
        )
    kept_away = tuple(sequence for sequence in Sequence if sequence in missing)
    suffix = f" without {', '.join(kept_away)}" if kept_away else ""
    folders = {HR: source, **{name: brats.data_folder(path) for name, path in inputs.items()}}
    return [_Kind(name + suffix, folder, kept_away) for name, folder in folders.items()]


@dataclass(frozen=True)
class _Case:
    """A case of the truth, read when it is needed."""

    folder: Path

    @cached_property
    def images(self) -> dict[Sequence, Volume]:
        return brats.read_case(self.folder)

    @cached_property
    def truth(self) -> Volume:
        return brats.read_labels(self.folder)

    @cached_property
    def brain(self) -> Volume:
        return brain_of(self.images)

    @cached_property
    def sha256(self) -> str:
        files = [*brats.image_files(self.folder).values(), brats.labels_file(self.folder)]
        return volume_files.files_sha256(files)


@dataclass(frozen=True)
class _Task:
    """A case as one kind of input."""

    case: _Case
    kind: _Kind

    @cached_property
    def images(self) -> dict[Sequence, Volume]:
        """All four, on the grid of the truth."""
        folder = self.kind.folder / self.case.folder.name
        if folder == self.case.folder:
            return self.case.images
        images = brats.read_case(folder)
        for sequence, volume in images.items():
            if not volume.grid.same_as(self.case.truth.grid):
                raise DataError(
                    f"{sequence.value} of {folder.name} in {self.kind.folder} has another grid than the truth.",
                    rule="An input lies on the grid of the truth.",
                    remedy="Bring it there, as `acuity dataset interpolated` and `sr` do; crop both or neither.",
                )
        return images

    @cached_property
    def brain(self) -> Volume:
        """As these images were stripped, well or badly, but stripped."""
        if self.images is self.case.images:
            return self.case.brain
        brain = brain_of(self.images)
        ratio = float(brain.array.sum()) / float(self.case.brain.array.sum())
        if abs(ratio - 1) > BRAINS_DIFFER:
            raise DataError(
                f"In {self.case.folder.name} of {self.kind.folder} {ratio:.2f} times as many voxels have signal as in "
                "the brain of the original images.",
                rule=f"Images are 0 outside the brain; it may differ by {BRAINS_DIFFER:.0%}, as bad stripping does.",
                remedy="Set to 0 what lies outside, as `acuity dataset interpolated` and `sr` do.",
            )
        return brain

    @property
    def given(self) -> dict[Sequence, Volume]:
        """What the models are given."""
        return {sequence: self.images[sequence] for sequence in Sequence if sequence not in self.kind.missing}

    @cached_property
    def made_from(self) -> list[object]:
        files = brats.image_files(self.kind.folder / self.case.folder.name).values()
        return [self.case.sha256, volume_files.files_sha256(files), list(self.kind.missing), software()["acuity"]]

    def slices(self, preds: Volume) -> dict[str, NDArray[np.float32]]:
        """What is pictured: axial slices with most tumor, of the images, the truth and what was found."""
        pictured = {sequence.value: self.images[sequence] for sequence in PICTURED}
        volumes = {**pictured, "truth": self.case.truth, "preds": preds}
        return {name: tumor_slices(volume, self.case.truth)["Axial"] for name, volume in volumes.items()}


class _Run:
    """The rows of a folder, those of earlier runs first, and the files beside them."""

    def __init__(self, folder: Path, models: Seq[SegmentationModel], kinds: Seq[_Kind]) -> None:
        self.folder, self.models, self.kinds = folder, models, kinds
        self.table, self.calibration = folder / "segmentation.csv", folder / "calibration.csv"
        self.rows = grouped(volume_files.read_rows(self.table), *_KEYS)
        self.bins = grouped(volume_files.read_rows(self.calibration), *_KEYS)

    def measure(self, task: _Task, bar: tqdm) -> None:
        """Segment by each model whose rows or slices are absent or were made from something else."""
        for model in self.models:
            key = (task.case.folder.name, model.name, task.kind.name)
            mark = volume_files.fingerprint(key, task.made_from, dict(model.origin))
            if not self._current(key, mark):
                start = time.perf_counter()
                result = model.segmenter(task.given, task.brain)
                seconds = time.perf_counter() - start
                self._keep(key, mark, result, task, seconds)
            bar.update()

    def write(self) -> None:
        """Summary and settings, as far as they are known."""
        settings = self._settings()
        volume_files.write_text(json.dumps(settings, indent=2) + "\n", self.folder / "settings.json")
        # Read again, so that a run in one go and one that was resumed say the same.
        text = summary(
            volume_files.read_rows(self.table),
            volume_files.read_rows(self.calibration),
            published=read_published(config_file("seg/published.csv")),
            notes=[f"Cases: {', '.join(dict.fromkeys(key[0] for key in self.rows))}."],
        )
        volume_files.write_text(text, self.table.with_suffix(".md"))

    def draw(self, case: _Case) -> None:
        """The picture of a case."""
        path = self.folder / "panels" / f"{case.folder.name}.png"
        path.parent.mkdir(exist_ok=True)
        views: dict[str, dict[str, Outlined]] = {}
        for kind in self.kinds:
            for model in self.models:
                key = (case.folder.name, model.name, kind.name)
                slices, _ = volume_files.read_slices(self._slices(key))
                dsc = {Region(str(row["region"])): float(row["dsc"]) for row in self.rows[key]}
                views.setdefault(kind.name, {})[model.name] = Outlined(slices, dsc)
        draw_outlines(case.folder.name, views, pixel_aspects(case.truth)["Axial"], path)

    def draw_all(self) -> None:
        """The pictures of all cases together."""
        draw_means(volume_files.read_rows(self.table), self.folder / "dice.png")
        draw_reliability(pooled(volume_files.read_rows(self.calibration)), self.folder / "reliability.png")

    def _current(self, key: _Key, mark: str) -> bool:
        kept = [*self.rows.get(key, []), *self.bins.get(key, [])]
        marks = {str(row["made_from"]) for row in kept} | {volume_files.read_slices(self._slices(key))[1]}
        return key in self.rows and key in self.bins and marks == {mark}

    def _keep(self, key: _Key, mark: str, result: SegmentationResult, task: _Task, seconds: float) -> None:
        names = dict(zip(_KEYS, key, strict=True))
        grade = {"grade": grade_of(key[0])}
        scores, bins = score(result, task.case.truth, task.brain)
        made = {"made_from": mark}
        self.rows[key] = [
            {**names, **grade, "region": region.value, **row, "seconds": seconds, **made}
            for region, row in scores.items()
        ]
        self.bins[key] = [{**names, "region": region.value, **row, **made} for region in bins for row in bins[region]]
        volume_files.save_slices(task.slices(result.labels), self._slices(key), mark)
        volume_files.write_rows(_flat(self.rows.values()), self.table)
        volume_files.write_rows(_flat(self.bins.values()), self.calibration)

    def _slices(self, key: _Key) -> Path:
        case, model, kind = key
        return self.folder / "slices" / kind / model / f"{case}.npz"

    def _settings(self) -> dict[str, object]:
        """Those of this run, and the models and inputs of earlier ones."""
        earlier = volume_files.read_settings(self.folder / "settings.json")
        inputs = {kind.name: {"made": made_as(kind.folder), "missing": list(kind.missing)} for kind in self.kinds}
        return {
            "models": earlier.get("models", {}) | {model.name: dict(model.origin) for model in self.models},
            "inputs": earlier.get("inputs", {}) | inputs,
            "definitions": list(NOTES),
            "bootstrap": bootstrap.DESCRIPTION,
            "timing": {"threads": torch.get_num_threads(), "gpu": torch.cuda.is_available()},
            "software": software(),
        }


def grade_of(case: str) -> str:
    """As the fixed split has it: "low" (hardly any enhancing part) or "high"; "unknown" of other cases."""
    split = brats.read_split()
    if case in split["low_grade"]:
        return "low"
    return "high" if any(case in split[part] for part in ("train", "validation", "test")) else "unknown"


def _flat(groups: Iterable[Seq[Row]]) -> list[Row]:
    return [row for group in groups for row in group]
