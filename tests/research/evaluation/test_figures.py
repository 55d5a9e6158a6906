"""What pictures share: which slices, which way up, and how bright."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from acuity.research.evaluation.figures import brain_part, bright_end, pixel_aspects, tumor_slices
from acuity.volume import RAS_LPS, Volume

SHAPE = (16, 20, 12)  # along the patient's left, back and head


def head(spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> tuple[Volume, Volume]:
    """A head with a bright spot on the patient's left, in front, high up; the tumor is there."""
    array = np.full(SHAPE, 10, np.float32)
    array[12:14, 3:5, 9:11] = 100
    labels = np.zeros(SHAPE, np.uint8)
    labels[12:14, 3, 9] = 1
    labels[12:15, 4, 10] = 4
    affine = np.diag([*spacing, 1.0])
    return Volume(array, affine), Volume(labels, affine)


def stored_as(volume: Volume, codes: str) -> Volume:
    """The same image along other axes, by nibabel."""
    image = nib.Nifti1Image(volume.array, RAS_LPS @ volume.affine)
    start = nib.io_orientation(image.affine)
    turned = image.as_reoriented(nib.orientations.ornt_transform(start, nib.orientations.axcodes2ornt(codes)))
    return Volume(np.asarray(turned.dataobj), RAS_LPS @ turned.affine)


@pytest.mark.parametrize("codes", ["LPS", "RAS", "SAL", "PIR"])
def test_the_patient_is_seen_as_radiologists_do(codes):
    """The judge is where the spot was put: left is at the right of the picture, the front and the head are up."""
    slices = tumor_slices(*(stored_as(volume, codes) for volume in head()))
    assert slices["Axial"].shape == (20, 16) and slices["Coronal"].shape == (12, 16)
    np.testing.assert_array_equal(np.argwhere(slices["Axial"] > 50), [[3, 12], [3, 13], [4, 12], [4, 13]])
    np.testing.assert_array_equal(np.argwhere(slices["Coronal"] > 50), [[1, 12], [1, 13], [2, 12], [2, 13]])


def test_slices_go_through_most_tumor():
    array = np.broadcast_to(np.arange(12, dtype=np.float32), SHAPE).copy()
    volume, labels = head()
    assert (tumor_slices(volume.with_array(array), labels)["Axial"] == 10).all()
    for unknown in (None, labels.with_array(np.zeros_like(labels.array))):
        assert (tumor_slices(volume.with_array(array), unknown)["Axial"] == 6).all()


def test_pixels_keep_their_shape():
    volume, _ = head((1.0, 2.0, 3.0))
    for codes in ("LPS", "SAL"):
        assert pixel_aspects(stored_as(volume, codes)) == pytest.approx({"Axial": 2.0, "Coronal": 3.0})


def test_the_brain_is_shown_with_a_margin_and_all_of_nothing():
    image = np.zeros((40, 30))
    image[10:20, 2:9] = 50
    assert image[brain_part(image)].shape == (18, 13) and brain_part(image)[1].start == 0
    assert image[brain_part(0 * image)].shape == (40, 30)
    assert (bright_end(image), bright_end(0 * image)) == (50, 1)
