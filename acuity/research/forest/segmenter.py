"""Random forests as files of plain arrays, and segmentation by them, voxel by voxel.

No code is ever loaded from such a file. scikit-learn's own way is pickle; skops.io, too, keeps its private trees, whose
node indices scikit-learn follows without checking them. Here the arrays are checked, and numpy follows them.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.ensemble import RandomForestClassifier

from acuity.anatomy import Label, Region, Sequence, labels_to_regions, regions_to_labels
from acuity.errors import DataError
from acuity.imaging.regions import tidied
from acuity.models.segmentation import SegmentationResult, network_channels
from acuity.research.forest.features import FEATURES, voxel_features
from acuity.volume import Volume

CLASSES = tuple(int(label) for label in Label)
MEMBERS = labels_to_regions(np.array(CLASSES)).astype(np.float64)  # (3, 4): 1 where a class belongs to a region
FORMAT = 2
_LEAST_VOTE = 1e-3  # lower votes count as this: none of the few trees has seen such a voxel


@dataclass(frozen=True)
class Forest:
    """Trees and the calibration of their mean: a ``Segmenter``.

    Parameters
    ----------
    features : names of ``acuity.research.forest.features.FEATURES``, in the order of the trees' columns
    roots : the first node of each tree, (trees,)
    children : left and right, nodes further on; 0 for a leaf, (nodes, 2)
    feature, threshold : values of the feature up to the threshold go left, (nodes,)
    shares : of ``CLASSES`` among the training voxels of a node, (nodes, 4)
    calibration : (4, 5), see ``calibrated``
    """

    features: tuple[str, ...]
    roots: NDArray[np.intp]
    children: NDArray[np.intp]
    feature: NDArray[np.intp]
    threshold: NDArray[np.float64]
    shares: NDArray[np.float64]
    calibration: NDArray[np.float64]

    def votes(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n, features) to (n, 4): the mean of the trees' shares of ``CLASSES``, exactly scikit-learn's."""
        columns = np.asfortranarray(features).T
        total = np.zeros((len(features), len(CLASSES)))
        for root in self.roots:
            waiting = [(root, np.arange(len(features)))]
            while waiting:
                node, rows = waiting.pop()
                left, right = self.children[node]
                if not left:
                    total[rows] += self.shares[node]
                elif rows.size:
                    goes_left = columns[self.feature[node]][rows] <= self.threshold[node]
                    waiting += [(left, rows[goes_left]), (right, rows[~goes_left])]
        return total / len(self.roots)

    def __call__(self, volumes: Mapping[Sequence, Volume], brain: Volume) -> SegmentationResult:
        """Classify each voxel of the brain on the images' own grid, whatever its axes and spacing.

        A region's probability is the sum of its labels'. The region is where it exceeds 0.5, tidied as networks' are.

        Parameters
        ----------
        volumes : the sequences on one grid, in any intensities; a missing one is absent
        brain : uint8 mask on that grid

        Raises
        ------
        As ``acuity.models.segmentation.segment``.
        """
        channels = network_channels(volumes, brain)
        voxels = np.argwhere(brain.array > 0)
        votes = self.votes(voxel_features(channels, brain, voxels, self.features))
        probabilities = np.zeros((len(Region), *brain.shape), dtype=np.float32)
        probabilities[(slice(None), *voxels.T)] = MEMBERS @ calibrated(votes, self.calibration).T
        labels = regions_to_labels(tidied(probabilities > 0.5, voxel_ml=brain.grid.voxel_volume))
        return SegmentationResult(brain.with_array(labels), probabilities)


def calibrated(votes: NDArray[np.float64], calibration: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities (n, 4) from votes (n, 4): the softmax of an affine map of their logarithms.

    This is "Dirichlet calibration" (Kull et al., NeurIPS 2019). It corrects for votes that are rarely unanimous, and
    for classes drawn more often than they occur in a brain.

    Parameters
    ----------
    calibration : (4, 5), the map's matrix and, last, its offset
    """
    return np.asarray(softmax(log_votes(votes) @ calibration[:, :-1].T + calibration[:, -1], axis=1))


def log_votes(votes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of votes, with a floor."""
    return np.log(np.maximum(votes, _LEAST_VOTE))


def to_forest(classifier: RandomForestClassifier, features: Seq[str], calibration: NDArray[np.float64]) -> Forest:
    """A fitted classifier of ``CLASSES`` as plain arrays; see ``Forest``."""
    if tuple(classifier.classes_) != CLASSES:
        raise ValueError(f"the classifier knows {tuple(classifier.classes_)}; they must be {CLASSES}")
    trees = [estimator.tree_ for estimator in classifier.estimators_]
    roots = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
    children = [np.column_stack([tree.children_left, tree.children_right]) for tree in trees]
    return Forest(
        features=tuple(features),
        roots=roots,
        children=np.concatenate([np.where(c > 0, root + c, 0) for root, c in zip(roots, children, strict=True)]),
        feature=np.concatenate([np.maximum(tree.feature, 0) for tree in trees]),  # it is negative for a leaf
        threshold=np.concatenate([tree.threshold for tree in trees]),
        shares=np.concatenate([tree.value[:, 0] for tree in trees]),
        calibration=calibration,
    )


def write_forest(path: Path, forest: Forest) -> None:
    """Write a forest, so that a cut cannot leave half a file."""
    partial = path.with_name(f"partial-{path.name}")
    with partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, format=np.array(FORMAT), **vars(forest))
    os.replace(partial, path)


def load_forest(path: Path) -> Forest:
    """A forest that ``acuity train forest`` wrote.

    Raises
    ------
    DataError : the file is absent, of an earlier format, no forest of ours, or damaged
    """
    try:
        with path.open("rb") as file:
            arrays = dict(np.load(file, allow_pickle=False))
        if (number := int(arrays.pop("format"))) != FORMAT:
            raise ValueError(f"its format is {number}, not {FORMAT}")
        forest = Forest(tuple(arrays.pop("features").tolist()), **arrays)
        _check(forest)
    except (OSError, EOFError, BadZipFile, zlib.error, LookupError, AttributeError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read as a forest ({error}).",
            rule="It is an .npz of arrays, as this version of Acuity writes them.",
            remedy="Name the forest.npz that `acuity train forest` wrote, or train it again.",
        ) from error
    return forest


def _check(forest: Forest) -> None:
    """Raise ValueError unless every path leads to a leaf, by features that there are."""
    if unknown := set(forest.features) - set(FEATURES):
        raise ValueError(f"it takes features that there are not: {', '.join(map(str, sorted(unknown, key=str)))}")
    nodes = np.arange(len(forest.children))
    inner = forest.children[:, 0] > 0
    sound = (
        all(array.dtype.kind == "i" for array in (forest.roots, forest.children, forest.feature))
        and nodes.shape == forest.feature.shape == forest.threshold.shape
        and (forest.children.shape, forest.shares.shape) == ((nodes.size, 2), (nodes.size, len(CLASSES)))
        and forest.calibration.shape == (len(CLASSES), len(CLASSES) + 1)
        and forest.roots.size > 0
        and np.isin(forest.roots, nodes).all()
        and (forest.children[inner] > nodes[inner, None]).all()  # no path leads back
        and np.isin(forest.children, nodes).all()
        and np.isin(forest.feature, np.arange(len(forest.features))).all()
        and all(np.isfinite(array).all() for array in (forest.threshold, forest.shares, forest.calibration))
    )
    if not sound:
        raise ValueError("its trees are damaged")
