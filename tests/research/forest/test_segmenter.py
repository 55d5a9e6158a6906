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
from acuity.research.forest.segmenter import CLASSES, calibrated, load_forest, to_forest, write_forest
from acuity.volume import Volume
from tests.dicom_builder import oblique_affine

AS_VOTED = np.eye(4, 5)  # a calibration that leaves votes as they are


def classifier(depth=None):
    """Of noisy classes, so that leaves are mixed where trees are shallow; at depth 0 trees of one leaf."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 5)).astype(np.float32)
    y = np.array(CLASSES)[np.digitize(x[:, 0] + rng.normal(0, 0.5, 600), [-0.5, 0.3, 1.0])]
    return RandomForestClassifier(7, max_depth=depth or None, random_state=0).fit(0 * x if depth == 0 else x, y)


@pytest.mark.parametrize("depth", [0, 1, 5, None])
def test_a_forest_read_back_votes_exactly_as_scikit_learns(tmp_path, depth):
    fitted = classifier(depth)
    write_forest(tmp_path / "forest.npz", to_forest(fitted, FEATURES[:5], AS_VOTED))
    assert [path.name for path in tmp_path.iterdir()] == ["forest.npz"]
    forest = load_forest(tmp_path / "forest.npz")
    x = np.random.default_rng(1).standard_normal((20_000, 5)).astype(np.float32)
    thresholds = [tree.tree_.threshold for tree in fitted.estimators_]
    x[: len(thresholds[0]), 0] = thresholds[0]  # values at a threshold go left
    np.testing.assert_array_equal(forest.votes(x), fitted.predict_proba(x))
    assert forest.features == FEATURES[:5]
    assert forest.votes(x[:0]).shape == (0, 4)


def test_other_classes_are_refused():
    fitted = RandomForestClassifier(1).fit(np.zeros((4, 5)), [0, 1, 2, 3])
    with pytest.raises(ValueError, match=r"they must be \(0, 1, 2, 4\)"):
        to_forest(fitted, FEATURES[:5], AS_VOTED)


def test_calibration_undoes_that_classes_were_drawn_alike():
    votes = np.array([[0.4, 0.2, 0.2, 0.2], [0.1, 0.7, 0.1, 0.1]])
    np.testing.assert_allclose(calibrated(votes, AS_VOTED), votes)
    prior = np.array([0.94, 0.01, 0.03, 0.02])
    expected = votes * prior / (votes * prior).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(calibrated(votes, np.column_stack([np.eye(4), np.log(prior)])), expected)


def changed(array, index, value):
    array[index] = value
    return array


class Sprung:
    """What a pickle can do to its reader."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("children", lambda a: changed(a, (0, 1), 0), "trees are damaged"),  # no right child
        ("children", lambda a: changed(a, (3, 0), 2), "trees are damaged"),  # a way back
        ("children", lambda a: changed(a, (0, 1), len(a)), "trees are damaged"),
        ("children", lambda a: a.astype(float), "trees are damaged"),
        ("children", lambda a: a[:, :1], "trees are damaged"),
        ("roots", lambda a: changed(a, 0, -1), "trees are damaged"),
        ("roots", lambda a: a[:0], "trees are damaged"),
        ("feature", lambda a: a + 5, "trees are damaged"),
        ("threshold", lambda a: a[1:], "trees are damaged"),
        ("threshold", lambda a: a * np.nan, "trees are damaged"),
        ("shares", lambda a: a[:, :3], "trees are damaged"),
        ("calibration", lambda a: a[:3], "trees are damaged"),
        ("features", lambda a: np.array(["T1_intensity", "a", "b", "c", "d"]), "features that there are not: a, b, c"),
        ("format", lambda a: np.array(1), "format is 1, not 2"),
        ("format", lambda a: np.array([Sprung()], dtype=object), "Object arrays cannot be loaded"),
        ("surplus", lambda a: np.zeros(1), "unexpected keyword argument"),
    ],
)
def test_a_file_that_holds_no_forest_is_refused(tmp_path, name, change, message):
    path = tmp_path / "forest.npz"
    write_forest(path, to_forest(classifier(), FEATURES[:5], AS_VOTED))
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **(arrays | {name: change(arrays.get(name))}))
    with pytest.raises(DataError, match=message):
        load_forest(path)


def test_a_file_that_is_none_is_refused(tmp_path):
    path = tmp_path / "forest.npz"
    write_forest(path, to_forest(classifier(), FEATURES[:5], AS_VOTED))
    whole = path.read_bytes()
    np.save(tmp_path / "array.npy", np.zeros(3))
    for content in (whole[:-500], pickle.dumps(Sprung()), b"", (tmp_path / "array.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read as a forest") as caught:
            load_forest(path)
        assert "train it again" in caught.value.remedy
    with pytest.raises(DataError, match="cannot be read as a forest"):
        load_forest(tmp_path / "absent.npz")


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
def forest():
    """A forest of twelve trees, which has seen one axis-aligned study of 2 mm with its lesion elsewhere."""
    volumes, brain, labels = study(np.diag([2.0, 2.0, 2.0, 1.0]), (32, 32, 32), (-9.0, 5.0, -6.0), seed=1)
    names = [f"{s}_{kind}" for s in Sequence for kind in ("intensity", "mean_1mm", "mean_2mm", "gradient_2mm")]
    voxels = np.argwhere(brain.array > 0)
    x = voxel_features(network_channels(volumes, brain), brain, voxels, names)
    fitted = RandomForestClassifier(12, random_state=0).fit(x, labels[tuple(voxels.T)])
    return to_forest(fitted, names, AS_VOTED)


@pytest.mark.parametrize(
    "affine",
    [
        oblique_affine((1.2, 1.6, 2.5)),
        np.array([[0.0, 0, 2.0, 3], [1.5, 0, 0, 5], [0, -1.5, 0, 7], [0, 0, 0, 1]]),
    ],
    ids=["oblique", "sagittal"],
)
def test_the_lesion_is_found_where_it_is(forest, affine):
    volumes, brain, truth = study(affine, (60, 48, 40))
    result = forest(volumes, brain)
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


def test_a_missing_sequence_and_an_empty_brain(forest):
    volumes, brain, _ = study(np.diag([2.5, 2.5, 2.5, 1.0]), (24, 24, 24))
    del volumes[Sequence.T1]
    assert forest(volumes, brain).labels.array.any()
    with pytest.raises(PreparationError, match="brain mask is empty"):
        forest(volumes, brain.with_array(np.zeros_like(brain.array)))
