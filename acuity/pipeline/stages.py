"""The stages between reading and writing, each a function from one result to the next.

``load_study`` -> ``choose_series`` -> ``preparation.prepare`` -> ``super_resolve_study`` -> ``segment_study`` ->
the functions of ``writing``.  Every result can describe itself for ``result.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from acuity.anatomy import REGION_LABELS, Region, Sequence
from acuity.dicom.reading.acquisition import acquisition_type
from acuity.dicom.reading.read import read_study
from acuity.dicom.reading.study import Study
from acuity.dicom.selection.rules import Rules, load_rules
from acuity.dicom.selection.select import Selection, select_sequences
from acuity.dicom.writing.model_info import ModelInfo
from acuity.imaging.forward_model import SliceProfile
from acuity.imaging.resampling import resample
from acuity.models.bundle import Bundle, load_bundle
from acuity.models.segmentation import SegmentationResult, segment
from acuity.models.source_grid import labels_on_grid
from acuity.models.super_resolution import Denoising, SuperResolution, super_resolve
from acuity.models.uncertainty import Uncertainty, uncertainty
from acuity.pipeline.preparation import REFERENCE, Prepared, mask_on_grid
from acuity.volume import Grid, Volume

SUPER_RESOLUTION_BUNDLE = "brain_mri_super_resolution"
SEGMENTATION_BUNDLE = "brain_tumor_segmentation"

Progress = Callable[[float], None]
SuperResolver = Callable[..., SuperResolution]
Segmenter = Callable[..., SegmentationResult]


@dataclass(frozen=True)
class Models:
    """The released bundles that the application runs."""

    super_resolution: Bundle
    segmentation: Bundle

    def describe(self) -> dict[str, Any]:
        """The ``models`` section of ``result.json``."""
        return {
            "models": [
                {"name": bundle.name, "version": bundle.version, "weights_sha256": bundle.weights_sha256}
                for bundle in (self.super_resolution, self.segmentation)
            ]
        }

    def summary(self) -> str:
        """One line for people."""
        return ", ".join(f"{bundle.name} {bundle.version}" for bundle in (self.super_resolution, self.segmentation))


def load_models(folder: Path) -> Models:
    """Load both bundles.

    Raises
    ------
    BundleNotFoundError, BundleError
        When one is absent or cannot be used.
    """
    return Models(load_bundle(folder, SUPER_RESOLUTION_BUNDLE), load_bundle(folder, SEGMENTATION_BUNDLE))


def model_info(bundle: Bundle) -> ModelInfo:
    """A bundle, as DICOM objects name it."""
    return ModelInfo(name=bundle.name, version=bundle.version, weights_sha256=bundle.weights_sha256)


@dataclass(frozen=True)
class Loaded:
    """A study's headers."""

    study: Study

    def describe(self) -> dict[str, Any]:
        """The ``inputs`` section of ``result.json``: UIDs and verdicts, no descriptions."""
        return {
            "inputs": {
                "study_uid": self.study.study_uid,
                "series": [
                    {"series_uid": s.series_uid, "verdict": s.verdict, "code": s.code, "reason": s.reason}
                    for s in self.study.series
                ],
                "files_ignored": len(self.study.ignored),
            },
            "warnings": [warning for s in self.study.series for warning in s.warnings],
        }

    def summary(self) -> str:
        """One line for people."""
        refused = sum(s.verdict != "ok" for s in self.study.series)
        return f"{len(self.study.series)} series" + (f", {refused} of them refused" if refused else "")


def load_study(path: Path) -> Loaded:
    """Read a study's headers, see ``acuity.dicom.reading.read.read_study``."""
    return Loaded(read_study(path))


@dataclass(frozen=True)
class Chosen:
    """The series for each sequence."""

    selection: Selection

    def describe(self) -> dict[str, Any]:
        """The ``selection`` section of ``result.json``."""
        return {
            "selection": {
                sequence.value: {"series_uid": choice.series.series_uid, "reason": choice.reason}
                for sequence, choice in self.selection.choices.items()
            }
        }

    def summary(self) -> str:
        """One line for people: how each sequence was measured."""
        return ", ".join(
            f"{sequence.value} {_millimeters(choice.stack.grid)}" for sequence, choice in self.selection.choices.items()
        )


def choose_series(loaded: Loaded, *, rules: Path | None = None, named: Mapping[Sequence, str] | None = None) -> Chosen:
    """Find T1, T1c, T2 and FLAIR, see ``acuity.dicom.selection.select.select_sequences``.

    Parameters
    ----------
    rules : file with rules that replace the built-in ones
    named : SeriesInstanceUID that the user named for a sequence
    """
    read: Rules | None = load_rules(rules) if rules else None
    return Chosen(select_sequences(loaded.study, rules=read, overrides=dict(named or {})))


@dataclass(frozen=True)
class SuperResolved:
    """Four volumes on one fine grid.

    Parameters
    ----------
    volumes : float32, all on the super-resolved grid of the reference, in its frame of reference
    brain : uint8 mask on that grid
    residuals : by sequence, the largest difference of any voxel between what was measured and the super-resolved image
        degraded again, in parts of the intensity range: of the network's image, and after data consistency was
        enforced
    slice_profiles : by sequence, what ``super_resolve`` took its slices for
    source : the reference as it was measured
    model : the network
    denoising, fusion : as they were asked for, see ``super_resolve``
    """

    volumes: Mapping[Sequence, Volume]
    brain: Volume
    residuals: Mapping[Sequence, tuple[float, float]]
    slice_profiles: Mapping[Sequence, SliceProfile]
    source: Volume
    model: ModelInfo
    denoising: Denoising | None = None
    fusion: bool = False

    @property
    def grid(self) -> Grid:
        """Where all volumes lie."""
        return self.brain.grid

    def describe(self) -> dict[str, Any]:
        """The ``super_resolution`` section of ``result.json``."""
        return {
            "super_resolution": {
                "shape": list(self.grid.shape),
                "spacing_mm": [round(float(s), 4) for s in self.grid.spacing],
                "denoising": self.denoising,
                "fusion": self.fusion,
                "slice_profile": {sequence.value: profile for sequence, profile in self.slice_profiles.items()},
                "data_consistency_residual": {
                    sequence.value: {"before": round(before, 5), "after": round(after, 5)}
                    for sequence, (before, after) in self.residuals.items()
                },
            }
        }

    def summary(self) -> str:
        """One line for people."""
        return f"{_millimeters(self.source.grid)} -> {_millimeters(self.grid)}"


def super_resolve_study(
    prepared: Prepared,
    bundle: Bundle,
    *,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    progress: Progress | None = None,
    denoising: Denoising | None = None,
    fusion: bool = False,
    super_resolver: SuperResolver = super_resolve,
) -> SuperResolved:
    """Super-resolve each sequence on its own grid, then bring all onto the reference's fine grid.

    So the network sees voxels as they were measured, and each result is interpolated once at most: not at all where
    its fine grid is the reference's already. Slices of 2D acquisitions are taken for means over their spacing.

    Parameters
    ----------
    spacing : coarsest voxels wanted in mm along i, j, k; an axis that was measured finer keeps its spacing
    progress : called with the part that is done, 0 to 1
    denoising, fusion : see ``super_resolve``
    super_resolver : the library's, or another with its signature
    """
    fine = prepared.reference.grid.with_spacing(_target(prepared.reference.grid, spacing))
    volumes, residuals = {}, {}
    profiles = {sequence: _slice_profile(volume) for sequence, volume in prepared.volumes.items()}
    for number, (sequence, volume) in enumerate(prepared.volumes.items()):
        report = _part_of(progress, number, len(prepared.volumes))
        result = super_resolver(
            volume,
            bundle,
            spacing=_target(volume.grid, spacing),
            mask=prepared.brain_of(sequence),
            progress=report,
            denoising=denoising,
            fusion=fusion,
            slice_profile=profiles[sequence],
        )
        residuals[sequence] = (result.residual, result.residual_after)
        rigid = prepared.alignment[sequence]
        moved = _onto(result.volume, fine, rigid.matrix if rigid.performed else None)
        volumes[sequence] = replace(moved, frame_of_reference_uid=prepared.frame_of_reference_uid)
    return SuperResolved(
        volumes=volumes,
        brain=replace(
            mask_on_grid(prepared.brain, volumes[REFERENCE].grid),
            frame_of_reference_uid=prepared.frame_of_reference_uid,
        ),
        residuals=residuals,
        slice_profiles=profiles,
        source=replace(prepared.reference, frame_of_reference_uid=prepared.frame_of_reference_uid),
        model=model_info(bundle),
        denoising=denoising,
        fusion=fusion,
    )


@dataclass(frozen=True)
class Segmented:
    """The tumor.

    Parameters
    ----------
    labels : uint8 of 0, 1, 2 and 4 on the super-resolved grid
    source_labels : the same on the grid that the reference was measured on
    model : the network
    uncertainty : of each region on the super-resolved grid
    """

    labels: Volume
    source_labels: Volume
    model: ModelInfo
    uncertainty: Mapping[Region, Uncertainty]

    def describe(self) -> dict[str, Any]:
        """The ``uncertainty`` section of ``result.json``; the report measures."""
        return {"uncertainty": {region.value: found.describe() for region, found in self.uncertainty.items()}}

    def summary(self) -> str:
        """One line for people."""
        voxel = self.labels.grid.voxel_volume
        return ", ".join(
            f"{region.value} {np.isin(self.labels.array, REGION_LABELS[region]).sum() * voxel:.1f} ml"
            for region in Region
        )


def segment_study(
    images: SuperResolved, bundle: Bundle, *, progress: Progress | None = None, segmenter: Segmenter = segment
) -> Segmented:
    """Find the tumor on the fine grid, and bring its labels to the grid that was measured.

    Parameters
    ----------
    progress : called with the part that is done, 0 to 1
    segmenter : the library's, or another with its signature
    """
    result = segmenter(dict(images.volumes), images.brain, bundle, progress=progress)
    # The reference's fine volume says where labels lie and which images they come from.
    labels = images.volumes[REFERENCE].with_array(result.labels.array)
    return Segmented(labels, labels_on_grid(labels, images.source.grid), model_info(bundle), uncertainty(result))


def as_measured(prepared: Prepared) -> dict[Sequence, Volume]:
    """The four volumes on the grid that the reference was measured on, each interpolated once at most."""
    return {
        sequence: _onto(volume, prepared.reference.grid, rigid.matrix if rigid.performed else None)
        for sequence, volume in prepared.volumes.items()
        for rigid in [prepared.alignment[sequence]]
    }


def _target(grid: Grid, spacing: tuple[float, float, float]) -> tuple[float, float, float]:
    """The wanted spacing along each axis, but never coarser than what was measured."""
    i, j, k = (float(min(own, wanted)) for own, wanted in zip(grid.spacing, spacing, strict=True))
    return i, j, k


def _slice_profile(volume: Volume) -> SliceProfile:
    """A box where the first header says 2D: such slices are excited one by one."""
    two_dimensional = volume.source_images and acquisition_type(volume.source_images[0]) == "2D"
    return "box" if two_dimensional else "cubic"


def _onto(volume: Volume, grid: Grid, matrix: np.ndarray | None) -> Volume:
    """One cubic interpolation, without its overshoot at edges; none where nothing has to move."""
    if matrix is None and volume.grid.same_as(grid):
        return volume.on_grid(volume.array, grid)
    moved = resample(volume, grid, matrix, interpolation="bspline")
    return moved.with_array(np.clip(moved.array, volume.array.min(), volume.array.max()))


def _part_of(progress: Progress | None, number: int, count: int) -> Progress | None:
    if progress is None:
        return None
    return lambda done: progress((number + done) / count)


def _millimeters(grid: Grid) -> str:
    return "x".join(f"{s:.3g}" for s in grid.spacing) + " mm"
