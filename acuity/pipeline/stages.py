"""The stages between reading and writing, each a function from one result to the next.

``load_study`` -> ``choose_series`` -> ``preparation.prepare`` -> ``super_resolve_study`` -> ``segment_study`` ->
the functions of ``writing``.  Results describe themselves for ``result.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from acuity.anatomy import REGION_LABELS, Label, Region, Sequence
from acuity.assessment import WHOLE, Assessment, assess, reference_of, with_offer
from acuity.dicom.reading.acquisition import acquisition_type
from acuity.dicom.reading.study import Study
from acuity.dicom.selection.rules import load_rules
from acuity.dicom.selection.select import Selection, examine, require
from acuity.dicom.writing.model_info import ModelInfo
from acuity.errors import MissingSequenceError
from acuity.imaging.coverage import slices_shown
from acuity.imaging.forward_model import SliceProfile
from acuity.imaging.registration import RigidResult
from acuity.imaging.resampling import mask_on_grid, resample
from acuity.models.bundle import Bundle, load_bundle
from acuity.models.progress import Progress, share
from acuity.models.segmentation import segment
from acuity.models.source_grid import labels_on_grid
from acuity.models.super_resolution import Denoising, super_resolve
from acuity.models.uncertainty import Uncertainty, uncertainty
from acuity.pipeline.preparation import Prepared
from acuity.pipeline.study import read_dicom, series_uids
from acuity.volume import Grid, Volume

SUPER_RESOLUTION_BUNDLE = "brain_mri_super_resolution"
SEGMENTATION_BUNDLE = "brain_tumor_segmentation"


@dataclass(frozen=True)
class Models:
    """The released bundles that the application runs."""

    super_resolution: Bundle
    segmentation: Bundle

    def describe(self) -> dict[str, Any]:
        """The ``models`` section of ``result.json``."""
        bundles = self.super_resolution, self.segmentation
        return {
            "models": [
                {
                    "name": bundle.name,
                    "version": bundle.version,
                    "weights_sha256": bundle.weights_sha256,
                    "config_sha256": bundle.config_sha256,
                }
                for bundle in bundles
            ],
            "warnings": [warning for bundle in bundles for warning in bundle.warnings],
        }

    def summary(self) -> str:
        """One line for people."""
        return ", ".join(f"{bundle.name} {bundle.version}" for bundle in (self.super_resolution, self.segmentation))


def load_models(folder: Path) -> Models:
    """Load both bundles; raises as ``load_bundle``."""
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
    return Loaded(read_dicom(path))


@dataclass(frozen=True)
class Chosen:
    """The series for each sequence."""

    selection: Selection

    def describe(self) -> dict[str, Any]:
        """The ``selection`` section of ``result.json``."""
        missing = {s.value: {"series_uid": None, "reason": p.found} for s, p in self.selection.problems.items()}
        chosen = {
            sequence.value: {"series_uid": choice.series.series_uid, "reason": choice.reason}
            for sequence, choice in self.selection.choices.items()
        }
        return {"selection": {**chosen, **missing}}

    def summary(self) -> str:
        """One line for people: how each sequence was measured."""
        return ", ".join(
            f"{sequence.value} {_millimeters(choice.stack.grid)}" for sequence, choice in self.selection.choices.items()
        )


def choose_series(
    loaded: Loaded,
    *,
    rules: Path | None = None,
    named: Mapping[Sequence, str] | None = None,
    allow_missing: bool = False,
) -> Chosen:
    """Find T1, T1c, T2 and FLAIR, see ``acuity.dicom.selection.select.examine``.

    Parameters
    ----------
    rules : file with rules that replace the built-in ones
    named : for a sequence the SeriesInstanceUID that the user named, or "#" and the Series Number
    allow_missing : take a study that lacks sequences, as far as ``assess`` accepts the rest. A series that is refused,
        or a doubt which series is meant, remains an error
    """
    overrides = series_uids(loaded.study, named or {})
    selection = examine(loaded.study, load_rules(rules) if rules else None, overrides)
    missing = {s: p for s, p in selection.problems.items() if isinstance(p, MissingSequenceError)}
    if allow_missing and len(missing) == len(selection.problems):
        assess(selection.choices)
        return Chosen(selection)
    try:
        require(selection)
    except MissingSequenceError as error:
        raise with_offer(error) from error
    return Chosen(selection)


@dataclass(frozen=True)
class SuperResolved:
    """Volumes on one fine grid.

    Parameters
    ----------
    volumes : float32, all on the super-resolved grid of the reference, in its frame of reference
    brain : uint8 mask on that grid
    residuals : by sequence, ``residual`` and ``residual_after`` of ``SuperResolution``
    blurs : by sequence, as ``SuperResolution.describe_blur`` has it
    slice_profiles : by sequence, as ``super_resolve`` was given them
    source : the reference as it was measured
    model : the network
    denoising, fusion : as ``super_resolve`` was given them
    shown : where a sequence shows something, uint8 on the grid, of those that do not show all of it
    assessment : what the sequences can tell
    """

    volumes: Mapping[Sequence, Volume]
    brain: Volume
    residuals: Mapping[Sequence, tuple[float, float]]
    slice_profiles: Mapping[Sequence, SliceProfile]
    source: Volume
    model: ModelInfo
    denoising: Denoising | None = None
    fusion: bool = False
    shown: Mapping[Sequence, Volume] = field(default_factory=dict)
    assessment: Assessment = WHOLE
    blurs: Mapping[Sequence, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def grid(self) -> Grid:
        """Where all volumes lie."""
        return self.brain.grid

    @property
    def reference(self) -> Sequence:
        """The sequence whose grid that is."""
        return reference_of(self.volumes)

    def without_unseen_slices(self, sequence: Sequence) -> Volume:
        """A volume without the slices at its ends that the sequence does not show, which are black."""
        volume = self.volumes[sequence]
        if sequence not in self.shown:
            return volume
        kept = slices_shown(self.shown[sequence], self.brain)
        affine = volume.affine.copy()
        affine[:3, 3] += kept.start * affine[:3, 2]
        array = volume.array[:, :, kept]
        return volume.on_grid(array, Grid(array.shape, affine))

    @property
    def assessed_brain(self) -> Volume:
        """The part of the brain that can be assessed: what the reference and FLAIR show of it."""
        return assessed(self.brain, self.shown, self.reference)

    @property
    def unassessed(self) -> Volume | None:
        """The rest of the brain, uint8; None where there is none."""
        rest = (self.brain.array > 0) & (self.assessed_brain.array == 0)
        return self.brain.with_array(rest.astype(np.uint8)) if rest.any() else None

    def describe(self) -> dict[str, Any]:
        """The ``super_resolution`` section of ``result.json``."""
        return {
            "super_resolution": {
                "shape": list(self.grid.shape),
                "spacing_mm": [round(float(s), 4) for s in self.grid.spacing],
                "denoising": self.denoising,
                "fusion": self.fusion,
                "slice_profile": {sequence.value: profile for sequence, profile in self.slice_profiles.items()},
                "blur": {sequence.value: dict(blur) for sequence, blur in self.blurs.items()},
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
) -> SuperResolved:
    """Super-resolve each sequence on its own grid, then bring all onto the reference's fine grid.

    So the network sees voxels as they were measured, and each result is interpolated once at most: not at all where
    its fine grid is the reference's already.

    Parameters
    ----------
    spacing : coarsest voxels wanted in mm along i, j, k; an axis that was measured finer keeps its spacing
    progress : called with the share that is done, 0 to 1
    denoising, fusion : see ``super_resolve``
    """
    fine = prepared.reference.grid.with_spacing(fine_spacing(prepared.reference.grid, spacing))

    def in_frame(volume: Volume) -> Volume:
        return replace(volume, frame_of_reference_uid=prepared.frame_of_reference_uid)

    volumes, residuals, blurs = {}, {}, {}
    profiles = {sequence: _slice_profile(volume) for sequence, volume in prepared.volumes.items()}
    count = len(prepared.volumes)
    for number, (sequence, volume) in enumerate(prepared.volumes.items()):
        result = super_resolve(
            volume,
            bundle.network,
            spacing=fine_spacing(volume.grid, spacing),
            mask=prepared.brain_of(sequence),
            progress=share(progress, number / count, (number + 1) / count),
            denoising=denoising,
            fusion=fusion,
            slice_profile=profiles[sequence],
        )
        residuals[sequence], blurs[sequence] = (result.residual, result.residual_after), result.describe_blur()
        volumes[sequence] = in_frame(_onto(result.volume, fine, prepared.alignment[sequence]))
    return SuperResolved(
        volumes=volumes,
        brain=in_frame(mask_on_grid(prepared.brain, fine)),
        residuals=residuals,
        slice_profiles=profiles,
        source=in_frame(prepared.reference),
        model=model_info(bundle),
        denoising=denoising,
        fusion=fusion,
        shown=shown_parts(prepared, fine),
        assessment=prepared.assessment,
        blurs=blurs,
    )


def assessed(brain: Volume, shown: Mapping[Sequence, Volume], reference: Sequence) -> Volume:
    """The part of a brain (uint8 mask) where the reference and FLAIR both show something."""
    inside = brain.array
    for sequence in {reference, Sequence.FLAIR} & set(shown):
        inside = inside * shown[sequence].array
    return brain.with_array(inside)


def shown_parts(prepared: Prepared, grid: Grid) -> dict[Sequence, Volume]:
    """Where each sequence shows something, uint8 on a grid of the reference's space; without those that show all."""
    found = {sequence: prepared.shown_of(sequence, grid) for sequence in prepared.volumes}
    return {sequence: mask for sequence, mask in found.items() if mask is not None}


@dataclass(frozen=True)
class Segmented:
    """The tumor.

    Parameters
    ----------
    images : it was found in these
    labels : uint8 of 0, 1, 2 and 4 on the super-resolved grid; of 0 and 2 where the whole tumor alone can be told
    source_labels : the same on the grid that the reference was measured on
    model : the network
    uncertainty : of each region on the super-resolved grid that is measured
    assessment : what the sequences could tell of it
    """

    images: SuperResolved
    labels: Volume
    source_labels: Volume
    model: ModelInfo
    uncertainty: Mapping[Region, Uncertainty]
    assessment: Assessment = WHOLE

    def describe(self) -> dict[str, Any]:
        """The ``uncertainty`` section of ``result.json``, and warnings; the report measures."""
        return {
            "uncertainty": {
                region.value: self.uncertainty[region].describe()
                if region in self.uncertainty
                else {
                    "expected_dice": None,
                    "volume_ml": None,
                    "not_assessable": self.assessment.why_not_measured(region),
                }
                for region in Region
            },
            "warnings": self.assessment.limits(),
        }

    def summary(self) -> str:
        """One line for people."""
        voxel = self.labels.grid.voxel_volume
        return ", ".join(
            f"{region.value} not assessable"
            if self.assessment.why_not_measured(region)
            else f"{region.value} {np.isin(self.labels.array, REGION_LABELS[region]).sum() * voxel:.1f} ml"
            for region in Region
        )


def segment_study(images: SuperResolved, bundle: Bundle, *, progress: Progress | None = None) -> Segmented:
    """Find the tumor on the fine grid, and bring its labels to the grid that was measured.

    Parameters
    ----------
    progress : called with the share that is done, 0 to 1
    """
    result = segment(images.volumes, images.assessed_brain, bundle, shown=images.shown, progress=progress)
    found = result.labels.array
    assessment = replace(images.assessment, found=bool(found.any()))
    if assessment.regions == (Region.WT,):
        found = np.where(found > 0, np.uint8(Label.EDEMA), np.uint8(0))
    # The reference's fine volume says where labels lie and which images they come from.
    labels = images.volumes[images.reference].with_array(found)
    source_labels = labels_on_grid(labels, images.source.grid)
    known = {r: one for r, one in uncertainty(result).items() if not assessment.why_not_measured(r)}
    return Segmented(images, labels, source_labels, model_info(bundle), known, assessment)


def as_measured(prepared: Prepared) -> dict[Sequence, Volume]:
    """The volumes on the grid that the reference was measured on, each interpolated once at most."""
    grid = prepared.reference.grid
    return {
        sequence: _onto(volume, grid, prepared.alignment[sequence]) for sequence, volume in prepared.volumes.items()
    }


def fine_spacing(grid: Grid, spacing: tuple[float, float, float]) -> tuple[float, float, float]:
    """The wanted spacing in mm along i, j, k, but never coarser than what was measured."""
    i, j, k = (float(min(own, wanted)) for own, wanted in zip(grid.spacing, spacing, strict=True))
    return i, j, k


def _slice_profile(volume: Volume) -> SliceProfile:
    """A box where the first header says 2D: such slices are excited one by one."""
    two_dimensional = volume.source_images and acquisition_type(volume.source_images[0]) == "2D"
    return "box" if two_dimensional else "cubic"


def _onto(volume: Volume, grid: Grid, rigid: RigidResult) -> Volume:
    """One cubic interpolation, without its overshoot at edges; none where nothing has to move."""
    if not rigid.performed and volume.grid.same_as(grid):
        return volume.on_grid(volume.array, grid)
    moved = resample(volume, grid, rigid.matrix, interpolation="bspline")
    return moved.with_array(np.clip(moved.array, volume.array.min(), volume.array.max()))


def _millimeters(grid: Grid) -> str:
    return "x".join(f"{s:.3g}" for s in grid.spacing) + " mm"
