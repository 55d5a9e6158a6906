"""What the tasks do with a case: the library's calls, as the operators of the application make them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pydicom.uid import generate_uid

from acuity.anatomy import Region, Sequence
from acuity.imaging.refinement import Clicks, refined
from acuity.imaging.resampling import resample
from acuity.models.bundle import Bundle
from acuity.models.segmentation import SegmentationResult, network_channels, segment
from acuity.models.uncertainty import Uncertainty, uncertainty
from acuity.pipeline.preparation import REFERENCE, Prepared, prepare_volumes
from acuity.pipeline.stages import SuperResolved, as_measured, model_info, segment_study, super_resolve_study
from acuity.volume import Volume
from label.case import Case
from label.tasks.models import ServedModels
from label.tasks.spaces import labels_in_reference_space, labels_on_series

Report = Callable[[float], None]
_KEPT = 2  # cases of which is kept what was worked out: the one that is worked on, and the one before


@dataclass(frozen=True)
class Finding:
    """What a task found.

    Parameters
    ----------
    labels : uint8 of 0, 1, 2 and 4 on the grid of the opened series
    model : what computed them
    uncertainty : of each region; empty where no network was asked
    """

    labels: Volume
    model: Bundle
    uncertainty: Mapping[Region, Uncertainty] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """As a client sees it, and as a datastore notes it."""
        found = {region.value: one.describe() for region, one in self.uncertainty.items()}
        return {**describe_model(self.model), **({"uncertainty": found} if found else {})}


class Workplace:
    """The models, and what was worked out for the cases of late.

    Finding the brain and aligning the series takes longer than the network, super-resolution minutes: each is done once
    for the same images.

    Parameters
    ----------
    models : what is served
    """

    def __init__(self, models: ServedModels) -> None:
        self.models = models
        self._prepared: OrderedDict[str, Prepared] = OrderedDict()
        self._found: OrderedDict[tuple[str, str], SegmentationResult] = OrderedDict()
        self._sharpened: OrderedDict[tuple[str, str], SuperResolved] = OrderedDict()

    def segment(self, case: Case, report: Report) -> Finding:
        """Find the tumor in the images as they were measured; raises as the library's calls."""
        prepared, key = self._prepare(case)
        report(0.1)
        bundle = self.models.segmentation
        result = self._measured(prepared, key, bundle, lambda done: report(0.1 + 0.8 * done))
        return Finding(labels_on_series(result.labels, prepared, case.reference), bundle, uncertainty(result))

    def super_resolve_and_segment(self, case: Case, report: Report) -> Finding:
        """Find the tumor in the super-resolved images; its labels come back to the measured grid."""
        prepared, images = self._super_resolve(case, lambda done: report(0.6 * done))
        bundle = self.models.segmentation
        tumor = segment_study(images, bundle, progress=lambda done: report(0.6 + 0.3 * done))
        # The library brings them to the reference's grid; those of another series come from the fine grid too.
        fine = tumor.source_labels if case.reference is REFERENCE else tumor.labels
        return Finding(labels_on_series(fine, prepared, case.reference), bundle, tumor.uncertainty)

    def super_resolve(self, case: Case, report: Report) -> SuperResolved:
        """The sharper images, on one grid."""
        return self._super_resolve(case, report)[1]

    def refine(self, case: Case, labels: Volume, clicks: Clicks, report: Report) -> Finding:
        """Correct labels by clicks, guided by the images and, where the case was segmented of late, by the network.

        Parameters
        ----------
        labels : uint8 of 0, 1, 2 and 4 on the grid of the opened series
        clicks : voxels of that grid, and the labels that belong there
        """
        prepared, key = self._prepare(case)
        report(0.4)
        bundle = self.models.segmentation
        opened = case.opened.grid
        images = as_measured(prepared)
        channels = network_channels(images, prepared.brain)
        result = self._found.get((key, bundle.weights_sha256))
        scores = channels if result is None else np.concatenate([channels, result.probabilities])
        seen = np.stack([_onto_series(prepared.brain.with_array(one), prepared, case.reference) for one in scores])
        report(0.6)
        found = refined(
            labels.array,
            seen[: len(channels)],
            clicks,
            spacing=opened.spacing.tolist(),
            probabilities=None if result is None else seen[len(channels) :],
        )
        return Finding(case.opened.with_array(found), bundle)

    def _super_resolve(self, case: Case, report: Report) -> tuple[Prepared, SuperResolved]:
        prepared, key = self._prepare(case)
        report(0.05)
        bundle = self.models.super_resolution
        known = self._sharpened.get((key, bundle.weights_sha256))
        if known is None:
            known = super_resolve_study(prepared, bundle, progress=lambda done: report(0.05 + 0.95 * done))
            _keep(self._sharpened, (key, bundle.weights_sha256), known)
        return prepared, known

    def _measured(self, prepared: Prepared, key: str, bundle: Bundle, report: Report) -> SegmentationResult:
        known = self._found.get((key, bundle.weights_sha256))
        if known is None:
            known = segment(as_measured(prepared), prepared.brain, bundle, progress=report)
            _keep(self._found, (key, bundle.weights_sha256), known)
        return known

    def _prepare(self, case: Case) -> tuple[Prepared, str]:
        key = _digest(case)
        known = self._prepared.get(key)
        if known is None:
            known = prepare_case(case)
            _keep(self._prepared, key, known)
        return known, key


def prepare_case(case: Case) -> Prepared:
    """Align the series and find the brain.

    Images without a frame of reference that lie on the reference's voxels were brought there: they are not moved again.

    Raises
    ------
    RegistrationError, BrainExtractionError
        See ``acuity.pipeline.preparation.prepare_volumes``.
    """
    grid = case.volumes[REFERENCE].grid
    common = case.volumes[REFERENCE].frame_of_reference_uid or generate_uid()
    return prepare_volumes(
        {
            sequence: replace(volume, frame_of_reference_uid=common)
            if not volume.frame_of_reference_uid and volume.grid.same_as(grid)
            else volume
            for sequence, volume in case.volumes.items()
        }
    )


def reference_labels(labels: Volume, case: Case, prepared: Prepared) -> Volume:
    """Labels of the opened series in the reference's space, on their own voxels."""
    return labels_in_reference_space(labels, prepared, case.reference)


def describe_model(bundle: Bundle) -> dict[str, Any]:
    """What made a result, in the words that datastores look for."""
    info = model_info(bundle)
    return {"bundle": info.name, "version": info.version, "weights_sha256": info.weights_sha256}


def _onto_series(image: Volume, prepared: Prepared, sequence: Sequence) -> np.ndarray:
    """A float image of the reference's grid, on the grid of a series."""
    grid, rigid = prepared.volumes[sequence].grid, prepared.alignment[sequence]
    if not rigid.performed and image.grid.same_as(grid):
        return image.array
    to_reference = np.asarray(np.linalg.inv(rigid.matrix), dtype=np.float64) if rigid.performed else None
    return resample(image, grid, to_reference).array


def _digest(case: Case) -> str:
    """Of the images, without regard to which is open."""
    digest = hashlib.blake2b(digest_size=16)
    for sequence in Sequence:
        digest.update(np.ascontiguousarray(case.volumes[sequence].array).data)
        digest.update(np.ascontiguousarray(case.volumes[sequence].affine).data)
    return digest.hexdigest()


def _keep(kept: OrderedDict[Any, Any], key: object, value: object) -> None:
    kept[key] = value
    while len(kept) > _KEPT:
        kept.popitem(last=False)
