"""The overview picture: nothing in it is flipped, and the legend is complete."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from acuity.anatomy import SEGMENTS, Sequence
from acuity.imaging.measurement import measure_regions
from acuity.imaging.overview import PLANES, draw_overview
from acuity.volume import Volume
from tests import dicom_builder

SIZE = 20
PANELS = {"Axial": (30, 8), "Coronal": (438, 8), "Sagittal": (846, 8)}  # top and left pixel of the first column


def head(order: tuple[int, ...], signs: tuple[int, ...]) -> tuple[Volume, Volume]:
    """A head with a bright spot to the patient's left, front and top, on a grid whose axes point anywhere.

    Grid axis n runs along patient axis order[n] (0 is x, to the left), forwards or backwards.
    """
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, order] * signs
    affine[:3, 3] = [-SIZE / 2 * np.sum(row) for row in affine[:3, :3]]
    x, y, z = np.moveaxis(np.moveaxis(np.indices((SIZE,) * 3), 0, -1) @ affine[:3, :3].T + affine[:3, 3], -1, 0)
    inside = (abs(x) < 9) & (abs(y) < 9) & (abs(z) < 9)
    spot = (abs(x - 4) < 2.6) & (abs(y + 4) < 2.6) & (abs(z - 4) < 2.6)
    array = np.where(spot, 1000.0, np.where(inside, 300.0, 0.0)).astype(np.float32)
    labels = np.where(spot, np.uint8(4), np.uint8(0)).astype(np.uint8)
    return Volume(array, affine, dicom_builder.FRAME_UID), Volume(labels, affine, dicom_builder.FRAME_UID)


def panel(picture: NDArray[np.uint8], plane: str, column: int) -> NDArray[np.uint8]:
    top, left = PANELS[plane]
    left += column * 408
    return picture[top : top + 400, left : left + 400]


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, -1), (-1, -1, 1)])
def test_the_patients_left_is_at_the_right_whatever_the_grid(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    image, labels = head(order, signs)
    picture = draw_overview(
        image, image, labels, sequence=Sequence.T1, measurements=measure_regions(labels), warning="", models=["model 1"]
    )
    # down is positive: the front or the head is up; the patient's left is at the right, the front at the left
    expected = {"Axial": (-1, 1), "Coronal": (-1, 1), "Sagittal": (-1, -1)}
    for plane, (down, right) in expected.items():
        for column in (0, 1):
            rows, columns = np.nonzero((panel(picture, plane, column) > 240).all(axis=-1))
            assert np.sign(rows.mean() - 200) == down, plane
            assert np.sign(columns.mean() - 200) == right, plane
    outlined = (panel(picture, "Axial", 2) == SEGMENTS[2].color).all(axis=-1)
    bright = (panel(picture, "Axial", 1) > 240).all(axis=-1)
    apart = np.argwhere(outlined).mean(axis=0) - np.argwhere(bright).mean(axis=0)
    assert np.abs(apart).max() < 5
    assert not (panel(picture, "Axial", 1) == SEGMENTS[2].color).all(axis=-1).any()


def test_letters_follow_the_affine() -> None:
    axial, coronal, sagittal = PLANES
    upright = dicom_builder.axial_affine()
    assert axial.letters(upright) == ("R", "L", "A", "P")
    assert coronal.letters(upright) == ("R", "L", "S", "I")
    assert sagittal.letters(upright) == ("A", "P", "S", "I")
    turned = upright.copy()
    turned[:3, :3] = -upright[:3, [1, 0, 2]]
    assert axial.letters(turned) == ("P", "A", "L", "R")
    assert axial.letters(dicom_builder.oblique_affine()) == ("R", "L", "A", "P")


def test_no_tumor_is_drawn_without_outlines() -> None:
    image, labels = head((0, 1, 2), (1, 1, 1))
    nothing = labels.with_array(np.zeros_like(labels.array))
    picture = draw_overview(
        image,
        image,
        nothing,
        sequence=Sequence.T2,
        measurements=measure_regions(nothing),
        warning="",
        models=["model 1"],
    )
    np.testing.assert_array_equal(panel(picture, "Axial", 1), panel(picture, "Axial", 2))


def test_the_legend_lists_the_segments_below_the_pictures_one_a_line() -> None:
    image, labels = head((0, 1, 2), (1, 1, 1))
    picture = draw_overview(
        image, image, labels, sequence=Sequence.T1, measurements=measure_regions(labels), warning="W", models=["M 1"]
    )
    rows = [np.argwhere((picture[1260:, :30] == spec.color).all(axis=-1))[:, 0] for spec in SEGMENTS]
    tops = [int(found.min()) for found in rows]
    assert tops == [tops[0], tops[0] + 22, tops[0] + 44]
    text = picture[1260 + tops[-1] + 22 :, :600].max(axis=(1, 2))  # the warning and the models
    assert (text[:22].max() > 200) and (text[22:].max() > 100)
