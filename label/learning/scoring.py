"""How well masks agree with corrected ones, by region: Dice, IoU and HD95."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.scoring import ScoringMethod

from acuity.anatomy import Region, labels_to_regions
from acuity.errors import DataError
from acuity.research.metrics.overlap import Overlap, brats_overlap
from acuity.volume import Volume
from label.masks import read_labels

Scores = dict[Region, Overlap]


def score(preds: Volume, target: Volume) -> Scores:
    """Overlap of each region, by BraTS's rule for regions that are absent, see ``acuity.research.metrics.overlap``.

    Parameters
    ----------
    preds, target : uint8 of 0, 1, 2 and 4 on one grid

    Raises
    ------
    DataError : the grids differ
    """
    if not preds.grid.same_as(target.grid):
        raise DataError(
            "Two masks of a case lie on different voxels.",
            rule="Masks are compared voxel by voxel.",
            remedy="Ask the datastore for both on one series.",
        )
    spacing = tuple(float(s) for s in target.spacing)
    regions = zip(Region, labels_to_regions(preds.array), labels_to_regions(target.array), strict=True)
    return {region: brats_overlap(found, true, spacing=spacing) for region, found, true in regions}


def mean_scores(cases: Seq[Scores]) -> dict[str, Any]:
    """Means over cases: for each region "dsc", "iou" and "hd95_mm", and "dice", the mean Dice of all regions."""
    rows = {region: [asdict(case[region]) for case in cases] for region in Region}
    means = {
        region.value: {key: round(float(np.mean([row[key] for row in found])), 4) for key in found[0]}
        for region, found in rows.items()
    }
    return {"cases": len(cases), "dice": float(np.mean([means[region.value]["dsc"] for region in Region])), **means}


class OverlapScoring(ScoringMethod):
    """Scores the masks of a model against those that people corrected."""

    def __init__(self) -> None:
        super().__init__("Dice, IoU and HD95 of enhancing tumor, tumor core and whole tumor")

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Means and each case's scores, which are noted with the label that was scored too.

        Parameters
        ----------
        request : "y" and "y_pred", tags of the truth (final) and of what is scored (original)

        Raises
        ------
        DataError : no case has both labels
        """
        target_tag = str(request.get("y") or DefaultLabelTag.FINAL.value)
        tag = str(request.get("y_pred") or DefaultLabelTag.ORIGINAL.value)
        found: dict[str, Scores] = {}
        for image_id in datastore.get_labeled_images(target_tag):
            truth, scored = (datastore.get_label_by_image_id(image_id, one) for one in (target_tag, tag))
            if not truth or not scored:
                continue
            masks = [read_labels(Path(datastore.get_label_uri(*one))) for one in ((scored, tag), (truth, target_tag))]
            found[image_id] = score(*masks)
            datastore.update_label_info(scored, tag, {"scores": {"overlap": _rows(found[image_id])}})
        if not found:
            raise DataError(
                f"No case has a label {target_tag!r} and one {tag!r}.",
                rule="The masks of a model are scored where people corrected them.",
                remedy="Save masks of the model, by batch inference for instance.",
            )
        return {"mean": mean_scores(list(found.values())), "cases": {name: _rows(one) for name, one in found.items()}}


def _rows(scores: Scores) -> dict[str, dict[str, float]]:
    return {
        region.value: {key: round(value, 4) for key, value in asdict(one).items()} for region, one in scores.items()
    }
