"""Forests: the file that they are kept in, and what they find in images that lie in any way."""

import pickle

import numpy as np
import pytest
from scipy.ndimage import center_of_mass
from sklearn.ensemble import RandomForestClassifier

from acuity.anatomy import Sequence, labels_to_regions
from acuity.errors import DataError, PreparationError
from acuity.models.segmentation import network_channels
from acuity.research.forest.features import FEATURES, voxel_features
from acuity.research.forest.file import CLASSES, _not_above, calibrated, read_forest, write_forest
from acuity.research.forest.segmenter import load_forest
from acuity.volume import Volume
from tests.dicom_builder import oblique_affine

AS_VOTED = np.eye(4, 5)  # a calibration that leaves votes as they are


def classifier(features=5, depth=None, trees=7):
    """Of noisy classes, so that leaves are mixed where trees are shallow."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, features)).astype(np.float32)
    y = np.array(CLASSES)[np.digitize(x[:, 0] + rng.normal(0, 0.5, 600), [-0.5, 0.3, 1.0])]
    return RandomForestClassifier(trees, max_depth=depth, random_state=0).fit(x, y)


@pytest.mark.parametrize("depth", [0, 1, 5, None])
def test_a_forest_read_back_votes_exactly_as_scikit_learns(tmp_path, depth):
    fitted = (
        classifier(depth=depth)
        if depth != 0
        else RandomForestClassifier(3).fit(np.zeros((40, 5), np.float32), np.repeat(CLASSES, 10))
    )  # trees of one leaf
    write_forest(tmp_path / "forest.npz", fitted, FEATURES[:5], AS_VOTED)
    x = np.random.default_rng(1).standard_normal((70_000, 5)).astype(np.float32)
    forest = read_forest(tmp_path / "forest.npz")
    np.testing.assert_array_equal(forest.votes(x), fitted.predict_proba(x))
    assert forest.features == FEATURES[:5]
    assert forest.votes(x[:0]).shape == (0, 4)


def test_thresholds_in_single_precision_divide_as_those_in_double():
    rng = np.random.default_rng(0)
    threshold = np.concatenate([rng.standard_normal(1000), [0.0, 1 + 2.0**-24, -1e-30]])
    middle = threshold.astype(np.float32)
    for value in (middle, np.nextafter(middle, np.float32(9)), np.nextafter(middle, np.float32(-9))):
        np.testing.assert_array_equal(value <= _not_above(threshold), value.astype(np.float64) <= threshold)


def test_a_file_is_small(tmp_path):
    """A fully grown forest takes a few bytes a node."""
    fitted = classifier(trees=40)
    write_forest(tmp_path / "forest.npz", fitted, FEATURES[:5], AS_VOTED)
    nodes = sum(tree.tree_.node_count for tree in fitted.estimators_)
    assert (tmp_path / "forest.npz").stat().st_size < 6 * nodes + 3000
    assert [path.name for path in tmp_path.iterdir()] == ["forest.npz"]


def test_calibration_undoes_that_classes_were_drawn_alike():
    votes = np.array([[0.4, 0.2, 0.2, 0.2], [0.1, 0.7, 0.1, 0.1]])
    np.testing.assert_allclose(calibrated(votes, AS_VOTED), votes)
    prior = np.array([0.94, 0.01, 0.03, 0.02])
    weighed = votes * prior
    np.testing.assert_allclose(
        calibrated(votes, np.column_stack([np.eye(4), np.log(prior)])), weighed / weighed.sum(axis=1, keepdims=True)
    )


def change(arrays, name):
    """One fault a file may have."""
    left = arrays["left"].astype(np.uint16)
    first = int(np.flatnonzero(left)[0])
    match name:
        case "child in the next tree":
            left[first] = arrays["nodes"][0]
            return {"left": left}
        case "node without a right child":
            right = arrays["right"].copy()
            right[first] = 0
            return {"right": right}
        case "feature that there is not":
            return {"feature": arrays["feature"] + np.uint8(5)}
        case "nodes that are not there":
            return {"nodes": arrays["nodes"] * np.uint64(2)}
        case "threshold that is none":
            return {"threshold": arrays["threshold"] * np.float32(np.nan)}
        case "signed child":
            return {"left": arrays["left"].astype(np.int64)}
        case "leaf of nothing":
            return {"samples": arrays["samples"] * np.uint8(0)}
        case "foreign name":
            return {"features": np.array(["T1_intensity", "a", "b", "c", "d"])}
        case _:
            return {"format": np.array(2)}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("child in the next tree", "trees are damaged"),
        ("node without a right child", "trees are damaged"),
        ("feature that there is not", "trees are damaged"),
        ("nodes that are not there", "announces"),
        ("threshold that is none", "trees are damaged"),
        ("signed child", "left holds int64"),
        ("leaf of nothing", "trees are damaged"),
        ("foreign name", "features that there are not: a, b, c, d"),
        ("later format", "format is 2, not 1"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, name, message):
    path = tmp_path / "forest.npz"
    write_forest(path, classifier(), FEATURES[:5], AS_VOTED)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **(arrays | change(arrays, name)))
    with pytest.raises(DataError, match=message):
        read_forest(path)


class Sprung:
    """What a pickle can do to its reader."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def test_no_pickle_is_run(tmp_path):
    path = tmp_path / "forest.npz"
    path.write_bytes(pickle.dumps(Sprung()))
    with pytest.raises(DataError, match="cannot be read as a forest"):
        read_forest(path)
    np.savez(path, format=np.array([Sprung()], dtype=object))
    with pytest.raises(DataError, match="cannot be read as a forest"):
        read_forest(path)
    np.save(path.with_suffix(".npy"), np.zeros(3))
    with pytest.raises(DataError, match="it is one array"):
        read_forest(path.with_suffix(".npy"))
    with pytest.raises(DataError, match="cannot be read as a forest"):
        read_forest(tmp_path / "absent.npz")


def test_half_a_file_is_refused(tmp_path):
    path = tmp_path / "forest.npz"
    write_forest(path, classifier(), FEATURES[:5], AS_VOTED)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match="cannot be read as a forest"):
        read_forest(path)


def study(affine, shape, lesion=(11.0, -6.0, 4.0), seed=0):
    """Images, brain and labels that are functions of the place in mm round the grid's middle.

    The brain is a ball of 28 mm; the lesion, longer to the left, has a necrotic core, a rim that enhances, and edema.
    """
    rng = np.random.default_rng(seed)
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    x = (indices - (np.array(shape) - 1) / 2) @ affine[:3, :3].T
    brain = np.linalg.norm(x, axis=-1) < 28
    distance = np.linalg.norm((x - np.array(lesion)) / [1.5, 1.0, 1.0], axis=-1)
    labels = np.select([distance < 4, distance < 6.5, distance < 10], [1, 4, 2], 0).astype(np.uint8) * brain
    signals = {
        Sequence.T1: [100, 60, 80, 80],
        Sequence.T1C: [100, 60, 90, 220],
        Sequence.T2: [100, 200, 160, 150],
        Sequence.FLAIR: [100, 150, 220, 190],
    }
    volumes = {}
    for sequence, signal in signals.items():
        image = np.array([*signal[:3], 0, signal[3]], np.float32)[labels] + rng.normal(0, 6, shape)
        volumes[sequence] = Volume((image * brain).astype(np.float32), affine)
    return volumes, Volume(brain.astype(np.uint8), affine), labels


@pytest.fixture(scope="module")
def forest_path(tmp_path_factory):
    """A forest of twelve trees, which has seen one axis-aligned study of 2 mm with its lesion elsewhere."""
    volumes, brain, labels = study(np.diag([2.0, 2.0, 2.0, 1.0]), (32, 32, 32), (-9.0, 5.0, -6.0), seed=1)
    names = [f"{s}_{kind}" for s in Sequence for kind in ("intensity", "mean_1mm", "mean_2mm", "gradient_2mm")]
    voxels = np.argwhere(brain.array > 0)
    x = voxel_features(network_channels(volumes, brain), brain, voxels, names)
    fitted = RandomForestClassifier(12, random_state=0).fit(x, labels[tuple(voxels.T)])
    path = tmp_path_factory.mktemp("forest") / "forest.npz"
    write_forest(path, fitted, names, AS_VOTED)
    return path


@pytest.mark.parametrize(
    "affine",
    [
        oblique_affine((1.2, 1.6, 2.5)),
        np.array([[0.0, 0, 2.0, 3], [1.5, 0, 0, 5], [0, -1.5, 0, 7], [0, 0, 0, 1]]),
    ],
    ids=["oblique", "sagittal"],
)
def test_the_lesion_is_found_where_it_is(forest_path, affine):
    volumes, brain, truth = study(affine, (60, 48, 40))
    result = load_forest(forest_path)(volumes, brain)
    assert result.labels.array.dtype == np.uint8 and result.probabilities.dtype == np.float32
    assert result.probabilities.shape == (3, *truth.shape)
    assert result.labels.grid.same_as(brain.grid)
    for found, true in zip(labels_to_regions(result.labels.array), labels_to_regions(truth), strict=True):
        centroid, expected = (affine @ [*center_of_mass(mask), 1.0] for mask in (found, true))
        np.testing.assert_allclose(centroid, expected, atol=0.8)
        assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.8
    et, tc, wt = result.probabilities
    assert (et <= tc).all() and (tc <= wt).all() and wt.max() <= 1.0 + 1e-6
    assert not result.probabilities[:, brain.array == 0].any()


def test_an_unknown_sequence_and_an_empty_brain(forest_path):
    volumes, brain, _ = study(np.diag([2.5, 2.5, 2.5, 1.0]), (24, 24, 24))
    segmenter = load_forest(forest_path)
    del volumes[Sequence.T1]
    assert segmenter(volumes, brain).labels.array.any()
    with pytest.raises(PreparationError, match="brain mask is empty"):
        segmenter(volumes, brain.with_array(np.zeros_like(brain.array)))
