"""How much sharper: super-resolved volumes against tricubic interpolation, on cases with a known truth."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from tqdm import tqdm

from acuity.anatomy import Sequence
from acuity.errors import DataError
from acuity.imaging.intensity import bright_end
from acuity.imaging.point_spread import PointSpread
from acuity.models.super_resolution import Denoising
from acuity.pipeline.result import software
from acuity.research.datasets import brats
from acuity.research.degradations.volumes import Halved, Shrinking, ThickSlices
from acuity.research.evaluation import columns as col
from acuity.research.evaluation.figures import pixel_aspects, tumor_slices
from acuity.research.evaluation.settings import common_settings
from acuity.research.evaluation.volumes.figures import draw_volumes
from acuity.research.evaluation.volumes.table import NOTES, summary
from acuity.research.metrics.image import data_consistency, peak_signal_noise_ratio
from acuity.research.options import VolumeDegradation
from acuity.research.restoration import Restored, VolumeMethod, volume_methods
from acuity.research.store import Store, fingerprint, read_arrays, save_arrays, save_volume, volume_sha256, write_text
from acuity.volume import Volume

Degradation = Shrinking | ThickSlices | Halved

DEGRADATIONS: dict[VolumeDegradation, Degradation] = {
    "x2": Shrinking(2, 2),
    "x4": Shrinking(4, 4),
    "in-plane-x2": Shrinking(2, 1),
    "in-plane-x4": Shrinking(4, 1),
    "through-plane-x2": Shrinking(1, 2),
    "slices-3mm": ThickSlices(3.0),
    "slices-5mm": ThickSlices(5.0),
    "slices-6mm": ThickSlices(6.0),
    "x2-kspace": Halved(PointSpread("kspace")),
    "x2-hann": Halved(PointSpread("hann")),
    "x2-box": Halved(PointSpread("box")),
    "x2-gaussian-0.6": Halved(PointSpread("gaussian", 0.6)),
    "x2-gaussian-1.0": Halved(PointSpread("gaussian", 1.0)),
    "x2-gaussian-1.3": Halved(PointSpread("gaussian", 1.3)),
}
PICTURED = Sequence.T1C  # of the first case, where it is measured
TABLE = "super_resolution"

_KEYS = (col.CASE, col.SEQUENCE, col.DEGRADATION, col.METHOD)


def evaluate(
    *,
    data: str | Path | None,
    models: str | Path,
    output: str | Path,
    cases: Seq[str],
    sequences: Seq[Sequence] = tuple(Sequence),
    bundles: Mapping[str, str] | None = None,
    degradations: Seq[VolumeDegradation] = tuple(DEGRADATIONS),
    fusion: bool = False,
    denoising: Denoising | None = None,
    keep: Mapping[str, str | Path] | None = None,
) -> Path:
    """Degrade each case, bring it back by interpolation and by each bundle, and measure.

    Super-resolution is told whether slices have a profile, as the headers of a study tell it. It is not told the blur.
    ``super_resolution.csv`` has a row for each case, sequence, degradation and method, ``super_resolution.md`` the
    means, the gains over interpolation with their 95 % intervals and what the columns are, ``settings.json``
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
    source = brats.data_folder(data)
    _require_degradations([*degradations, *(keep or {})])
    pictured_sequence = PICTURED if PICTURED in sequences else sequences[0]
    methods = volume_methods(Path(models), bundles, fusion=fusion, denoising=denoising)
    run = _Run(Path(output), methods, degradations, {name: Path(path) for name, path in (keep or {}).items()})
    with tqdm(total=len(cases) * len(sequences) * len(degradations) * len(methods), desc="super-resolution") as bar:
        for n, case in enumerate(cases):
            images = brats.read_case(source / case)
            labels = brats.read_labels(source / case) if brats.is_labeled(source / case) else None
            for sequence, name in product(sequences, degradations):
                pictured = n == 0 and sequence is pictured_sequence
                run.measure(_Task(case, sequence, name, images[sequence], labels, pictured), bar)
            run.write()
            if n == 0:
                for name in degradations:
                    run.draw(_Task(case, pictured_sequence, name, images[pictured_sequence], labels, True))
    return run.store.path(TABLE)


def fidelity(preds: NDArray, target: NDArray) -> dict[str, float]:
    """PSNR in dB and SSIM (window of 7x7x7) of a volume, data range the target's maximum."""
    data_range = float(target.max())
    return {
        col.PSNR: peak_signal_noise_ratio(preds, target, data_range=data_range),
        col.SSIM: float(structural_similarity(target, preds, data_range=data_range)),
    }


def known_residual(preds: NDArray[np.float32], truth: Volume, low: Volume, degradation: Degradation) -> float:
    """The largest |degrade(preds) - low|, in parts of ``low``'s 99.9th percentile of its values above 0."""
    return data_consistency(
        preds,
        low.array,
        lambda sr: degradation(truth.with_array(sr)).array,
        data_range=bright_end(low.array),
    ).maximum


@dataclass(frozen=True)
class _Task:
    """A volume and how it is degraded; what is pictured of it goes through the tumor of ``labels``."""

    case: str
    sequence: Sequence
    name: VolumeDegradation
    whole: Volume
    labels: Volume | None
    pictured: bool

    @property
    def degradation(self) -> Degradation:
        return DEGRADATIONS[self.name]

    @property
    def truth(self) -> Volume:
        return self.degradation.covered(self.whole)

    def key(self, method: VolumeMethod) -> tuple[str, ...]:
        return self.case, self.sequence.value, self.name, method.name

    def slices(self, volume: Volume) -> dict[str, NDArray[np.float32]]:
        return tumor_slices(volume, None if self.labels is None else self.degradation.covered(self.labels))


class _Run:
    """Methods on tasks, and the files of an evaluation."""

    def __init__(
        self,
        folder: Path,
        methods: Seq[VolumeMethod],
        degradations: Seq[VolumeDegradation],
        keep: Mapping[str, Path],
    ) -> None:
        self.store = Store(folder, _KEYS, [TABLE])
        self.methods, self.degradations, self.keep = methods, degradations, keep

    def measure(self, task: _Task, bar: tqdm) -> None:
        """Restore a volume by each method whose row or files are absent or were made from something else."""
        image = volume_sha256(task.whole)
        low = None
        for method in self.methods:
            key = task.key(method)
            mark = fingerprint(*key, image, asdict(task.degradation), method.origin, software()["acuity"])
            files = [self._slices(task, method)] if task.pictured else []
            files += [self._volume(task, method)] if task.name in self.keep else []
            if not self.store.holds(key, mark, files):
                truth = task.truth
                low = low or task.degradation(truth)
                restored = method(truth, low, slice_profile=task.degradation.slice_profile)
                self.store.keep(key, mark, **{TABLE: [_row(task, restored, truth, low)]})
                if task.pictured:
                    save_arrays(task.slices(truth.with_array(restored.array)), self._slices(task, method), mark)
                if task.name in self.keep:
                    array = _placed(restored.array, truth, task.whole)
                    save_volume(array, task.whole.affine, self._volume(task, method), mark)
            bar.update()

    def write(self) -> None:
        """Table, summary and settings, as far as they are known."""
        self.store.write()
        used = {name: DEGRADATIONS[name] for name in self.degradations}
        settings: dict[str, Any] = {
            "degradations": {
                name: f"{degradation}; slice profile in super-resolution: {degradation.slice_profile}"
                for name, degradation in used.items()
            },
            "methods": {method.name: method.origin for method in self.methods},
            **common_settings(NOTES),
        }
        settings = self.store.write_settings(settings, united=["degradations", "methods"])
        scores = self.store.read(TABLE)
        notes = [f"Cases: {', '.join(scores[col.CASE].unique())}."]
        text = summary(scores, degradations=settings["degradations"], notes=notes)
        write_text(text, self.store.folder / f"{TABLE}.md")

    def draw(self, task: _Task) -> None:
        """The picture of a degradation."""
        psnr = self.store.read(TABLE).set_index(list(_KEYS))[col.PSNR].to_dict()
        draw_volumes(
            f"{task.name}: {task.sequence.value}, {task.case}",
            task.slices(task.truth),
            {method.name: read_arrays(self._slices(task, method)) for method in self.methods},
            {method.name: f"{psnr[task.key(method)]:.2f} dB" for method in self.methods},
            pixel_aspects(task.truth),
            self.store.folder / f"{task.name}.png",
        )

    def _slices(self, task: _Task, method: VolumeMethod) -> Path:
        return self.store.folder / "slices" / task.name / f"{method.name}.npz"

    def _volume(self, task: _Task, method: VolumeMethod) -> Path:
        file = f"{task.case}_{brats.FILE_SUFFIX[task.sequence]}.nii.gz"
        return self.keep[task.name] / method.name / task.case / file


def _row(task: _Task, restored: Restored, truth: Volume, low: Volume) -> dict[str, object]:
    return {
        **fidelity(restored.array, truth.array),
        col.RESIDUAL: restored.residual,
        col.RESIDUAL_AFTER: restored.residual_after,
        col.RESIDUAL_KNOWN: known_residual(restored.array, truth, low, task.degradation),
        col.SECONDS: restored.seconds,
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
