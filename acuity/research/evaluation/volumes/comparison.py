"""How much sharper: super-resolved volumes against tricubic interpolation, on cases with a known truth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from tqdm import tqdm

from acuity.anatomy import Sequence
from acuity.errors import DataError
from acuity.models.super_resolution import Denoising
from acuity.pipeline.result import software
from acuity.research.datasets import brats
from acuity.research.datasets.folders import case_folders
from acuity.research.degradations.volumes import Shrinking, ThickSlices
from acuity.research.evaluation import bootstrap
from acuity.research.evaluation import store as volume_files
from acuity.research.evaluation.tables import Row
from acuity.research.evaluation.volumes.figures import draw_volumes, pixel_aspects, tumor_slices
from acuity.research.evaluation.volumes.methods import Restored, VolumeMethod, volume_methods
from acuity.research.evaluation.volumes.table import NOTES, summary
from acuity.research.metrics.image import data_consistency, peak_signal_noise_ratio
from acuity.volume import Volume

DegradationName = Literal[
    "x2", "x4", "in-plane-x2", "in-plane-x4", "through-plane-x2", "slices-3mm", "slices-5mm", "slices-6mm"
]
DEGRADATIONS: dict[DegradationName, Shrinking | ThickSlices] = {
    "x2": Shrinking(2, 2),
    "x4": Shrinking(4, 4),
    "in-plane-x2": Shrinking(2, 1),
    "in-plane-x4": Shrinking(4, 1),
    "through-plane-x2": Shrinking(1, 2),
    "slices-3mm": ThickSlices(3.0),
    "slices-5mm": ThickSlices(5.0),
    "slices-6mm": ThickSlices(6.0),
}
PICTURED = Sequence.T1C  # of the first case, where it is measured

_KEYS = ("case", "sequence", "degradation", "method")


def evaluate(
    *,
    data: str | Path | None,
    models: str | Path,
    output: str | Path,
    cases: Seq[str],
    sequences: Seq[Sequence] = tuple(Sequence),
    bundles: Mapping[str, str] | None = None,
    degradations: Seq[DegradationName] = tuple(DEGRADATIONS),
    fusion: bool = False,
    denoising: Denoising | None = None,
    keep: Mapping[str, str | Path] | None = None,
) -> Path:
    """Degrade each case, bring it back by interpolation and by each bundle, and measure.

    Super-resolution is told each degradation's slice profile, as the headers of a study tell it.
    ``super_resolution.csv`` has a row for each case, sequence, degradation and method, ``super_resolution.md`` the
    means, the gains over interpolation with their confidence intervals and what the columns are, ``settings.json``
    what is needed to repeat it; ``DEGRADATION.png`` shows slices of the first case. All are written after each case.
    Rows of an earlier run are kept: they are measured again only where the image, the degradation, the bundle's
    weights, the options or Acuity's version were others.

    Parameters
    ----------
    data : folder of BraTS cases; None takes the environment's
    models : folder of bundles
    sequences : of each case
    bundles : of each method, by a name of choice, its bundle; None takes all that super-resolve
    fusion, denoising : of ``super_resolve``, for all bundles; the names of their methods then say so
    keep : degradations by name whose restored volumes are kept, and the folder of each: METHOD/CASE in the BraTS
        layout, on the case's own grid, 0 where thick slices did not cover it

    Returns
    -------
    The CSV.

    Raises
    ------
    DataError : a degradation that is none, files of a case that are absent, slices that do not make thick ones
    ModelError : a bundle that is absent, cannot be used or does not super-resolve
    OutputError : ``output`` cannot be written to
    """
    source, folder = brats.data_folder(data), Path(output)
    _require_degradations([*degradations, *(keep or {})])
    pictured_sequence = PICTURED if PICTURED in sequences else sequences[0]
    methods = volume_methods(Path(models), bundles, fusion=fusion, denoising=denoising)
    volume_files.make_folder(folder)
    run = _Run(folder, methods, {name: Path(path) for name, path in (keep or {}).items()})
    with tqdm(total=len(cases) * len(sequences) * len(degradations) * len(methods), desc="super-resolution") as bar:
        for n, case in enumerate(cases):
            images = brats.read_case(source / case)
            labels = brats.read_labels(source / case) if (source / case / f"{case}_seg.nii.gz").is_file() else None
            for sequence, name in product(sequences, degradations):
                pictured = n == 0 and sequence is pictured_sequence
                run.measure(_Task(case, sequence, name, images[sequence], labels, pictured), bar)
            run.write()
            if n == 0:
                for name in degradations:
                    run.draw(_Task(case, pictured_sequence, name, images[pictured_sequence], labels, True))
    return run.table


def unseen_cases(folder: Path, names: Seq[str] | None = None) -> list[str]:
    """The cases of a BraTS folder that are neither for training nor for validation; of these those in ``names``.

    Raises
    ------
    DataError : none is there, or one of ``names`` is not among them
    """
    split = brats.read_split()
    seen = {*split["train"], *split["validation"]}
    there = [case.name for case in case_folders(brats.data_folder(folder))]
    unseen = [case for case in there if case not in seen]
    for name in names or ():
        if name in there and name in seen:
            raise DataError(
                f"{name} is for training or validation.",
                rule="Methods are measured on cases on which nothing was trained or chosen.",
                remedy=f"Name others: {', '.join(unseen) or 'there are none'}.",
            )
        if name not in there:
            raise DataError(
                f"{folder} holds no case {name}.",
                rule="A case is named as its folder is.",
                remedy=f"Name one that is there: {', '.join(unseen) or 'there are none'}.",
            )
    if not unseen:
        raise DataError(
            f"{folder} holds no case to measure on.",
            rule="Methods are measured on cases on which nothing was trained or chosen.",
            remedy="Add the test cases of acuity/research/datasets/brats_split.json, or cases of your own.",
        )
    return unseen if names is None else [case for case in unseen if case in names]


def fidelity(preds: NDArray, target: NDArray) -> dict[str, float]:
    """PSNR in dB and SSIM (window of 7x7x7) of a volume, data range the target's maximum."""
    data_range = float(target.max())
    return {
        "psnr": peak_signal_noise_ratio(preds, target, data_range=data_range),
        "ssim": float(structural_similarity(target, preds, data_range=data_range)),
    }


def known_residual(
    preds: NDArray[np.float32], truth: Volume, low: Volume, degradation: Shrinking | ThickSlices
) -> float:
    """The largest |degrade(preds) - low|, in parts of ``low``'s 99.9th percentile of its values above 0."""
    signal = low.array[low.array > 0]
    return data_consistency(
        preds,
        low.array,
        lambda sr: degradation(truth.with_array(sr)).array,
        data_range=float(np.percentile(signal, 99.9)),
    ).maximum


@dataclass(frozen=True)
class _Task:
    """A volume and how it is degraded; what is pictured of it goes through the tumor of ``labels``."""

    case: str
    sequence: Sequence
    name: DegradationName
    whole: Volume
    labels: Volume | None
    pictured: bool

    @property
    def degradation(self) -> Shrinking | ThickSlices:
        return DEGRADATIONS[self.name]

    @property
    def truth(self) -> Volume:
        return self.degradation.covered(self.whole)

    def slices(self, volume: Volume) -> dict[str, NDArray[np.float32]]:
        return tumor_slices(volume, None if self.labels is None else self.degradation.covered(self.labels))


class _Run:
    """The rows of a folder, those of earlier runs first, and the files beside them."""

    def __init__(self, folder: Path, methods: Seq[VolumeMethod], keep: Mapping[str, Path]) -> None:
        self.folder, self.methods, self.keep = folder, methods, keep
        self.table = folder / "super_resolution.csv"
        self.rows = {tuple(str(row[key]) for key in _KEYS): row for row in volume_files.read_rows(self.table)}
        self.used: set[DegradationName] = set()

    def measure(self, task: _Task, bar: tqdm) -> None:
        """Restore a volume by each method whose row or files are absent or were made from something else."""
        self.used.add(task.name)
        image = volume_files.volume_sha256(task.whole)
        low = None
        for method in self.methods:
            mark = self._mark(task, method, image)
            if not self._current(task, method, mark):
                truth = task.truth
                low = low or task.degradation(truth)
                restored = method(truth, low, slice_profile=task.degradation.slice_profile)
                self.rows[_key(task, method)] = _row(task, method, restored, truth, low, mark)
                self._save(task, method, restored, truth, mark)
            bar.update()

    def write(self) -> None:
        """Table, summary and settings, as far as they are known."""
        volume_files.write_rows(self.rows.values(), self.table)
        settings = self._settings()
        path = self.folder / "settings.json"
        volume_files.write_text(json.dumps(settings, indent=2) + "\n", path)
        # Read again, so that a run in one go and one that was resumed say the same.
        text = summary(
            volume_files.read_rows(self.table),
            degradations=settings["degradations"],
            notes=[f"Cases: {', '.join(dict.fromkeys(key[0] for key in self.rows))}."],
        )
        volume_files.write_text(text, self.table.with_suffix(".md"))

    def draw(self, task: _Task) -> None:
        """The picture of a degradation."""
        slices = {method.name: volume_files.read_slices(self._slices(task, method))[0] for method in self.methods}
        captions = {method.name: f"{float(self.rows[_key(task, method)]['psnr']):.2f} dB" for method in self.methods}
        draw_volumes(
            f"{task.name}: {task.sequence.value}, {task.case}",
            task.slices(task.truth),
            slices,
            captions,
            pixel_aspects(task.truth),
            self.folder / f"{task.name}.png",
        )

    def _mark(self, task: _Task, method: VolumeMethod, image: str) -> str:
        parts = [*_key(task, method), image, asdict(task.degradation), method.origin, software()["acuity"]]
        return volume_files.fingerprint(*parts)

    def _current(self, task: _Task, method: VolumeMethod, mark: str) -> bool:
        row = self.rows.get(_key(task, method))
        marks = [row and row["made_from"]]
        if task.pictured:
            marks.append(volume_files.read_slices(self._slices(task, method))[1])
        if task.name in self.keep:
            marks.append(volume_files.volume_mark(self._volume(task, method)))
        return all(found == mark for found in marks)

    def _save(self, task: _Task, method: VolumeMethod, restored: Restored, truth: Volume, mark: str) -> None:
        if task.pictured:
            slices = task.slices(truth.with_array(restored.array))
            volume_files.save_slices(slices, self._slices(task, method), mark)
        if task.name in self.keep:
            array = _placed(restored.array, truth, task.whole)
            volume_files.save_volume(array, task.whole.affine, self._volume(task, method), mark)

    def _slices(self, task: _Task, method: VolumeMethod) -> Path:
        return self.folder / "slices" / task.name / f"{method.name}.npz"

    def _volume(self, task: _Task, method: VolumeMethod) -> Path:
        file = f"{task.case}_{brats.FILE_SUFFIX[task.sequence]}.nii.gz"
        return self.keep[task.name] / method.name / task.case / file

    def _settings(self) -> dict[str, dict]:
        """Those of this run, and the methods and degradations of earlier ones."""
        earlier = volume_files.read_settings(self.folder / "settings.json")
        used = {
            name: f"{degradation}; slice profile in super-resolution: {degradation.slice_profile}"
            for name, degradation in DEGRADATIONS.items()
            if name in self.used
        }
        return {
            "degradations": earlier.get("degradations", {}) | used,
            "methods": earlier.get("methods", {}) | {method.name: method.origin for method in self.methods},
            "definitions": list(NOTES),
            "bootstrap": bootstrap.DESCRIPTION,
            "timing": {"threads": torch.get_num_threads(), "gpu": torch.cuda.is_available()},
            "software": software(),
        }


def _key(task: _Task, method: VolumeMethod) -> tuple[str, ...]:
    return task.case, task.sequence.value, task.name, method.name


def _row(task: _Task, method: VolumeMethod, restored: Restored, truth: Volume, low: Volume, mark: str) -> Row:
    return {
        **dict(zip(_KEYS, _key(task, method), strict=True)),
        **fidelity(restored.array, truth.array),
        "residual": "" if restored.residual is None else restored.residual,
        "residual_after": "" if restored.residual_after is None else restored.residual_after,
        "residual_known": known_residual(restored.array, truth, low, task.degradation),
        "seconds": restored.seconds,
        "made_from": mark,
    }


def _placed(array: NDArray[np.float32], part: Volume, whole: Volume) -> NDArray[np.float32]:
    """``array`` of ``part``, some of the slices of ``whole``, where it lies in it; 0 elsewhere."""
    start = np.rint(np.linalg.solve(whole.affine, part.affine[:, 3])[:3]).astype(int)
    result = np.zeros(whole.shape, np.float32)
    result[tuple(slice(a, a + n) for a, n in zip(start, part.shape, strict=True))] = array
    return result


def _require_degradations(names: Seq[str]) -> None:
    for name in names:
        if name not in DEGRADATIONS:
            raise DataError(
                f"{name} is no degradation.",
                rule=f"It is one of {', '.join(DEGRADATIONS)}.",
                remedy="Correct the name.",
            )
