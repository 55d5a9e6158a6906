"""Slices from every source: their scale, place and choice."""

from __future__ import annotations

from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from acuity.anatomy import Sequence
from acuity.errors import DataError
from acuity.research.datasets.brats import FILE_SUFFIX, read_split
from acuity.research.datasets.slice_sets import (
    ImageSlice,
    comparison_slices,
    cropped,
    draw_hr_patches,
    moved,
    read_slices,
    spread,
)
from tests.dicom_builder import axial_affine, write_mr_series
from tests.research.datasets.test_fastmri import HEADER

BRATS_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
FIRST, LAST = 4, 15  # axial slices of the made-up brain


def add_case(folder: Path, name: str = "CASE_1", tumor_at: int | None = 13) -> None:
    """A brain whose value tells voxel (i, j, k), in FIRST..LAST; most tumor lies in one slice near the top."""
    i, j, k = np.indices((24, 30, 20))
    brain = (abs(i - 12) < 7) & (abs(j - 15) < 11) & (k >= FIRST) & (k <= LAST)
    array = np.where(brain, 1000 + 100 * k + i + 30.0 * j, 0).astype(np.float32)
    labels = np.zeros(array.shape, np.uint8)
    if tumor_at is not None:
        labels[10:12, 10:12, 5:15] = 2
        labels[9:14, 9:14, tumor_at] = 4
    (folder / name).mkdir(parents=True)
    for n, suffix in enumerate(FILE_SUFFIX.values(), 1):
        nib.save(nib.Nifti1Image(array * n, BRATS_AFFINE), folder / name / f"{name}_{suffix}.nii.gz")
    nib.save(nib.Nifti1Image(labels, BRATS_AFFINE), folder / name / f"{name}_seg.nii.gz")


def ramp(shape: tuple[int, int, int]) -> NDArray[np.uint16]:
    """[i, j, k] with a value that tells them: 1000 k + 30 j + i + 1."""
    i, j, k = np.indices(shape)
    return (1000 * k + 30 * j + i + 1).astype(np.uint16)


def test_brats_gives_axial_slices_of_all_sequences(tmp_path):
    add_case(tmp_path)
    slices = read_slices(tmp_path)
    assert {s.sequence for s in slices} == {s.value for s in Sequence}
    assert {s.case for s in slices} == {"CASE_1"}
    assert [s.index for s in slices if s.sequence == "T2"] == list(range(FIRST, LAST + 1))  # empty ones are left out
    assert all(s.image.dtype == np.float32 and s.spacing == (1.0, 1.0) for s in slices)
    assert all(n % 4 == 0 for s in slices for n in s.image.shape)
    first = slices[0].image
    inside = first[first > 0]
    # Rows run along j, columns along i, and no gain of the sequence is left.
    step = np.diff(first, axis=0)[8:12, 8:12] / np.diff(first, axis=1)[8:12, 8:12][0, 0]
    np.testing.assert_allclose(step, 30, rtol=1e-3)
    np.testing.assert_array_equal(first, next(s.image for s in slices if s.sequence == "FLAIR"))
    assert inside.min() > 0 and 0.9 < max(s.image.max() for s in slices) < 1.05


def test_the_scale_is_the_percentile_of_the_whole_volume(tmp_path):
    """A single slice's own scale would hide that signal fades; the judge is numpy on the file."""
    add_case(tmp_path)
    array = nib.load(tmp_path / "CASE_1" / "CASE_1_t2.nii.gz").get_fdata()
    truth = array / np.percentile(array[array > 0], 99.9)
    item = next(s for s in read_slices(tmp_path) if s.sequence == "T2" and s.index == 9)
    rows, columns = item.image.shape
    whole = truth[:, :, 9].T
    matches = [
        np.allclose(whole[r : r + rows, c : c + columns], item.image, atol=1e-6)
        for r in range(31 - rows)
        for c in range(25 - columns)
    ]
    assert sum(matches) == 1


def test_fastmri_files_are_read_with_their_pixel_size(tmp_path):
    (tmp_path / "val").mkdir()
    with h5py.File(tmp_path / "val" / "file7.h5", "w") as file:
        file["reconstruction_rss"] = np.random.default_rng(0).random((3, 12, 10)).astype(np.float32) * 1e-4
        file["ismrmrd_header"] = HEADER
        file.attrs["acquisition"] = "CORPD_FBK"
    slices = read_slices(tmp_path)
    assert [(s.case, s.sequence, s.index) for s in slices] == [("val/file7", "CORPD_FBK", n) for n in range(3)]
    assert slices[0].image.shape == (12, 8)
    assert slices[0].spacing == pytest.approx((0.75, 0.5))
    assert max(s.image.max() for s in slices) == pytest.approx(1.0, abs=0.05)


def test_dicom_slices_are_rows_by_columns(tmp_path):
    write_mr_series(tmp_path / "knee", ramp((12, 8, 3)), axial_affine((0.5, 0.7, 3.0)))
    slices = read_slices(tmp_path / "knee")
    assert [(s.case, s.sequence, s.index) for s in slices] == [("knee", "series 1", n) for n in range(3)]
    assert slices[0].image.shape == (8, 12)
    assert slices[0].spacing == pytest.approx((0.7, 0.5))
    down, across = np.diff(slices[2].image, axis=0), np.diff(slices[2].image, axis=1)
    np.testing.assert_allclose(down, 30 * across[0, 0], rtol=1e-2)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_nifti_is_sliced_across_its_coarsest_axis(tmp_path, axis):
    shape, spacing = [8, 8, 8], [1.0, 1.0, 1.0]
    shape[axis], spacing[axis] = 3, 4.0
    nib.save(nib.Nifti1Image(np.ones(shape, np.float32), np.diag([*spacing, 1.0])), tmp_path / "a.nii.gz")
    slices = read_slices(tmp_path)
    assert [s.index for s in slices] == [0, 1, 2]
    assert all(s.image.shape == (8, 8) and s.spacing == (1.0, 1.0) and s.case == "a" for s in slices)


def test_cases_are_chosen_by_name_and_a_wrong_name_is_refused(tmp_path):
    for name in ("CASE_1", "CASE_2"):
        add_case(tmp_path, name)
    assert {s.case for s in read_slices(tmp_path, cases=["CASE_2"])} == {"CASE_2"}
    with pytest.raises(DataError, match="gives no slice of CASE_3"):
        read_slices(tmp_path, cases=["CASE_2", "CASE_3"])


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_an_image_without_signal_is_refused(tmp_path, value):
    nib.save(nib.Nifti1Image(np.full((8, 8, 3), value, np.float32), np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(DataError, match="a holds an image that is not finite, or nowhere above 0"):
        read_slices(tmp_path)


def test_comparison_slices_are_even_and_hold_the_largest_tumor(tmp_path):
    add_case(tmp_path, tumor_at=13)
    chosen = comparison_slices(tmp_path, levels=4)
    for sequence in Sequence:
        # The middles of four parts of 4..15 are 5, 8, 11, 14; 14 moves to the tumor's slice.
        assert [s.index for s in chosen if s.sequence == sequence] == [5, 8, 11, 13]
    again = comparison_slices(tmp_path, levels=4)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(chosen, again, strict=True))
    assert len(comparison_slices(tmp_path, levels=None)) == len(read_slices(tmp_path))


def test_comparison_slices_of_a_case_without_tumor_and_of_other_sources(tmp_path):
    add_case(tmp_path / "brats", tumor_at=None)
    assert [s.index for s in comparison_slices(tmp_path / "brats", levels=4)][:4] == [5, 8, 11, 14]
    write_mr_series(tmp_path / "knee", ramp((12, 8, 10)), axial_affine())
    assert [s.index for s in comparison_slices(tmp_path / "knee", levels=3)] == [1, 5, 8]


def test_the_parts_of_choosing_slices():
    assert spread([7, 8, 9], 5) == [7, 8, 9]
    assert spread(range(10), 1) == [5]
    assert moved([2, 5, 8], 6) == [2, 6, 8]
    item = ImageSlice(np.arange(7 * 10, dtype=np.float32).reshape(7, 10), "a", "T1", 0, (1.0, 1.0))
    np.testing.assert_array_equal(cropped(item, 4).image, item.image[1:5, 1:9])


def test_patches_repeat_hold_signal_and_fill_up(tmp_path):
    image = np.zeros((24, 40), np.float32)
    image[4:20, 10:30] = 0.5
    slices = [ImageSlice(image, "a", "T1", n, (1.0, 1.0)) for n in range(3)]
    first, again = (draw_hr_patches(slices, 12, 16, np.random.default_rng(2)) for _ in range(2))
    assert first.shape == (12, 1, 16, 16) and first.dtype == torch.float32
    torch.testing.assert_close(first, again)
    assert ((first > 0).float().mean(dim=(1, 2, 3)) > 0.25).sum() >= 10
    large = draw_hr_patches(slices, 2, 64, np.random.default_rng(2))
    assert large.shape == (2, 1, 64, 64)
    np.testing.assert_allclose(large.sum(dim=(1, 2, 3)), image.sum())


def test_a_real_case(shared_data, tmp_path):
    folder, name = shared_data / "brats", read_split()["test"][1]
    if not (folder / name).is_dir():
        pytest.skip(f"{name} is not on this machine")
    (tmp_path / name).symlink_to(folder / name)
    chosen = comparison_slices(tmp_path, cases=[name])
    assert len(chosen) == 4 * 5
    assert len({s.index for s in chosen}) == 5  # the same places in every sequence
    labels = nib.load(folder / name / f"{name}_seg.nii.gz").get_fdata()
    assert int((labels > 0).sum(axis=(0, 1)).argmax()) in {s.index for s in chosen}
    assert all((s.image > 0).mean() > 0.1 and s.image.max() < 2 for s in chosen)
