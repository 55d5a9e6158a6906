"""BraTS cases and the fixed split."""

import nibabel as nib
import numpy as np
import pytest

from acuity.anatomy import Sequence
from acuity.errors import DataError
from acuity.research.datasets.brats import (
    brain_box,
    data_folder,
    folds,
    image_files,
    labels_file,
    read_case,
    read_image,
    read_labels,
    read_split,
    without_fold,
)


def test_the_split_is_by_patient_and_complete():
    split = read_split()
    assert [len(split[part]) for part in ("train", "validation", "test")] == [39, 4, 6]
    assert len({*split["train"], *split["validation"], *split["test"]}) == 49
    assert not set(split["coarse"]) & {*split["validation"], *split["test"]}
    assert set(split["low_grade"]) & set(split["test"])


def test_folds_hold_each_case_of_training_and_validation_once_and_none_of_test():
    split = read_split()
    parts = folds(split)
    assert sorted(name for fold in parts for name in fold) == sorted([*split["train"], *split["validation"]])
    for mark in ("coarse", "low_grade"):
        counts = [len(set(split[mark]) & set(fold)) for fold in parts]
        assert max(counts) - min(counts) <= 1
    for number, fold in enumerate(parts):
        train, held_out = without_fold(split, number)
        assert held_out == fold
        assert sorted(train + held_out) == sorted([*split["train"], *split["validation"]])


def test_the_cases_of_the_split_are_there_and_complete(shared_data):
    """As a folder, or packed as NAME.npz."""
    split = read_split()
    folders = {path.name: path for path in (shared_data / "brats").glob("*/")}
    packed = {path.stem for path in (shared_data / "brats_packed").glob("*.npz")}
    names = {name for part in ("train", "validation", "test") for name in split[part]}
    if missing := sorted(names - set(folders) - packed):
        pytest.skip(f"{len(missing)} of {len(names)} cases are in neither brats/ nor brats_packed/: {missing[0]}, ...")
    for folder in (folders[name] for name in names & set(folders)):
        assert set(image_files(folder)) == set(Sequence)
        assert labels_file(folder).is_file()


def test_a_nifti_affine_becomes_lps(tmp_path):
    affine = np.array([[-1.0, 0, 0, 5], [0, -2, 0, 7], [0, 0, 3, -4], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(np.zeros((2, 3, 4), np.float32), affine), tmp_path / "x.nii.gz")
    np.testing.assert_allclose(
        read_image(tmp_path / "x.nii.gz").affine, [[1, 0, 0, -5], [0, 2, 0, -7], [0, 0, 3, -4], [0, 0, 0, 1]]
    )


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="holds no case case."):
        read_case(tmp_path / "case")
    with pytest.raises(DataError, match="Name it, or set ACUITY_DATA"):
        data_folder(tmp_path / "nowhere")


def test_the_box_holds_the_brain_and_is_even():
    array = np.zeros((20, 20, 9))
    array[5:9, 4:8, 3:9] = 1
    box = brain_box([array], margin=0)
    assert all(s.start % 2 == 0 and s.stop % 2 == 0 for s in box)
    assert array[box].sum() == array[:, :, :8].sum()


def test_labels_are_those_of_brats(shared_data):
    case = shared_data / "brats" / read_split()["test"][0]
    assert set(np.unique(read_labels(case).array)) <= {0, 1, 2, 4}
    assert set(read_case(case)) == set(Sequence)
