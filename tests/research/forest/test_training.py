"""Training a forest: which voxels it sees, how it is scored, and that a seed gives one forest."""

import argparse
import csv
import json

import nibabel as nib
import numpy as np
import pytest
from scipy.stats import dirichlet

from acuity.anatomy import Region
from acuity.commands import train_forest
from acuity.errors import DataError
from acuity.research.datasets import brats
from acuity.research.forest import Plan
from acuity.research.forest.features import FEATURES
from acuity.research.forest.segmenter import CLASSES, calibrated, load_forest
from acuity.research.forest.training import draw_balanced, fit_calibration, read_voxels, region_dice, train
from acuity.research.metrics.overlap import dice
from acuity.research.synthetic.phantom import make_phantom
from acuity.volume import RAS_LPS

NAMES = ["one", "two", "three"]
SPLIT = {"train": ["one", "coarse", "two"], "validation": ["three"], "test": ["held_out"], "coarse": ["coarse"]}


def command(*words):
    parser = argparse.ArgumentParser()
    train_forest.add_arguments(parser)
    return train_forest.run(parser.parse_args([str(word) for word in words]))


def write_phantom(folder, name, **options):
    """A phantom of 8 mm as a BraTS case."""
    phantom = make_phantom(spacing_mm=8.0, **options)
    images = {suffix: phantom.volumes[s] for s, suffix in brats.FILE_SUFFIX.items()} | {"seg": phantom.labels}
    (folder / name).mkdir()
    for suffix, volume in images.items():
        nib.save(nib.Nifti1Image(volume.array, RAS_LPS @ volume.affine), folder / name / f"{name}_{suffix}.nii.gz")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Phantoms to train on, and those that the split keeps from the forest."""
    folder = tmp_path_factory.mktemp("data")
    for seed, name in enumerate([*NAMES, "coarse", "held_out"]):
        write_phantom(folder, name, seed=seed)
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """What the command wrote."""
    output = tmp_path_factory.mktemp("forest") / "out"
    split = output.parent / "mine.json"
    split.write_text(json.dumps(SPLIT))
    assert (
        command(
            "--data", data, "--split", split, "--output", output, "--folds", 2, "--trees", 15, "--voxels-per-case", 400
        )
        == 0
    )
    return output


def test_half_of_the_voxels_are_healthy_and_tumor_labels_alike():
    labels = np.zeros((30, 30, 10), np.uint8)
    labels[:10, :10] = 2
    labels[:5, :5] = 4
    labels[0, 0, :3] = 1
    brain = np.ones(labels.shape, bool)
    brain[20:] = False
    voxels = draw_balanced(labels, brain, 600, np.random.default_rng(0))
    assert len(np.unique(voxels, axis=0)) == len(voxels)
    drawn = labels[tuple(voxels.T)]
    assert [int((drawn == label).sum()) for label in CLASSES] == [300, 3, 100, 100]
    assert brain[tuple(voxels.T)].all()
    assert len(draw_balanced(np.zeros_like(labels), brain, 600, np.random.default_rng(0))) == 300


def test_a_case_is_scored_on_an_even_draw_of_its_brain(data, monkeypatch):
    monkeypatch.setattr("acuity.research.forest.training.EVEN_VOXELS", 1500)
    brain = brats.brain_mask(brats.read_case(data / NAMES[0]))
    labels = brats.read_labels(data / NAMES[0]).array[brain]
    drawn = read_voxels((0, NAMES[0]), data, Plan(voxels_per_case=100)).even.labels
    assert len(drawn) == 1500 < len(labels)
    assert (drawn > 0).mean() == pytest.approx((labels > 0).mean(), rel=0.2)


def test_a_seed_and_the_case_s_number_give_the_draw(data):
    def draw(number, seed):
        return read_voxels((number, NAMES[0]), data, Plan(voxels_per_case=100, seed=seed)).balanced.features

    np.testing.assert_array_equal(draw(0, 0), draw(0, 0))
    assert not np.array_equal(draw(0, 0), draw(0, 1)) and not np.array_equal(draw(0, 0), draw(1, 0))


@pytest.mark.parametrize(("labels", "expected"), [([1, 0, 2], (1.0, 1.0, 1.0)), ([0, 0, 2], (1.0, 0.0, 2 / 3))])
def test_regions_are_found_by_the_sum_of_their_classes(labels, expected):
    probabilities = np.array([[0.4, 0.3, 0.0, 0.3], [0.6, 0.1, 0.2, 0.1], [0.1, 0.3, 0.4, 0.2]])  # TC, none, WT
    found = region_dice(probabilities, np.array(labels, np.uint8))
    assert found == pytest.approx(dict(zip(Region, expected, strict=True)))


def test_calibration_learns_how_often_classes_are_found():
    """Votes as if classes were alike, and too timid: the probabilities behind them come back."""
    rng = np.random.default_rng(0)
    true = dirichlet.rvs([4, 0.3, 0.6, 0.3], 20_000, random_state=rng).clip(0.01)
    true /= true.sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(CLASSES, p=p) for p in true[:8000]], np.uint8)
    votes = np.sqrt(true / [0.8, 0.05, 0.1, 0.05])
    votes /= votes.sum(axis=1, keepdims=True)
    calibration = fit_calibration([votes[:3000], votes[3000:8000]], [labels[:3000], labels[3000:]])
    found = calibrated(votes[8000:], calibration)
    assert np.abs(found - true[8000:]).mean() < 0.01 < np.abs(votes[8000:] - true[8000:]).mean()


def test_the_command_says_what_it_made(trained):
    settings = json.loads((trained / "settings.json").read_text())
    assert settings["cases"] == NAMES and settings["trees"] == 15 and settings["depth"] == 60
    assert 10 < len(settings["features"]) < len(FEATURES) == settings["features_offered"]
    assert sum(settings["features"].values()) == pytest.approx(1)
    assert settings["software"]["scikit-learn"] and settings["bytes"] == (trained / "forest.npz").stat().st_size
    with (trained / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted((row["case"], row["region"]) for row in rows) == sorted((n, r.value) for n in NAMES for r in Region)
    whole_tumor = [float(row["dice"]) for row in rows if row["region"] == "WT"]
    assert settings["dice"]["dice"]["WT"] == pytest.approx(np.mean(whole_tumor))
    assert np.mean(whole_tumor) > 0.5


def test_it_finds_a_tumor_that_it_has_not_seen(trained):
    phantom = make_phantom(seed=11, spacing_mm=8.0)
    result = load_forest(trained / "forest.npz")(phantom.volumes, phantom.brain)
    assert dice(result.labels.array > 0, phantom.labels.array > 0) > 0.5


def test_one_seed_gives_one_forest_with_any_number_of_threads(data, trained, tmp_path):
    train(NAMES, data=data, folder=tmp_path, plan=Plan(trees=15, folds=2, voxels_per_case=400, jobs=2))
    with np.load(trained / "forest.npz") as first, np.load(tmp_path / "forest.npz") as second:
        assert first.files == second.files
        for name in first.files:
            np.testing.assert_array_equal(first[name], second[name])


def test_refusals(data, tmp_path):
    with pytest.raises(DataError, match="holds no case"):
        command("--data", tmp_path, "--output", tmp_path / "out")
    with pytest.raises(DataError, match="2 cases are to be split into 5 folds"):
        command("--data", data, "--output", tmp_path / "out", "--cases", 2)
    assert not (tmp_path / "out" / "forest.npz").exists()


def test_a_label_of_one_fold_alone_is_refused(tmp_path):
    write_phantom(tmp_path, "one")
    write_phantom(tmp_path, "two", tumor=False)
    with pytest.raises(DataError, match="Without one no case has the label 1"):
        train(["one", "two"], data=tmp_path, folder=tmp_path / "out", plan=Plan(folds=2, voxels_per_case=50))
