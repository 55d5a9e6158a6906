"""Slices for in-plane super-resolution from images of any format, and the fixed slices for comparing methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from acuity.anatomy import Sequence
from acuity.errors import DataError
from acuity.research.datasets import brats
from acuity.research.datasets.fastmri import read_scan
from acuity.research.datasets.folders import (
    ImageFormat,
    NamedVolume,
    case_name,
    fastmri_files,
    image_format,
    read_dicom,
    read_nifti,
)
from acuity.research.datasets.layouts import find_cases, named_cases

MINIMUM_SIGNAL = 0.1  # part of a slice's pixels above 0; emptier slices are left out
LEVELS = 5  # slices of each volume for comparing methods


@dataclass(frozen=True)
class ImageSlice:
    """A slice and its origin.

    Parameters
    ----------
    image : float32 (H, W), 0 to 1 and slightly above: the volume divided by the 99.9th percentile of its values above
        0. Only values below 0 are clipped. Rows and columns are those of DICOM (in an axial slice, from front to back
        and from the patient's right to left)
    case : the BraTS case, or the file or folder that it was read from
    sequence : T1, T1c, T2 or FLAIR; fastMRI's acquisition; the series' number; "" in NIfTI
    index : number of the slice in its volume or file, from 0
    spacing : size of a pixel along H and W in mm
    """

    image: NDArray[np.float32]
    case: str
    sequence: str
    index: int
    spacing: tuple[float, float]


def read_slices(folder: Path, *, cases: Seq[str] | None = None, scale: int = 4) -> list[ImageSlice]:
    """Read every slice of a folder in any of the formats of ``image_format``.

    BraTS cases give axial slices of all four sequences, cut to the brain's box. DICOM and NIfTI volumes are sliced
    across their coarsest axis. Slices with signal in less than MINIMUM_SIGNAL of their pixels are left out.

    Parameters
    ----------
    cases : names of the cases to read; None reads all
    scale : rows and columns are cropped, evenly at both ends, to multiples of it

    Raises
    ------
    DataError : a folder without images or with several formats, a case that is absent, a damaged file, values that are
        not finite, or no slice with signal
    """
    kind = image_format(folder)
    found = tqdm(_SOURCES[kind](folder, cases), desc=f"reading {kind}", mininterval=10)
    slices = [cropped(s, scale) for s in found if (s.image > 0).mean() >= MINIMUM_SIGNAL]
    absent = [case for case in cases or () if case not in {s.case for s in slices}]
    if absent or not slices:
        raise DataError(
            f"{folder} gives no slice of {', '.join(absent) or 'any case'}.",
            rule=f"A case is named as its file or folder is, and has signal in {MINIMUM_SIGNAL:.0%} of a slice.",
            remedy="Name cases that are there.",
        )
    return slices


def comparison_slices(
    folder: Path, *, cases: Seq[str] | None = None, scale: int = 4, levels: int | None = LEVELS
) -> list[ImageSlice]:
    """The slices for comparing methods; they are always the same.

    Each volume's slices (``read_slices``) are divided into ``levels`` equal parts, of which the middle slices are taken
    (``spread``); None takes all. In a labeled BraTS case, the slice with most tumor takes the place of the nearest.

    Raises
    ------
    DataError : as ``read_slices`` does
    """
    slices = read_slices(folder, cases=cases, scale=scale)
    if levels is None:
        return slices
    labeled = [case.name for case in find_cases(folder) if case.labels and (cases is None or case.name in cases)]
    tumor_areas = {case: _tumor_areas(folder / case) for case in labeled}
    chosen: list[ImageSlice] = []
    for (case, _), group in groupby(slices, key=lambda s: (s.case, s.sequence)):
        volume = list(group)
        indices = spread([s.index for s in volume], levels)
        if case in tumor_areas and tumor_areas[case].any():
            largest = max((s.index for s in volume), key=lambda index: tumor_areas[case][index])
            indices = moved(indices, largest)
        chosen += [s for s in volume if s.index in indices]
    return chosen


def spread(indices: Seq[int], count: int) -> list[int]:
    """The middles of ``count`` equal parts of ``indices``; all indices if there are no more than that."""
    if len(indices) <= count:
        return list(indices)
    return [indices[int((n + 0.5) * len(indices) / count)] for n in range(count)]


def moved(indices: Seq[int], target: int) -> list[int]:
    """``indices`` with the nearest to ``target`` replaced by it."""
    nearest = min(indices, key=lambda index: abs(index - target))
    return [target if index == nearest else index for index in indices]


def cropped(item: ImageSlice, scale: int) -> ImageSlice:
    """The middle of a slice, its rows and columns multiples of ``scale``."""
    size = tuple(n // scale * scale for n in item.image.shape)
    top, left = ((n - m) // 2 for n, m in zip(item.image.shape, size, strict=True))
    image = np.ascontiguousarray(item.image[top : top + size[0], left : left + size[1]])
    return replace(item, image=image)


def draw_hr_patches(slices: Seq[ImageSlice], count: int, size: int, rng: np.random.Generator) -> Tensor:
    """Square patches of slices, drawn at random, turned and mirrored: float32 (count, 1, size, size).

    Most hold signal in more than a quarter of their pixels. Slices smaller than ``size`` are padded with zeros.
    """
    patches: list[NDArray[np.float32]] = []
    while len(patches) < count:
        image = slices[int(rng.integers(len(slices)))].image
        rim = [(0, max(0, size - n)) for n in image.shape]
        image = np.pad(image, rim) if any(b for _, b in rim) else image
        i, j = (int(rng.integers(n - size + 1)) for n in image.shape)
        patch = image[i : i + size, j : j + size]
        if shows_enough(patch, rng):
            patches.append(turned(patch, rng))
    return torch.from_numpy(np.stack(patches)[:, None].copy())


def shows_enough(patch: NDArray[np.floating], rng: np.random.Generator) -> bool:
    """Whether to take a patch: if more than a quarter of it holds signal, else one time in ten."""
    return bool((patch > 0).mean() > 0.25 or rng.random() < 0.1)


def turned(patch: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A patch turned by a multiple of a right angle and mirrored at random."""
    rotated = np.rot90(patch, int(rng.integers(4)))
    return rotated[:, ::-1] if rng.random() < 0.5 else rotated


def _brats_slices(folder: Path, cases: Seq[str] | None) -> Iterator[ImageSlice]:
    for case in named_cases(folder):
        if cases is not None and case not in cases:
            continue
        images = brats.read_case(folder / case)
        box = brats.brain_box([images[s].array for s in Sequence])
        for sequence in Sequence:
            array = unit_scaled(images[sequence].array[box], case)
            rows, columns = float(images[sequence].spacing[1]), float(images[sequence].spacing[0])
            for k in range(array.shape[2]):
                yield ImageSlice(array[:, :, k].T, case, sequence.value, box[2].start + k, (rows, columns))


def _fastmri_slices(folder: Path, cases: Seq[str] | None) -> Iterator[ImageSlice]:
    for file in fastmri_files(folder):
        case = case_name(file, folder)
        if cases is not None and case not in cases:
            continue
        scan = read_scan(file)
        for n, image in enumerate(unit_scaled(scan.images, case)):
            yield ImageSlice(image, case, scan.acquisition, n, scan.spacing)


def _volume_slices(
    read: Callable[[Path], Iterator[NamedVolume]], folder: Path, cases: Seq[str] | None
) -> Iterator[ImageSlice]:
    for named in read(folder):
        if cases is not None and named.case not in cases:
            continue
        spacing = named.volume.spacing
        # Across the coarsest axis; of equal ones the last, along which DICOM stacks its slices.
        axis = 2 if spacing[2] >= 0.99 * spacing.max() else int(spacing.argmax())
        columns, rows = (float(spacing[a]) for a in range(3) if a != axis)
        stack = np.moveaxis(unit_scaled(named.volume.array, named.case), axis, 0)
        for n, plane in enumerate(stack):
            yield ImageSlice(plane.T, named.case, named.sequence, n, (rows, columns))


_SOURCES: Mapping[ImageFormat, Callable[[Path, Seq[str] | None], Iterator[ImageSlice]]] = {
    ImageFormat.BRATS: _brats_slices,
    ImageFormat.FASTMRI: _fastmri_slices,
    ImageFormat.DICOM: partial(_volume_slices, read_dicom),
    ImageFormat.NIFTI: partial(_volume_slices, read_nifti),
}


def unit_scaled(array: NDArray, case: str) -> NDArray[np.float32]:
    """Divide an image by the 99.9th percentile of its values above 0, so that a few bright vessels do not matter.

    Raises
    ------
    DataError : values that are not finite, or none above 0; the message names the ``case``
    """
    signal = array[array > 0]
    if not np.isfinite(array).all() or not signal.size:
        raise DataError(
            f"{case} holds an image that is not finite, or nowhere above 0.",
            rule="MR magnitudes are numbers, and at least 0.",
            remedy="Write the image again, or leave it out.",
        )
    return np.maximum(array / np.percentile(signal, 99.9), 0).astype(np.float32)


def _tumor_areas(case: Path) -> NDArray[np.int64]:
    """Voxels of tumor in each axial slice."""
    return (brats.read_labels(case).array > 0).sum(axis=(0, 1))
