"""The data that a segmentation network is trained on: cases, brains made from them, and cases that are held out."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional as F

from acuity.research.datasets import brats
from acuity.research.sampling.patches import PreparedCase, Source
from acuity.research.sampling.preparation import grade_weights, prepare_cases
from acuity.research.synthetic.transplant import OtherBrains, grafts_of
from acuity.research.synthetic.tumor_free import PHANTOMS, tumor_free_brains

LOW_GRADE_SHARE = 0.2  # of the whole cases that are drawn: as many as there are in BraTS 2020 (76 of 369)


@dataclass(frozen=True)
class TrainingData:
    """Data to train and to validate on.

    Parameters
    ----------
    cases : whole brains to train on
    held_out : whole brains at 1 mm to validate on
    others : sources of other brains or of parts of brains; the remaining patches come from ``cases``
    weights : probability of each of ``cases``, see ``grade_weights``; None draws all equally often
    spacing : of the voxels of ``cases`` and ``others`` in mm
    """

    cases: Seq[PreparedCase]
    held_out: Seq[PreparedCase]
    others: Seq[Source] = ()
    weights: Seq[float] | None = None
    spacing: float = 1.0

    @property
    def sources(self) -> list[Source]:
        """All sources; their shares sum to 1."""
        rest = 1 - sum(source.share for source in self.others)
        return [*self.others, Source(self.cases, rest, self.weights)]


def training_data(
    cases: Seq[PreparedCase],
    held_out: Seq[PreparedCase],
    *,
    halved: bool = False,
    other_share: float = 0.0,
    phantoms: int = PHANTOMS,
    low_grade: Collection[str] = (),
    low_grade_share: float = LOW_GRADE_SHARE,
) -> TrainingData:
    """Cases, and brains that are made from them: without a tumor, or with the tumor of another case.

    Parameters
    ----------
    cases, held_out : at 1 mm
    halved : train at half the resolution, as the coarse network sees brains; ``held_out`` stays at 1 mm
    other_share : part of the patches that come from made brains: the cases' healthy halves, mirrored, and phantoms
    phantoms : number of phantoms
    low_grade, low_grade_share : names of the cases of low grade, and their share of the draws from ``cases``
    """
    free = tumor_free_brains(cases, phantoms) if other_share else []
    if halved:
        cases, free = [pooled(case) for case in cases], [pooled(brain) for brain in free]
    spacing = 2.0 if halved else 1.0
    others = []
    if free:
        brains = OtherBrains(free, grafts_of(cases, spacing))
        others = [Source(brains.draw, other_share, names=[brain.name for brain in free])]
    return TrainingData(cases, held_out, others, grade_weights(cases, low_grade, low_grade_share), spacing)


def read_training_data(
    folder: str | Path | None,
    split: brats.Split,
    *,
    fold: int | None = None,
    halved: bool = False,
    other_share: float = 0.0,
    phantoms: int = PHANTOMS,
    low_grade_share: float = LOW_GRADE_SHARE,
) -> TrainingData:
    """The BraTS cases that a split names, as ``training_data`` takes them.

    Parameters
    ----------
    folder : see ``brats.data_folder``
    split : as ``brats.read_split`` gives it
    fold : number of the fold (``brats.folds``) that is held out; the other folds are trained on. None takes the
        split's parts for training and validation

    Raises
    ------
    DataError : as ``acuity.research.datasets.brats`` raises it
    """
    folder = brats.data_folder(folder)
    names, held_out = (split["train"], split["validation"]) if fold is None else brats.without_fold(split, fold)
    return training_data(
        prepare_cases(folder, names),
        prepare_cases(folder, held_out),
        halved=halved,
        other_share=other_share,
        phantoms=phantoms,
        low_grade=split["low_grade"],
        low_grade_share=low_grade_share,
    )


def pooled(case: PreparedCase) -> PreparedCase:
    """A case at half its resolution: means of 2x2x2 voxels, as the coarse network sees it."""
    image = F.avg_pool3d(case.image.float()[None], 2)[0]
    regions = F.avg_pool3d(case.regions.float()[None], 2)[0] >= 0.5
    return PreparedCase(case.name, image.half(), regions.to(torch.uint8))
