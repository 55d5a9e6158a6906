"""How well the tumor is found: every model on every kind of input, original, interpolated and super-resolved."""

from __future__ import annotations

import time
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from acuity.anatomy import Region, Sequence, labels_to_regions
from acuity.models.calibration import expected_dice, reliability
from acuity.models.segmentation import SegmentationResult
from acuity.research.datasets import brats
from acuity.research.derived.sets import made_as
from acuity.research.evaluation import columns as col
from acuity.research.evaluation.cases import grade_of
from acuity.research.evaluation.figures import pixel_aspects
from acuity.research.evaluation.segmentation.figures import Outlined, draw_means, draw_outlines, draw_reliability
from acuity.research.evaluation.segmentation.inputs import Case, Kind, Task, input_kinds
from acuity.research.evaluation.segmentation.models import SegmentationModel, require_models
from acuity.research.evaluation.segmentation.table import NOTES, pooled, summary
from acuity.research.evaluation.settings import common_settings
from acuity.research.evaluation.tables import read_published
from acuity.research.metrics.lesions import lesion_overlap
from acuity.research.metrics.overlap import brats_overlap, present_overlap
from acuity.research.store import Row, Store, fingerprint, read_arrays, save_arrays, write_text
from acuity.volume import Volume

TABLE = "segmentation"
CALIBRATION = "calibration"


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
    differences to the original images with their 95 % intervals and what the columns are, ``calibration.csv``
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
    source = brats.data_folder(data)
    require_models(models)
    kinds = input_kinds(source, inputs or {}, missing)
    run = _Run(Path(output), models, kinds)
    with tqdm(total=len(cases) * len(kinds) * len(models), desc="segmentation") as bar:
        for name in cases:
            case = Case(source / name)
            for kind in kinds:
                run.measure(Task(case, kind), bar)
            run.write()
            run.draw(case)
    run.draw_all()
    return run.store.path(TABLE)


def score(result: SegmentationResult, truth: Volume, brain: Volume) -> tuple[list[Row], list[Row]]:
    """Of each region the scores, and the voxels of the brain by their probability.

    Parameters
    ----------
    truth : labels 0, 1, 2, 4 on the grid of ``result``
    brain : uint8 mask on that grid

    Returns
    -------
    A row for each region, and one for each region and bin; NaN is what is not defined.
    """
    scores: list[Row] = []
    bins: list[Row] = []
    inside = brain.array > 0
    preds, target = labels_to_regions(result.labels.array), labels_to_regions(truth.array)
    for region, p, t, probabilities in zip(Region, preds, target, result.probabilities, strict=True):
        spacing = tuple(truth.spacing)
        overlap = brats_overlap(p, t, spacing=spacing)
        present = asdict(present_overlap(overlap, p, t))
        scores.append(
            {
                col.REGION: region.value,
                **asdict(overlap),
                **{f"{name}{col.PAPER}": value for name, value in present.items()},
                **asdict(lesion_overlap(p, t, spacing=spacing)),
                col.VOLUME: float(p.sum()) * truth.grid.voxel_volume,
                col.TRUE_VOLUME: float(t.sum()) * truth.grid.voxel_volume,
                col.EXPECTED_DSC: expected_dice(probabilities, p),
            }
        )
        found = reliability(probabilities[inside], t[inside])
        for n, (voxels, positives, total) in enumerate(
            zip(found.voxels, found.positives, found.probabilities, strict=True)
        ):
            bins.append(
                {
                    col.REGION: region.value,
                    col.BIN: n,
                    col.VOXELS: int(voxels),
                    col.POSITIVES: int(positives),
                    col.PROBABILITIES: float(total),
                }
            )
    return scores, bins


class _Run:
    """Models on tasks, and the files of an evaluation."""

    def __init__(self, folder: Path, models: Seq[SegmentationModel], kinds: Seq[Kind]) -> None:
        self.store = Store(folder, [col.CASE, col.MODEL, col.INPUT], [TABLE, CALIBRATION])
        self.models, self.kinds = models, kinds

    def measure(self, task: Task, bar: tqdm) -> None:
        """Segment by each model whose rows or slices are absent or were made from something else."""
        for model in self.models:
            key = (task.case.name, model.name, task.kind.name)
            mark = fingerprint(key, task.made_from, dict(model.origin))
            if not self.store.holds(key, mark, [self._slices(*key)]):
                start = time.perf_counter()
                result = model.segmenter(task.given, task.brain)
                seconds = time.perf_counter() - start
                scores, bins = score(result, task.case.truth, task.brain)
                scores = [{col.GRADE: grade_of(task.case.name), **row, col.SECONDS: seconds} for row in scores]
                self.store.keep(key, mark, **{TABLE: scores, CALIBRATION: bins})
                save_arrays(task.slices(result.labels), self._slices(*key), mark)
                self.store.write()
            bar.update()

    def write(self) -> None:
        """Summary and settings, as far as they are known."""
        inputs = {kind.name: {"made": made_as(kind.folder), "missing": list(kind.missing)} for kind in self.kinds}
        settings = {
            "models": {model.name: dict(model.origin) for model in self.models},
            "inputs": inputs,
            **common_settings(NOTES),
        }
        self.store.write_settings(settings, united=["models", "inputs"])
        scores = self.store.read(TABLE)
        text = summary(
            scores,
            self.store.read(CALIBRATION),
            published=read_published("seg"),
            notes=[f"Cases: {', '.join(scores[col.CASE].unique())}."],
        )
        write_text(text, self.store.folder / f"{TABLE}.md")

    def draw(self, case: Case) -> None:
        """The picture of a case."""
        path = self.store.folder / "panels" / f"{case.name}.png"
        path.parent.mkdir(exist_ok=True)
        dsc = self.store.read(TABLE).set_index([col.CASE, col.MODEL, col.INPUT, col.REGION])[col.DSC].to_dict()
        views = {
            kind.name: {
                model.name: Outlined(
                    read_arrays(self._slices(case.name, model.name, kind.name)),
                    {region: dsc[case.name, model.name, kind.name, region.value] for region in Region},
                )
                for model in self.models
            }
            for kind in self.kinds
        }
        draw_outlines(case.name, views, pixel_aspects(case.truth)["Axial"], path)

    def draw_all(self) -> None:
        """The pictures of all cases together."""
        draw_means(self.store.read(TABLE), self.store.folder / "dice.png")
        draw_reliability(pooled(self.store.read(CALIBRATION)), self.store.folder / "reliability.png")

    def _slices(self, case: str, model: str, kind: str) -> Path:
        return self.store.folder / "slices" / kind / model / f"{case}.npz"
