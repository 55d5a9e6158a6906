"""Random forests as files of plain arrays, from which no code is ever loaded.

scikit-learn's own way is pickle, which runs whatever a file says. skops.io checks the types first, but keeps
scikit-learn's objects: about 100 bytes a node, for few of its versions. Here a node takes some 6 bytes before
compression, an .npz opens with ``allow_pickle=False``, and what it holds is checked before a tree is made of it.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree._tree import NODE_DTYPE, TREE_LEAF, TREE_UNDEFINED, Tree

from acuity.anatomy import Label
from acuity.errors import DataError
from acuity.research.forest.features import FEATURES

Arrays = dict[str, NDArray]

CLASSES = tuple(int(label) for label in Label)
FORMAT = 1
_RARE = 1e-3  # probability that counts for 0: no tree of the few that are asked has seen such a voxel
_CHUNK = 50_000  # voxels; one tree's answers to them fit a processor's cache


@dataclass(frozen=True)
class Forest:
    """Trees, and what their mean says.

    Parameters
    ----------
    features : names of ``acuity.research.forest.features.FEATURES`` that they take, in this order
    trees : scikit-learn's
    calibration : float64 (4, 5), see ``calibrated``
    """

    features: tuple[str, ...]
    trees: tuple[Tree, ...]
    calibration: NDArray[np.float64]

    def votes(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n, features) to (n, 4): the mean of the trees' shares of ``CLASSES``, as scikit-learn takes it."""
        chunks = [features[start : start + _CHUNK] for start in range(0, len(features), _CHUNK)]
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            return np.concatenate([np.empty((0, len(CLASSES))), *pool.map(self._chunk_votes, chunks)])

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n, features) to the calibrated (n, 4)."""
        return calibrated(self.votes(features), self.calibration)

    def _chunk_votes(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        total = np.zeros((len(features), len(CLASSES)))
        for tree in self.trees:
            total += tree.predict(features)
        return total / len(self.trees)


def calibrated(votes: NDArray[np.float64], calibration: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities (n, 4) from votes (n, 4): the softmax of an affine map of their logarithms.

    "Dirichlet calibration" (Kull et al., NeurIPS 2019): it makes up for votes that are rarely unanimous, and for
    classes being drawn more often than they are found in a brain.

    Parameters
    ----------
    calibration : (4, 5), the map's matrix and, last, its offset
    """
    return np.asarray(softmax(log_votes(votes) @ calibration[:, :-1].T + calibration[:, -1], axis=1))


def log_votes(votes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of votes, those of next to none floored."""
    return np.log(np.maximum(votes, _RARE))


def write_forest(
    path: Path, classifier: RandomForestClassifier, features: Seq[str], calibration: NDArray[np.float64]
) -> None:
    """Write a fitted classifier, so that a cut cannot leave half a file.

    Parameters
    ----------
    classifier : of ``CLASSES``, fitted without sample weights on float32
    features, calibration : see ``Forest``
    """
    if tuple(classifier.classes_) != CLASSES:
        raise ValueError(f"the classifier knows {tuple(classifier.classes_)}; they must be {CLASSES}")
    partial = path.with_name(f"partial-{path.name}")
    with partial.open("wb") as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            format=np.array(FORMAT),
            features=np.array(features),
            classes=np.array(CLASSES),
            calibration=calibration,
            **_arrays([estimator.tree_ for estimator in classifier.estimators_]),
        )
    os.replace(partial, path)


def read_forest(path: Path) -> Forest:
    """Read what ``write_forest`` wrote.

    Raises
    ------
    DataError : the file is absent, no forest of ours, or damaged
    """
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if not isinstance(content, NpzFile):
                raise ValueError("it is one array")
            arrays = {name: content[name] for name in content.files}
        _check(arrays)
    except (OSError, EOFError, BadZipFile, zlib.error, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read as a forest ({error}).",
            rule="It is an .npz of arrays, as this version of Acuity writes them.",
            remedy="Name the forest.npz that `acuity train forest` wrote, or train it again.",
        ) from error
    features = tuple(str(name) for name in arrays["features"])
    return Forest(features, tuple(_trees(arrays, len(features))), arrays["calibration"].astype(np.float64))


def _arrays(trees: Seq[Tree]) -> Arrays:
    """All nodes of all trees, one after the other.

    ``nodes`` : of each tree
    ``left``, ``right`` : how many nodes further the children are; 0 for a leaf
    ``feature``, ``threshold`` : of each node that is no leaf; values up to the threshold go left
    ``samples`` : of each leaf, the training voxels of each class
    """
    inner = [tree.children_left != TREE_LEAF for tree in trees]
    threshold = np.concatenate([tree.threshold[no_leaf] for tree, no_leaf in zip(trees, inner, strict=True)])
    samples = np.concatenate(
        [
            tree.value[~no_leaf, 0] * tree.weighted_n_node_samples[~no_leaf, None]
            for tree, no_leaf in zip(trees, inner, strict=True)
        ]
    )
    return {
        "nodes": _small([tree.node_count for tree in trees]),
        **{
            side: _small(
                np.concatenate(
                    [
                        np.where(no_leaf, getattr(tree, f"children_{side}") - np.arange(tree.node_count), 0)
                        for tree, no_leaf in zip(trees, inner, strict=True)
                    ]
                )
            )
            for side in ("left", "right")
        },
        "feature": _small(np.concatenate([tree.feature[no_leaf] for tree, no_leaf in zip(trees, inner, strict=True)])),
        "threshold": _not_above(threshold),
        "samples": _small(np.rint(samples)),
    }


def _small(values: Seq[int] | NDArray) -> NDArray:
    """Whole numbers from 0 in the smallest type that holds them."""
    array = np.asarray(values, dtype=np.uint64)
    return array.astype(np.min_scalar_type(array.max(initial=0)))


def _not_above(threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 that is not above: a float32 is below or at both, or at neither."""
    rounded = threshold.astype(np.float32)
    return np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _check(arrays: Mapping[str, NDArray]) -> None:
    """Raise ValueError unless every node leads to a leaf of its own tree, on features that there are."""
    if int(arrays["format"]) != FORMAT:
        raise ValueError(f"its format is {int(arrays['format'])}, not {FORMAT}")
    if arrays["classes"].tolist() != list(CLASSES):
        raise ValueError(f"its classes are {arrays['classes'].tolist()}, not {list(CLASSES)}")
    if unknown := set(arrays["features"].tolist()) - set(FEATURES):
        raise ValueError(f"it takes features that there are not: {', '.join(map(str, sorted(unknown, key=str)))}")
    names = ("nodes", "left", "right", "feature", "samples")
    nodes, left, right, feature, samples = (_whole(arrays[name], name) for name in names)
    if nodes.sum() != left.size:
        raise ValueError(f"it announces {nodes.sum()} nodes and holds {left.size}")
    inner = left > 0
    start = np.repeat(np.cumsum(nodes) - nodes, nodes)
    left_over = np.repeat(nodes, nodes) - (np.arange(nodes.sum()) - start)  # nodes of the tree from here on
    sound = (
        nodes.ndim == 1
        and nodes.size > 0
        and nodes.min() > 0
        and left.shape == right.shape == left_over.shape
        and np.array_equal(right > 0, inner)
        and (np.maximum(left, right) < left_over).all()
        and feature.shape == arrays["threshold"].shape == (inner.sum(),)
        and (feature < arrays["features"].size).all()
        and samples.shape == ((~inner).sum(), len(CLASSES))
        and (samples.sum(axis=1) > 0).all()
        and arrays["threshold"].dtype == np.float32
        and arrays["calibration"].shape == (len(CLASSES), len(CLASSES) + 1)
        and np.isfinite(arrays["threshold"]).all()
        and np.isfinite(arrays["calibration"]).all()
    )
    if not sound:
        raise ValueError("its trees are damaged")


def _whole(array: NDArray, name: str) -> NDArray[np.int64]:
    if array.dtype.kind != "u":
        raise ValueError(f"{name} holds {array.dtype}, not whole numbers from 0")
    return array.astype(np.int64)


def _trees(arrays: Mapping[str, NDArray], features: int) -> list[Tree]:
    """scikit-learn's trees, which it has no public way to make of arrays."""
    left, right = (arrays[side].astype(np.int64) for side in ("left", "right"))
    inner = left > 0
    nodes = np.zeros(len(left), dtype=NODE_DTYPE)
    nodes["feature"], nodes["threshold"] = TREE_UNDEFINED, TREE_UNDEFINED
    nodes["feature"][inner], nodes["threshold"][inner] = arrays["feature"], arrays["threshold"]
    values = np.zeros((len(left), 1, len(CLASSES)))
    samples = arrays["samples"].astype(np.float64)
    values[~inner, 0] = samples / samples.sum(axis=1, keepdims=True)
    trees, start = [], 0
    for count in arrays["nodes"].astype(np.int64).tolist():
        part = slice(start, start + count)
        own = np.arange(count)
        nodes["left_child"][part] = np.where(inner[part], own + left[part], TREE_LEAF)
        nodes["right_child"][part] = np.where(inner[part], own + right[part], TREE_LEAF)
        # max_depth is told to those who draw the tree, and bounds nothing.
        tree = Tree(features, np.array([len(CLASSES)], dtype=np.intp), 1)
        tree.__setstate__({"max_depth": 0, "node_count": count, "nodes": nodes[part], "values": values[part]})
        trees.append(tree)
        start += count
    return trees
