"""The fine networks of the released segmentation, from scratch: on cubes first, then on whole brains.

Each member of the ensemble is a U-Net with EfficientNet as its encoder that sees slices of three planes. It holds out
one fold of the cases. Cubes cut round the tumors of many patients (``acuity.research.sampling.cubes``) teach it to
tell enhancement, core and edema; low grade is drawn half of the time there. Whole brains then teach it where tumors
are. Each stage resumes where it was cut, and starts from the weights that the stage before left.
"""

from __future__ import annotations

import json
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np

from acuity.research.datasets import brats
from acuity.research.sampling.augmentation import HOSPITAL, at_resolution
from acuity.research.sampling.cubes import Cube, read_cubes
from acuity.research.sampling.patches import Batch, Patches, PreparedCase, Source
from acuity.research.sampling.preparation import grade_weights, prepare_cases
from acuity.research.synthetic.transplant import (
    LEAST_SCALE,
    Graft,
    OtherBrains,
    carve_cube,
    grafts_of,
    moved,
    shrunk,
    transplanted,
)
from acuity.research.synthetic.tumor_free import tumor_free_brains
from acuity.research.training import segmentation
from acuity.research.training.data import TrainingData
from acuity.research.training.segmentation_recipe import Recipe

CUBES = ((64, 64, 3), 32)  # voxels of a patch, patches of a step
CUBE_SHARE = 0.2  # of the steps on whole brains that see cubes instead
LOW_GRADE_SHARE = 0.3  # of the whole cases that are drawn
OTHER_SHARE = 0.3  # of the patches: brains without a tumor, or with the tumor of another
AUGMENTATION = replace(HOSPITAL, missing=0.2, two_missing=0.15, three_missing=0.08)
_CUT_SHARE = 0.05  # of a tumor's voxels on the faces of its cube; one that is cut more is not set into brains
_CUBE_RESOLUTION = (1.875, 1.875, 1.21)  # voxels of 1 mm that a cube's measured voxels span
_FADE = (6, 5)  # voxels over which the surroundings and the faces of a cube fade into the host
_TRIES = 4  # places at which a tumor is tried


@dataclass(frozen=True)
class Folds:
    """The cases of the members' training.

    Parameters
    ----------
    folds : names of the cases that each member holds out
    low_grade : names of the cases of low grade
    without_glioma : names of brains with other lesions or none, each with the fold that holds it out
    """

    folds: Seq[Seq[str]]
    low_grade: Seq[str]
    without_glioma: dict[str, int]


def read_folds() -> Folds:
    """The folds that are fixed for the release; test cases are in none."""
    content = json.loads(resources.files("acuity.research.training").joinpath("members.json").read_text())
    return Folds(content["folds"], content["low_grade"], content["without_glioma"])


class CubeBrains:
    """A source of brains at the resolution of the cubes, each with the tumor of a cube at a random place.

    The whole brain has that resolution, so that a blurred place does not give the tumor away.

    Raises
    ------
    ValueError : where no cube holds all of its tumor
    """

    def __init__(self, tumor_free: Seq[PreparedCase], cubes: Seq[Cube]) -> None:
        self.hosts = [
            replace(brain, image=(at_resolution(brain.image.float(), _CUBE_RESOLUTION) * (brain.image != 0)).half())
            for brain in tumor_free
        ]
        whole = [cube for cube in cubes if cube.cut_share <= _CUT_SHARE]
        if not whole:
            raise ValueError("no cube holds all of its tumor, so that none can be set into a brain")
        by_grade = [[carve_cube(c.case, *_FADE) for c in whole if c.low_grade is low] for low in (True, False)]
        self.grafts = [grafts for grafts in by_grade if grafts]

    def draw(self, rng: np.random.Generator) -> PreparedCase:
        """A brain that depends on ``rng`` alone; each grade is as likely. It has no tumor where none fits in."""
        host = self.hosts[int(rng.integers(len(self.hosts)))]
        grafts = self.grafts[int(rng.integers(len(self.grafts)))]
        for _ in range(_TRIES):
            graft: Graft = grafts[int(rng.integers(len(grafts)))]
            if rng.random() < 0.5:
                graft = shrunk(graft, float(rng.uniform(LEAST_SCALE, 1.0)))
            brain = transplanted(moved(graft, host, rng), host)
            if brain is not None:
                return brain
        return host


def cube_patches(cubes: Seq[Cube]) -> Patches:
    """Patches of cubes, half of them of low grade."""
    cases = [cube.case for cube in cubes]
    weights = grade_weights(cases, {cube.case.name for cube in cubes if cube.low_grade}, 0.5)
    return Patches([Source(cases, weights=weights)], CUBES[0], 0.9, AUGMENTATION, turned=True)


def whole_brain_data(
    cases: Seq[PreparedCase],
    held_out: Seq[PreparedCase],
    without_glioma: Seq[PreparedCase],
    cubes: Seq[Cube],
    low_grade: Seq[str],
    *,
    phantoms: int = 16,
) -> TrainingData:
    """Cases by grade, brains with other lesions, and brains with tumors of cases and of cubes set in."""
    free = [*tumor_free_brains(cases, phantoms), *without_glioma]
    grafts = grafts_of(cases, 1.0)
    doubled = [graft for graft in grafts if graft.name in low_grade]
    names = [brain.name for brain in free]
    others = [
        Source(OtherBrains(free, [*grafts, *doubled]).draw, 0.6 * OTHER_SHARE, names=names),
        Source(CubeBrains(free, cubes).draw, 0.4 * OTHER_SHARE, names=names),
        Source(without_glioma, 0.05 * (1 - OTHER_SHARE)),
    ]
    return TrainingData(
        cases, held_out, [source for source in others if source.cases], grade_weights(cases, low_grade, LOW_GRADE_SHARE)
    )


def train_member(
    fold: int,
    *,
    recipe: Recipe,
    data: Path,
    cubes: Path,
    output: Path,
    iterations: tuple[int, int],
    device: str | None = None,
) -> Path:
    """Train one member through both stages.

    Parameters
    ----------
    fold : that is held out
    recipe : of ``configs/seg/efficientunet.yaml``
    data, cubes : folder of the BraTS cases that the folds name; file of cubes
    output : gets the folders ``cubesN`` and ``wholeN`` of the fold
    iterations : of both stages
    device : "cpu" or "cuda", instead of what is found

    Returns
    -------
    The path of the averaged weights after the second stage

    Raises
    ------
    DataError : cases or cubes are absent or cannot be read
    """
    folds = read_folds()
    held_out = folds.folds[fold]
    read = read_cubes(cubes, {*held_out, *brats.read_split()["test"]})
    small = cube_patches(read)
    plan = segmentation.Plan(
        iterations[0],
        augmentation=AUGMENTATION,
        ema=0.998,
        seed=40 + fold,
        validate_every=max(iterations),
        keep_last=True,
    )
    first = segmentation.train(
        replace(recipe, patch=CUBES[0], batch=CUBES[1]),
        TrainingData([cube.case for cube in read], []),
        plan,
        folder=output / f"cubes{fold}",
        device=device,
        draw=lambda _, rng: small.draw(CUBES[1], rng),
    )
    names = [name for n, part in enumerate(folds.folds) if n != fold for name in part]
    other = [name for name, held in folds.without_glioma.items() if held != fold]
    brains = whole_brain_data(
        prepare_cases(data, names), prepare_cases(data, held_out), prepare_cases(data, other), read, folds.low_grade
    )
    i, j, k = (int(n) for n in recipe.patch)
    whole = Patches(brains.sources, (i, j, k), augmentation=AUGMENTATION, turned=True)

    def draw(count: int, rng: np.random.Generator) -> Batch:
        return small.draw(CUBES[1], rng) if rng.random() < CUBE_SHARE else whole.draw(count, rng)

    return segmentation.train(
        recipe,
        brains,
        replace(plan, iterations=iterations[1]),
        folder=output / f"whole{fold}",
        initial_weights=first,
        device=device,
        draw=draw,
    )
