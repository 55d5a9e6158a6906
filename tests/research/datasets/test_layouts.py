"""Cases in every layout are the same cases, and what cannot be one is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from acuity.anatomy import Sequence
from acuity.errors import DataError
from acuity.research.datasets.brats import is_labeled, read_case, read_labels
from acuity.research.datasets.folders import ImageFormat, image_format, read_nifti
from acuity.research.datasets.layouts import find_cases, named_cases, patient_of
from acuity.research.sampling.preparation import prepare_cases
from tests.research.layouts import AFFINE, LAYOUTS, NAMES, SHAPE, made_up, save, write_layout, write_one


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_images_and_labels(tmp_path: Path, layout: str) -> None:
    names = write_layout(layout, tmp_path)
    assert image_format(tmp_path) is ImageFormat.BRATS
    assert list(named_cases(tmp_path)) == names
    for seed, name in enumerate(names):
        images, labels = made_up(seed)
        read = read_case(tmp_path / name)
        for channel, sequence in enumerate(Sequence):
            np.testing.assert_array_equal(read[sequence].array, images[channel])
        np.testing.assert_array_equal(read_labels(tmp_path / name).array, labels)
        assert is_labeled(tmp_path / name)


def test_other_codings_of_labels_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for layout in ("2021", "2023", "decathlon"):
        for name in write_layout(layout, tmp_path / layout):
            read_labels(tmp_path / layout / name)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0].endswith("2023: labels are read 3 as 4 (enhancing)")
    assert said[1].endswith("decathlon: labels are read 1 as 2 (edema); 2 as 1 (necrosis); 3 as 4 (enhancing)")


def test_three_is_enhancing_in_files_named_as_before_2023(tmp_path: Path) -> None:
    name = write_layout("2021", tmp_path)[0]
    labels = made_up(0)[1]
    save(np.where(labels == 4, 3, labels).astype(np.uint8), AFFINE, tmp_path / name / f"{name}_seg.nii.gz")
    np.testing.assert_array_equal(read_labels(tmp_path / name).array, labels)


@pytest.mark.parametrize(("layout", "values"), [("2021", [3, 4]), ("2021", [5]), ("2021", [0.5]), ("2023", [4])])
def test_other_labels_are_refused(tmp_path: Path, layout: str, values: list[float]) -> None:
    name = write_layout(layout, tmp_path)[0]
    labels = np.zeros(SHAPE, np.float32)
    labels[: len(values), 0, 0] = values
    save(labels, AFFINE, next((tmp_path / name).glob("*seg*")))
    with pytest.raises(DataError, match=f"The truth of {name} has the labels 0, {values[0]:g}"):
        read_labels(tmp_path / name)


def test_the_grade_is_known_by_folder_or_list(tmp_path: Path) -> None:
    write_layout("2018", tmp_path / "2018")
    assert [case.grade for case in find_cases(tmp_path / "2018")] == ["high", "high", "low"]
    names = write_layout("2020", tmp_path / "2020")
    (tmp_path / "2020" / "name_mapping.csv").write_text(
        f"Grade,BraTS_2019_subject_ID,BraTS_2020_subject_ID\nHGG,NA,{names[0]}\nLGG,NA,{names[1]}\n"
    )
    assert [case.grade for case in find_cases(tmp_path / "2020")] == ["high", "low", None]


@pytest.mark.parametrize(
    ("case", "patient"),
    [
        ("BraTS-GLI-00005-001", "BraTS-GLI-00005"),
        ("Brats18_CBICA_ABM_1", "Brats18_CBICA_ABM"),
        ("BraTS20_Training_001", "BraTS20_Training_001"),
        ("BraTS2021_00006", "BraTS2021_00006"),
        ("sub-07/ses-2/anat/sub-07_T1w", "sub-07"),
        ("mine_2", "mine_2"),
    ],
)
def test_the_patient_of_a_case(case: str, patient: str) -> None:
    assert patient_of(case) == patient


def test_links_are_followed(tmp_path: Path) -> None:
    names = write_layout("2021", tmp_path / "store")
    save(np.arange(60.0).reshape(3, 4, 5), AFFINE, tmp_path / "store" / "nifti" / "a.nii.gz")
    (tmp_path / "links" / "cases").mkdir(parents=True)
    (tmp_path / "links" / "cases" / names[0]).symlink_to(tmp_path / "store" / names[0])
    (tmp_path / "links" / "cases" / "mine").symlink_to(tmp_path / "store" / names[1])
    assert list(named_cases(tmp_path / "links" / "cases")) == [names[0], "mine"]
    assert set(read_case(tmp_path / "links" / "cases" / "mine")) == set(Sequence)
    (tmp_path / "links" / "images").mkdir()
    (tmp_path / "links" / "images" / "more").symlink_to(tmp_path / "store" / "nifti")
    (tmp_path / "store" / "nifti" / "back").symlink_to(tmp_path / "store" / "nifti")
    assert [named.case for named in read_nifti(tmp_path / "links" / "images")] == ["more/a"]


def test_the_axes_are_brought_to_one_order(tmp_path: Path) -> None:
    images, labels = made_up(0)
    turned = [np.ascontiguousarray(array[::-1].transpose(2, 0, 1)) for array in [*images, labels]]
    affine = np.zeros((4, 4))
    affine[0, 1], affine[1, 2], affine[2, 0], affine[3, 3] = 1, -1, 1, 1
    affine[:3, 3] = AFFINE[:3, 3] + [-(SHAPE[0] - 1), 0, 0]
    write_one("2021", tmp_path, "turned", turned[:4], turned[4], affine)
    np.testing.assert_array_equal(read_case(tmp_path / "turned")[Sequence.T2].array, images[2])
    np.testing.assert_array_equal(read_labels(tmp_path / "turned").array, labels)


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (0.5, 1.0, 3.0)])
def test_a_case_of_another_spacing_is_resampled_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spacing: tuple[float, ...]
) -> None:
    (name, *_) = write_layout("2021", tmp_path, affine=AFFINE @ np.diag([*spacing, 1]))
    (case,) = prepare_cases(tmp_path, [name])
    labels = made_up(0)[1]
    assert f"{name} has voxels of" in caplog.text and "resampled to 1 mm" in caplog.text
    enhancing_ml = (labels == 4).sum() * np.prod(spacing) / 1000
    assert float(case.regions[0].sum()) / 1000 == pytest.approx(enhancing_ml, rel=0.1)


def spoil_nan(image: np.ndarray) -> np.ndarray:
    image[5, 5, 5] = np.nan
    return image


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_nan, "T2 of {} has values that are not finite"),
        (np.zeros_like, "T2 of {} is 0 everywhere"),
        (lambda image: made_up(0)[1], "T2 of {} is a mask: it has the values 0, 1, 2, 4 alone"),
        (lambda image: image[:-1], "T2 of {} lies on another grid than T1"),
    ],
)
@pytest.mark.parametrize("layout", ["2021", "2023"])
def test_images_that_are_none_are_refused_by_name(
    tmp_path: Path, layout: str, spoil: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    name = write_layout(layout, tmp_path)[0]
    file = next((tmp_path / name).glob("*t2w.nii*" if layout == "2023" else "*t2.nii*"))
    save(spoil(made_up(0)[0][2]), AFFINE, file)
    with pytest.raises(DataError, match=message.format(name)):
        read_case(tmp_path / name)


def test_files_that_are_missing_damaged_or_double_are_named(tmp_path: Path) -> None:
    one, two, three = write_layout("2021", tmp_path)
    (tmp_path / one / f"{one}_t1.nii.gz").unlink()
    with pytest.raises(DataError, match=f"{one} has no T1"):
        read_case(tmp_path / one)
    save(made_up(0)[0][0], AFFINE, tmp_path / two / f"{two}_t1.nii")
    with pytest.raises(DataError, match=f"{two} has a second file for the same image: {two}_t1.nii"):
        read_case(tmp_path / two)
    (tmp_path / three / f"{three}_t2.nii.gz").write_bytes(b"nothing")
    with pytest.raises(DataError, match=f"{three}_t2.nii.gz cannot be read"):
        read_case(tmp_path / three)
    (tmp_path / three / f"{three}_seg.nii.gz").unlink()
    assert not is_labeled(tmp_path / three)
    with pytest.raises(DataError, match=f"{three} has no truth"):
        read_labels(tmp_path / three)
    with pytest.raises(DataError, match="holds no case four"):
        read_case(tmp_path / "four")


def test_a_truth_on_another_grid_is_refused(tmp_path: Path) -> None:
    name = write_layout("2021", tmp_path)[0]
    moved = AFFINE.copy()
    moved[0, 3] += 1
    save(made_up(0)[1], moved, tmp_path / name / f"{name}_seg.nii.gz")
    with pytest.raises(DataError, match=f"The truth of {name} lies on another grid than T1"):
        read_labels(tmp_path / name)


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    write_layout("2018", tmp_path)
    name = Path(NAMES["2018"][0]).name
    (tmp_path / "LGG" / name).symlink_to(tmp_path / "HGG" / name)
    with pytest.raises(DataError, match=f"holds two cases {name}"):
        named_cases(tmp_path)


def test_a_decathlon_that_does_not_say_its_channels_is_refused(tmp_path: Path) -> None:
    write_layout("decathlon", tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps({"modality": {"0": "CT"}, "labels": {}}))
    with pytest.raises(DataError, match="does not say which channels are FLAIR, T1w, t1gd and T2w"):
        find_cases(tmp_path)


def test_masks_among_nifti_files_are_refused(tmp_path: Path) -> None:
    images, labels = made_up(0)
    save(images[0], AFFINE, tmp_path / "anat" / "head.nii.gz")
    save(labels, AFFINE, tmp_path / "anat" / "outline.nii.gz")
    with pytest.raises(DataError, match="anat/outline is a mask"):
        list(read_nifti(tmp_path))
