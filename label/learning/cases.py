"""Corrected cases as training and validation see them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acuity.anatomy import Sequence
from acuity.imaging.resampling import mask_on_grid, resample
from acuity.models.bundle import Bundle
from acuity.models.segmentation import segment
from acuity.models.source_grid import labels_on_grid
from acuity.pipeline.preparation import Prepared
from acuity.pipeline.stages import as_measured
from acuity.research.sampling.patches import PreparedCase
from acuity.research.sampling.preparation import prepare
from acuity.volume import Grid, Volume
from label.case import prepare_case, read_case
from label.learning.scoring import Scores, score
from label.masks import read_labels
from label.spaces import labels_in_reference_space, labels_on_series


@dataclass(frozen=True)
class Corrected:
    """A case that a person corrected.

    Parameters
    ----------
    image : path of the image that the labels were drawn on, see ``label.case.read_case``
    labels : path of the labels
    patient : whose it is
    """

    image: Path
    labels: Path
    patient: str


def corrected_cases(datalist: Iterable[dict[str, str]]) -> list[Corrected]:
    """The cases of a datastore's ``datalist``; raises as ``read_case``."""
    return [Corrected(Path(one["image"]), Path(one["label"]), read_case(one["image"]).patient) for one in datalist]


def training_case(corrected: Corrected, name: str) -> PreparedCase:
    """A case at 1 mm on the axes that networks are trained on, z-scored over the brain and cut to it.

    Parameters
    ----------
    name : tells it from the others; stands in logs
    """
    case = read_case(corrected.image)
    prepared = prepare_case(case)
    grid = prepared.reference.grid.canonical().with_spacing((1.0, 1.0, 1.0))
    brain = mask_on_grid(prepared.brain, grid).array > 0
    volumes = {}
    for sequence in Sequence:
        volume = _moved(prepared, sequence, grid)
        # Outside the brain is exactly 0, and brain above it: that is how preparation tells them apart.
        lifted = np.maximum(volume.array, np.finfo(np.float32).tiny)
        volumes[sequence] = volume.with_array(np.where(brain, lifted, 0).astype(np.float32))
    drawn = labels_in_reference_space(read_labels(corrected.labels), prepared, case.reference)
    return prepare(name, volumes, labels_on_grid(drawn, grid))


def scored(corrected: Corrected, bundles: Iterable[Bundle]) -> list[Scores]:
    """How well each model's mask of a case agrees with the corrected one, on the voxels that it was drawn on."""
    case = read_case(corrected.image)
    prepared = prepare_case(case)
    truth, images = read_labels(corrected.labels), as_measured(prepared)
    found = [segment(images, prepared.brain, bundle).labels for bundle in bundles]
    return [score(labels_on_series(labels, prepared, case.reference), truth) for labels in found]


def _moved(prepared: Prepared, sequence: Sequence, grid: Grid) -> Volume:
    """One cubic interpolation; none where voxels lie right already."""
    volume, rigid = prepared.volumes[sequence], prepared.alignment[sequence]
    if not rigid.performed and volume.grid.same_as(grid):
        return volume
    return resample(volume, grid, rigid.matrix if rigid.performed else None, interpolation="bspline")
