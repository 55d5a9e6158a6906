"""Which slices, and which part of them, the figures of a comparison show."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from acuity.anatomy import Sequence
from acuity.research.datasets import brats
from acuity.research.datasets.slice_sets import ImageSlice, cropped

CROP = 64  # pixels along each side of what is shown enlarged
MOST_VIEWS = 4
DETAIL_SIGMA = 2.0  # pixels; what this blur removes is detail
STRONG_DETAIL = 0.05  # of the intensity range


@dataclass(frozen=True)
class View:
    """A slice, and what of it is enlarged.

    Parameters
    ----------
    item : the slice
    box : rows and columns
    """

    item: ImageSlice
    box: tuple[slice, slice]


def chosen_views(folder: Path, slices: Seq[ImageSlice], scale: int) -> list[View]:
    """A view of each sequence, MOST_VIEWS at most, each of another case if there are as many.

    Of a BraTS case the slice with most tumor, enlarged at the tumor's middle; of any other volume the middle slice,
    enlarged where it has most detail.

    Parameters
    ----------
    folder : what ``slices`` were read from by ``comparison_slices``, at this ``scale``
    """
    cases = list(dict.fromkeys(item.case for item in slices))
    views = []
    for n, sequence in enumerate(list(dict.fromkeys(item.sequence for item in slices))[:MOST_VIEWS]):
        turned = cases[n % len(cases) :] + cases[: n % len(cases)]
        case = next(case for case in turned if any((s.case, s.sequence) == (case, sequence) for s in slices))
        volume = [item for item in slices if (item.case, item.sequence) == (case, sequence)]
        item, center = volume[len(volume) // 2], None
        if brats_case(folder / case):
            masks = tumor_masks(folder / case, volume, scale)
            largest = max(range(len(volume)), key=lambda k: int(masks[k].sum()))
            if masks[largest].any():
                item = volume[largest]
                row, column = (int(round(float(c.mean()))) for c in np.nonzero(masks[largest]))
                center = (row, column)
        views.append(View(item, box_around(center or detail_center(item.image), item.image.shape)))
    return views


def brats_case(case: Path) -> bool:
    """Whether a folder is a BraTS case with labels."""
    return brats.is_labeled(case)


def tumor_masks(case: Path, slices: Seq[ImageSlice], scale: int) -> list[NDArray[np.bool_]]:
    """The tumor (any label) in slices of a BraTS case, on their pixels."""
    images = brats.read_case(case)
    rows, columns, levels = brats.brain_box([images[s].array for s in Sequence])
    labels = brats.read_labels(case).array[rows, columns, levels]
    masks = []
    for item in slices:
        whole = replace(item, image=labels[:, :, item.index - levels.start].T.astype(np.float32))
        masks.append(cropped(whole, scale).image > 0)
    return masks


def detail_center(image: NDArray[np.float32]) -> tuple[int, int]:
    """The middle of the square of CROP pixels with most fine detail; the skin's edge, being strong, counts no more."""
    wide = image.astype(np.float64)
    detail = np.minimum(np.abs(wide - ndimage.gaussian_filter(wide, DETAIL_SIGMA)), STRONG_DETAIL)
    energy = ndimage.uniform_filter(detail, CROP, mode="constant")
    row, column = np.unravel_index(int(energy.argmax()), image.shape)
    return int(row), int(column)


def box_around(center: tuple[int, int], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """A square of CROP pixels, or as many as there are, moved into the image."""
    sizes = [min(CROP, n) for n in shape]
    starts = [min(max(c - size // 2, 0), n - size) for c, size, n in zip(center, sizes, shape, strict=True)]
    rows, columns = (slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
    return rows, columns
