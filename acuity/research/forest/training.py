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
from acuity.research.forest.features import FEATURES, voxel_features
from acuity.research.forest.file import CLASSES, calibrated, log_votes, write_forest
from acuity.research.metrics.overlap import dice
from acuity.volume import Volume

FOREST = "forest.npz"
SCORES = "scores.csv"
SETTINGS = "settings.json"

SELECTION_TREES = 100
EVEN_VOXELS = 50_000  # of a brain; what scores are estimated from: a region of 1 % of it has 500 of them
_MEMBERS = labels_to_regions(np.array(CLASSES))  # (3, 4): which regions a class belongs to

Voxels = NDArray[np.intp]


@dataclass(frozen=True)
class Plan:
    """How a forest is trained.

    Parameters
    ----------
    trees, depth : of the forest; it splits by Gini impurity
    folds : of the cases, for scores and calibration
    voxels_per_case : drawn for training
    seed : of voxels, folds and trees
    jobs : threads; the result is the same with any number
    """

    trees: int = 175
    depth: int = 60
    folds: int = 5
    voxels_per_case: int = 3000
    seed: int = 0
    jobs: int = 1


@dataclass(frozen=True)
class Sample:
    """Voxels: features float32 (n, number of ``FEATURES``) and labels uint8 (n,) of 0, 1, 2, 4."""

    features: NDArray[np.float32]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class CaseVoxels:
    """Of one case, the voxels that train and those, drawn evenly from its brain, that score and calibrate."""

    name: str
    balanced: Sample
    even: Sample


def draw_balanced(labels: NDArray[np.uint8], brain: NDArray[np.bool_], count: int, rng: np.random.Generator) -> Voxels:
    """Indices (n, 3), at most ``count``: half healthy, half tumor, its labels alike; of a rare one, all there is."""
    tumor = [np.argwhere(brain & (labels == label)) for label in Label if label != Label.BACKGROUND]
    present = [voxels for voxels in tumor if len(voxels)]
    share = count // 2 // max(1, len(present))
    healthy = np.argwhere(brain & (labels == Label.BACKGROUND))
    return np.concatenate([_some(healthy, count // 2, rng), *(_some(voxels, share, rng) for voxels in present)])


def draw_evenly(brain: NDArray[np.bool_], count: int, rng: np.random.Generator) -> Voxels:
    """Indices (n, 3), at most ``count``, each voxel of the brain as likely as any."""
    return _some(np.argwhere(brain), count, rng)


def _some(voxels: Voxels, count: int, rng: np.random.Generator) -> Voxels:
    return voxels[rng.permutation(len(voxels))[:count]]


def read_voxels(numbered: tuple[int, str], data: Path, plan: Plan) -> CaseVoxels:
    """The voxels of one BraTS case, whose draw depends on the seed and its number."""
    number, name = numbered
    volumes = brats.read_case(data / name)
    truth = brats.read_labels(data / name)
    inside = brats.brain_mask(volumes)
    brain = truth.with_array(inside.astype(np.uint8))
    channels = network_channels(volumes, brain)
    rng = np.random.default_rng([plan.seed, number])
    drawn = draw_balanced(truth.array, inside, plan.voxels_per_case, rng)
    even = draw_evenly(inside, EVEN_VOXELS, rng)
    both = _sample(channels, brain, truth, np.concatenate([drawn, even]))
    return CaseVoxels(
        name, *(Sample(both.features[part], both.labels[part]) for part in (slice(len(drawn)), slice(len(drawn), None)))
    )


def _sample(channels: NDArray[np.float32], brain: Volume, truth: Volume, voxels: Voxels) -> Sample:
    return Sample(voxel_features(channels, brain, voxels), truth.array[tuple(voxels.T)])


def fit(samples: Seq[Sample], plan: Plan) -> tuple[RandomForestClassifier, NDArray[np.intp]]:
    """A forest on the features that matter, and their columns.

    Those whose importance in a first forest, the mean decrease of Gini impurity, is no less than the mean of all.
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


def out_of_fold_votes(cases: Seq[CaseVoxels], folds: Seq[NDArray[np.intp]], plan: Plan) -> list[NDArray[np.float64]]:
    """Votes (n, 4) for each case's even voxels, by a forest fitted, features chosen, without the case's fold."""
    votes: dict[int, NDArray[np.float64]] = {}
    for held_out in tqdm(folds, desc="folds"):
        others = [case.balanced for number, case in enumerate(cases) if number not in held_out]
        classifier, columns = fit(others, plan)
        # Threads would add the trees' votes up in any order, and so in other last digits each time.
        classifier.set_params(n_jobs=1)
        for number in held_out:
            votes[number] = classifier.predict_proba(cases[number].even.features[:, columns])
    return [votes[number] for number in range(len(cases))]


def fit_calibration(votes: Seq[NDArray[np.float64]], labels: Seq[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """The (4, 5) of ``acuity.research.forest.file.calibrated``, by multinomial logistic regression."""
    regression = LogisticRegression(max_iter=1000)
    regression.fit(log_votes(np.concatenate(votes)), np.concatenate(labels))
    return np.column_stack([regression.coef_, regression.intercept_])


def region_dice(probabilities: NDArray[np.float64], labels: NDArray[np.uint8]) -> dict[Region, float]:
    """Dice of voxels by their class probabilities (n, 4): a region is found where its classes exceed 0.5."""
    found = probabilities @ _MEMBERS.T > 0.5
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
    write_forest(folder / FOREST, classifier, features, calibration)
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
        "nodes": sum(tree.tree_.node_count for tree in classifier.estimators_),
        "bytes": (folder / FOREST).stat().st_size,
        "software": {"acuity": acuity.__version__} | {n: version(n) for n in ("scikit-learn", "scipy", "numpy")},
    }
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n")
    return folder / FOREST


def _check_labels(cases: Seq[CaseVoxels], folds: Seq[NDArray[np.intp]]) -> None:
    for held_out in folds:
        others = [case.even.labels for number, case in enumerate(cases) if number not in held_out]
        if missing := set(CLASSES) - set(np.concatenate(others).tolist()):
            raise DataError(
                f"Without {', '.join(cases[n].name for n in held_out)} no case has the label {min(missing)}.",
                rule="Each fold's forest learns the labels 0, 1, 2 and 4 from the cases of the others.",
                remedy="Add cases that have it.",
            )


def _scores(
    cases: Seq[CaseVoxels], votes: Seq[NDArray[np.float64]], folds: Seq[NDArray[np.intp]]
) -> list[dict[str, str | float]]:
    """A row for each case and region: Dice by the votes, and calibrated without the case's fold."""
    rows: list[dict[str, str | float]] = []
    for held_out in folds:
        others = [number for number in range(len(cases)) if number not in held_out]
        calibration = fit_calibration([votes[n] for n in others], [cases[n].even.labels for n in others])
        for number in held_out:
            labels = cases[number].even.labels
            by_votes = region_dice(votes[number], labels)
            by_probability = region_dice(calibrated(votes[number], calibration), labels)
            rows += [
                {
                    "case": cases[number].name,
                    "region": region.value,
                    "dice_votes": by_votes[region],
                    "dice": by_probability[region],
                }
                for region in Region
            ]
    return rows


def _means(scores: Seq[dict[str, str | float]]) -> dict[str, dict[str, float]]:
    """Over cases, by kind of score and region."""
    return {
        kind: {r.value: float(np.mean([row[kind] for row in scores if row["region"] == r])) for r in Region}
        for kind in ("dice_votes", "dice")
    }
