"""Training the random forest: voxels drawn from cases, features chosen, scored out of fold, written as arrays."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence as Seq
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from tqdm import tqdm

import acuity
from acuity.anatomy import Label, Region, labels_to_regions
from acuity.errors import DataError
from acuity.models.segmentation import network_channels
from acuity.research.datasets import brats
from acuity.research.forest import Plan
from acuity.research.forest.features import FEATURES, voxel_features
from acuity.research.forest.segmenter import CLASSES, MEMBERS, calibrated, log_votes, to_forest, write_forest
from acuity.research.metrics.overlap import dice

FOREST = "forest.npz"
SCORES = "scores.csv"
SETTINGS = "settings.json"

SELECTION_TREES = 100
EVEN_VOXELS = 50_000  # of a brain, to estimate scores from: a region of 1 % of it has 500 of them

Voxels = NDArray[np.intp]
Votes = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """Voxels: features float32 (n, number of ``FEATURES``) and labels uint8 (n,) of 0, 1, 2, 4."""

    features: NDArray[np.float32]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class CaseVoxels:
    """Voxels of one case: those to train on, and those, drawn evenly from its brain, to score and calibrate on."""

    name: str
    balanced: Sample
    even: Sample


def draw_balanced(labels: NDArray[np.uint8], brain: NDArray[np.bool_], count: int, rng: np.random.Generator) -> Voxels:
    """Indices (n, 3), at most ``count``: half healthy, half tumor, its labels alike; of a rare one, all there is."""
    tumor = [np.argwhere(brain & (labels == label)) for label in Label if label != Label.BACKGROUND]
    present = [voxels for voxels in tumor if len(voxels)]
    share = count // 2 // max(1, len(present))
    healthy = np.argwhere(brain & (labels == Label.BACKGROUND))
    return np.concatenate([_draw(healthy, count // 2, rng), *(_draw(voxels, share, rng) for voxels in present)])


def _draw(voxels: Voxels, count: int, rng: np.random.Generator) -> Voxels:
    return voxels[rng.permutation(len(voxels))[:count]]


def read_voxels(numbered: tuple[int, str], data: Path, plan: Plan) -> CaseVoxels:
    """The voxels of one BraTS case, whose draw depends on the seed and its number."""
    number, name = numbered
    volumes = brats.read_case(data / name)
    truth = brats.read_labels(data / name)
    inside = brats.brain_mask(volumes)
    brain = truth.with_array(inside.astype(np.uint8))
    rng = np.random.default_rng([plan.seed, number])
    balanced = draw_balanced(truth.array, inside, plan.voxels_per_case, rng)
    voxels = np.concatenate([balanced, _draw(np.argwhere(inside), EVEN_VOXELS, rng)])
    features = voxel_features(network_channels(volumes, brain), brain, voxels)
    labels = truth.array[tuple(voxels.T)]
    n = len(balanced)
    return CaseVoxels(name, Sample(features[:n], labels[:n]), Sample(features[n:], labels[n:]))


def fit(samples: Seq[Sample], plan: Plan) -> tuple[RandomForestClassifier, NDArray[np.intp]]:
    """A forest on the features that matter, and their columns.

    Those matter whose importance in a first forest, the mean decrease of Gini impurity, is at least the mean of all.
    """
    features = np.concatenate([sample.features for sample in samples])
    labels = np.concatenate([sample.labels for sample in samples])
    selection = SelectFromModel(_forest(SELECTION_TREES, plan), threshold="mean").fit(features, labels)
    columns = selection.get_support(indices=True)
    return _forest(plan.trees, plan).fit(features[:, columns], labels), columns


def _forest(trees: int, plan: Plan) -> RandomForestClassifier:
    return RandomForestClassifier(
        n_estimators=trees, criterion="gini", max_depth=plan.depth, random_state=plan.seed, n_jobs=plan.jobs
    )


def out_of_fold_votes(cases: Seq[CaseVoxels], folds: Seq[NDArray[np.intp]], plan: Plan) -> list[Votes]:
    """Votes (n, 4) for each case's even voxels, by a forest that was fitted without the case's fold."""
    votes: dict[int, Votes] = {}
    for held_out in tqdm(folds, desc="folds"):
        classifier, columns = fit([case.balanced for n, case in enumerate(cases) if n not in held_out], plan)
        # Threads would add the trees' votes up in any order, and so in other last digits each time.
        classifier.set_params(n_jobs=1)
        votes |= {n: classifier.predict_proba(cases[n].even.features[:, columns]) for n in held_out}
    return [votes[number] for number in range(len(cases))]


def fit_calibration(votes: Seq[Votes], labels: Seq[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """The (4, 5) of ``acuity.research.forest.segmenter.calibrated``, by multinomial logistic regression."""
    regression = LogisticRegression(max_iter=1000)
    regression.fit(log_votes(np.concatenate(votes)), np.concatenate(labels))
    return np.column_stack([regression.coef_, regression.intercept_])


def region_dice(probabilities: Votes, labels: NDArray[np.uint8]) -> dict[Region, float]:
    """Dice of voxels by their class probabilities (n, 4): a region is found where its classes exceed 0.5."""
    found = probabilities @ MEMBERS.T > 0.5
    truth = labels_to_regions(labels)
    return {region: dice(found[:, n], truth[n]) for n, region in enumerate(Region)}


def train(names: Seq[str], *, data: Path, folder: Path, plan: Plan) -> Path:
    """Train on BraTS cases and write forest.npz, scores.csv and settings.json.

    Scores are estimates: on an even draw of each brain's voxels, by the forest of the other folds, before tidying;
    once by the votes themselves, and once calibrated on the other folds' cases. The forest that is written is fitted
    on all cases and calibrated on all out-of-fold votes.

    Parameters
    ----------
    names : cases in ``data``
    folder : of the results; made if absent

    Returns
    -------
    The path of the forest.

    Raises
    ------
    DataError : there are fewer cases than folds, or cases of one fold alone have a label
    """
    if not 2 <= plan.folds <= len(names):
        raise DataError(
            f"{len(names)} cases are to be split into {plan.folds} folds.",
            rule="There are two folds or more, and a case or more in each.",
            remedy="Name more cases, or fewer folds.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(plan.jobs) as pool:
        reading = pool.map(partial(read_voxels, data=data, plan=plan), enumerate(names))
        cases = list(tqdm(reading, desc="reading cases", total=len(names)))
    folds = [held_out for _, held_out in KFold(plan.folds, shuffle=True, random_state=plan.seed).split(names)]
    _check_labels(cases, folds)
    votes = out_of_fold_votes(cases, folds, plan)
    scores = _scores(cases, votes, folds)
    calibration = fit_calibration(votes, [case.even.labels for case in cases])
    classifier, columns = fit([case.balanced for case in cases], plan)
    features = [FEATURES[column] for column in columns]
    forest = to_forest(classifier, features, calibration)
    write_forest(folder / FOREST, forest)
    with (folder / SCORES).open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(scores[0]))
        writer.writeheader()
        writer.writerows(scores)
    settings = {
        "cases": list(names),
        **asdict(plan),
        "selection_trees": SELECTION_TREES,
        "even_voxels": EVEN_VOXELS,
        "training_voxels": sum(len(case.balanced.labels) for case in cases),
        "features": dict(zip(features, classifier.feature_importances_.tolist(), strict=True)),
        "features_offered": len(FEATURES),
        "calibration": calibration.tolist(),
        "dice": _means(scores),
        "nodes": len(forest.children),
        "bytes": (folder / FOREST).stat().st_size,
        "software": {"acuity": acuity.__version__} | {n: version(n) for n in ("scikit-learn", "scipy", "numpy")},
    }
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n")
    return folder / FOREST


def _check_labels(cases: Seq[CaseVoxels], folds: Seq[NDArray[np.intp]]) -> None:
    for held_out in folds:
        others = np.concatenate([case.even.labels for number, case in enumerate(cases) if number not in held_out])
        if missing := set(CLASSES) - set(others.tolist()):
            raise DataError(
                f"Without {', '.join(cases[n].name for n in held_out)} no case has the label {min(missing)}.",
                rule="Each fold's forest learns the labels 0, 1, 2 and 4 from the cases of the others.",
                remedy="Add cases that have it.",
            )


def _scores(cases: Seq[CaseVoxels], votes: Seq[Votes], folds: Seq[NDArray[np.intp]]) -> list[dict[str, str | float]]:
    """A row for each case and region: Dice by the votes, and calibrated without the case's fold."""
    rows: list[dict[str, str | float]] = []
    for held_out in folds:
        others = [number for number in range(len(cases)) if number not in held_out]
        calibration = fit_calibration([votes[n] for n in others], [cases[n].even.labels for n in others])
        for number in held_out:
            case = cases[number]
            by_votes = region_dice(votes[number], case.even.labels)
            by_probability = region_dice(calibrated(votes[number], calibration), case.even.labels)
            for r in Region:
                rows.append(
                    {"case": case.name, "region": r.value, "dice_votes": by_votes[r], "dice": by_probability[r]}
                )
    return rows


def _means(scores: Seq[dict[str, str | float]]) -> dict[str, dict[str, float]]:
    """Over cases, by kind of score and region."""
    return {
        kind: {r.value: float(np.mean([row[kind] for row in scores if row["region"] == r])) for r in Region}
        for kind in ("dice_votes", "dice")
    }
