"""The tasks' work on a case: the library's calls, as the operators of the application make them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from acuity.anatomy import Region, Sequence
from acuity.imaging.refinement import Clicks, refined
from acuity.imaging.resampling import resample
from acuity.models.bundle import Bundle
from acuity.models.segmentation import SegmentationResult, network_channels, segment
from acuity.models.uncertainty import Uncertainty, uncertainty
from acuity.pipeline.preparation import REFERENCE, Prepared
from acuity.pipeline.stages import (
    SuperResolved,
    as_measured,
    assessed,
    segment_study,
    shown_parts,
    super_resolve_study,
)
from acuity.volume import Volume
from label.case import Case, prepare_case
from label.spaces import labels_on_series
from label.versions import ServedModels

Report = Callable[[float], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """The result of a task.

    Parameters
    ----------
    labels : uint8 of 0, 1, 2 and 4 on the grid of the opened series
    model : that computed them
    uncertainty : of each region; empty where no network was asked
    limits : sentences on what the images do not show
    """

    labels: Volume
    model: Bundle
    uncertainty: Mapping[Region, Uncertainty] = field(default_factory=dict)
    limits: list[str] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        """As a client sees it, and as a datastore notes it."""
        found = {region.value: one.describe() for region, one in self.uncertainty.items()}
        said = {"uncertainty": found} if found else {}
        return {**describe_model(self.model), **said, **({"limits": self.limits} if self.limits else {})}


class Recent(Generic[T]):
    """The results of two cases: of the one that is worked on, and of the one before."""

    _MOST = 2

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, ...], T] = OrderedDict()

    def get(self, *key: str) -> T | None:
        """A result, if it is still there."""
        return self._kept.get(key)

    def get_or_make(self, make: Callable[[], T], *key: str) -> T:
        """A result, made where it is not there."""
        if key not in self._kept:
            self._kept[key] = make()
            while len(self._kept) > self._MOST:
                self._kept.popitem(last=False)
        return self._kept[key]


class Workplace:
    """The models, and recent results.

    Finding the brain and aligning the series takes longer than the network, super-resolution minutes: each is done once
    for the same images.

    Parameters
    ----------
    models : that are served
    """

    def __init__(self, models: ServedModels) -> None:
        self.models = models
        self._prepared: Recent[Prepared] = Recent()
        self._found: Recent[SegmentationResult] = Recent()
        self._sharpened: Recent[SuperResolved] = Recent()

    def segment(self, case: Case, report: Report) -> Finding:
        """Find the tumor in the images as they were measured; raises as the library's calls."""
        prepared, key = self._prepare(case)
        report(0.1)
        bundle = self.models.segmentation
        shown = shown_parts(prepared, prepared.brain.grid)
        brain = assessed(prepared.brain, shown, prepared.reference_sequence)
        result = self._found.get_or_make(
            lambda: segment(
                as_measured(prepared), brain, bundle, shown=shown, progress=lambda done: report(0.1 + 0.8 * done)
            ),
            key,
            bundle.weights_sha256,
        )
        labels, limits = labels_on_series(result.labels, prepared, case.reference), prepared.assessment.limits()
        return Finding(labels, bundle, uncertainty(result), limits)

    def super_resolve_and_segment(self, case: Case, report: Report) -> Finding:
        """Find the tumor in the super-resolved images; its labels come back to the measured grid."""
        prepared, images = self._super_resolve(case, lambda done: report(0.6 * done))
        bundle = self.models.segmentation
        tumor = segment_study(images, bundle, progress=lambda done: report(0.6 + 0.3 * done))
        # The library brings them to the reference's grid; those of another series come from the fine grid too.
        fine = tumor.source_labels if case.reference is REFERENCE else tumor.labels
        labels = labels_on_series(fine, prepared, case.reference)
        return Finding(labels, bundle, tumor.uncertainty, tumor.assessment.limits())

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
        channels = network_channels(as_measured(prepared), prepared.brain)
        result = self._found.get(key, bundle.weights_sha256)
        images = channels if result is None else np.concatenate([channels, result.probabilities])
        seen = np.stack([_on_series(prepared.brain.with_array(one), prepared, case.reference) for one in images])
        report(0.6)
        found = refined(
            labels.array,
            seen[: len(channels)],
            clicks,
            spacing=case.opened.spacing.tolist(),
            probabilities=None if result is None else seen[len(channels) :],
        )
        return Finding(case.opened.with_array(found), bundle)

    def _super_resolve(self, case: Case, report: Report) -> tuple[Prepared, SuperResolved]:
        prepared, key = self._prepare(case)
        report(0.05)
        bundle = self.models.super_resolution
        images = self._sharpened.get_or_make(
            lambda: super_resolve_study(prepared, bundle, progress=lambda done: report(0.05 + 0.95 * done)),
            key,
            bundle.weights_sha256,
        )
        return prepared, images

    def _prepare(self, case: Case) -> tuple[Prepared, str]:
        key = _digest(case)
        return self._prepared.get_or_make(lambda: prepare_case(case), key), key


def describe_model(bundle: Bundle) -> dict[str, Any]:
    """The model of a result, under the keys that datastores look for."""
    return {"bundle": bundle.name, "version": bundle.version, "weights_sha256": bundle.weights_sha256}


def _on_series(image: Volume, prepared: Prepared, sequence: Sequence) -> np.ndarray:
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
