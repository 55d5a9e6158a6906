"""Build stacks from slices: find the slices of each volume, and the place of its voxels.

Distances come from ImagePositionPatient projected on the slice normal. SliceThickness and SpacingBetweenSlices differ
from them in gapped, overlapping and reformatted series, and are not used.

Positions cannot show slices that are missing at either *end* of a stack. Only a declared number of images
(ImagesInAcquisition) or a DICOMDIR shows those. Without either, a shorter stack is read as it is.
"""

from __future__ import annotations

from collections import Counter
from math import prod

import numpy as np
from numpy.typing import NDArray

from acuity.dicom.reading.headers import number, quiet_value, read_value
from acuity.dicom.reading.separate import SeparatedVolume, separate
from acuity.dicom.reading.slices import Slice, rescale
from acuity.dicom.reading.study import Stack
from acuity.errors import (
    GantryTiltError,
    InconsistentHeadersError,
    MissingSliceError,
    MixedOrientationsError,
    TooFewSlicesError,
    UnsupportedSeriesError,
)
from acuity.volume import Grid

# Below three slices there are not two distances to compare, so that a lost slice would not show.
MIN_SLICES = 3
# Direction cosines are one text in all slices of a stack; 1e-4 moves a corner of a 250 mm field by 0.025 mm.
ORIENTATION_TOLERANCE = 1e-4
# Positions closer than this along the normal are one position: text rounding, not anatomy.
SAME_POSITION_MM = 0.01
# A distance may differ from the median by 1 % (highdicom's tolerance for regular spacing too), or by what
# positions written with two decimals amount to. A missing slice makes 100 %.
SPACING_RELATIVE_TOLERANCE, SPACING_TOLERANCE_MM = 0.01, 0.02
# No slice may lie further than this from its place on the regular grid, along the normal or across it: a fifth
# of the finest voxel that is written (1 mm).
PLACE_TOLERANCE_MM = 0.2
# In-plane spacing that differs by more is another pixel size; 1e-4 of a 250 mm field is 0.025 mm.
PIXEL_SPACING_RELATIVE_TOLERANCE = 1e-4
# Echo and inversion time are constant within a volume, but for the last digit of a nominal value.
TIMING_RELATIVE_TOLERANCE = 0.02
# What decides how the bits of a pixel are read.
PIXEL_KEYWORDS = ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PhotometricInterpretation")
# Of an image of a head, mm. Mouse scanners have finer voxels, and whole-body ones a larger field.
PLAUSIBLE_VOXEL_MM = (0.05, 20.0)
PLAUSIBLE_FIELD_MM = 600.0
# 0.4 mm in a whole head are 200 million; more would not fit into memory.
MAX_VOXELS = 1 << 28
# Slopes per slice follow the brightest pixel of each; in a head they differ by less than this.
_SLOPE_RATIO = 4
# Normals within 8 degrees are one orientation; of a stack at most one slice in eight is there for reference.
_SAME_PLANE, _REFERENCES_ONE_IN = 0.99, 8


def build_stacks(slices: list[Slice]) -> tuple[list[Stack], list[str]]:
    """The volumes that the slices of one series make, and warnings about them.

    Raises
    ------
    MixedOrientationsError, DuplicatePositionsError, MissingSliceError, TooFewSlicesError, GantryTiltError,
    InconsistentHeadersError, UnsupportedSeriesError : as each class says
    """
    declared = len(slices)
    slices, notes = _without_references(slices)
    _check_one_orientation(slices)
    normal = np.cross(slices[0].row, slices[0].column)
    normal /= np.linalg.norm(normal)
    places, count = cluster(np.array([s.position @ normal for s in slices]))
    parts = separate(slices, places)
    _check_declared_count(slices, count, found=declared)
    stacks = [_stack(part, normal) for part in parts]
    return stacks, [*notes, *_spacing_warnings(stacks), *_rescale_warnings(slices)]


def cluster(heights: NDArray[np.float64]) -> tuple[list[int], int]:
    """Number positions along the normal: for each slice the rank of its position, and how many there are."""
    order = np.argsort(heights, kind="stable")
    ranks = np.concatenate([[0], np.cumsum(np.diff(heights[order]) > SAME_POSITION_MM)])
    places = np.empty(len(heights), dtype=int)
    places[order] = ranks
    return places.tolist(), int(ranks[-1]) + 1


def _check_one_orientation(slices: list[Slice]) -> None:
    first = slices[0]
    kinds = Counter(
        tuple(np.round(np.concatenate([s.row, s.column]), 2))
        for s in slices
        if max(np.abs(s.row - first.row).max(), np.abs(s.column - first.column).max()) > ORIENTATION_TOLERANCE
    )
    if kinds:
        raise MixedOrientationsError(
            f"{sum(kinds.values())} of {len(slices)} slices are oriented otherwise than the first "
            f"({len(kinds) + 1} orientations).",
            rule="All slices of a volume share one ImageOrientationPatient.",
            remedy="Localizers are so by design; otherwise export the series again, one orientation a series.",
        )


def _without_references(slices: list[Slice]) -> tuple[list[Slice], list[str]]:
    """Leave out single slices of another orientation that some scanners add to a stack for reference, and say so.

    Such a slice lies across the stack. One that takes a place of the stack, or the next one beyond its ends, has a
    corrupt orientation: it stays, and is refused.
    """
    kinds: list[list[Slice]] = []
    for s in slices:
        same = (kind for kind in kinds if abs(_normal(kind[0]) @ _normal(s)) > _SAME_PLANE)
        (kind := next(same, [])).append(s)
        if len(kind) == 1:
            kinds.append(kind)
    main = max(kinds, key=len)
    others = [s for s in slices if not any(s is member for member in main)]
    if len(main) < MIN_SLICES or not others or len(others) * _REFERENCES_ONE_IN > len(slices):
        return slices, []
    heights = np.sort([s.position @ _normal(main[0]) for s in main])
    gap = float(np.median(np.diff(heights)))
    for s in others:
        nearest = min(main, key=lambda member: float(np.linalg.norm(member.position - s.position)))
        offset = s.position - nearest.position
        along = float(offset @ _normal(main[0]))
        if np.linalg.norm(offset - along * _normal(main[0])) <= PLACE_TOLERANCE_MM and abs(along) < 1.5 * gap:
            return slices, []
    return main, [f"{len(others)} image{'s' if len(others) > 1 else ''} of another orientation is left out."]


def _normal(s: Slice) -> NDArray[np.float64]:
    return np.cross(s.row, s.column)


def _check_declared_count(slices: list[Slice], positions: int, found: int) -> None:
    """Refuse a classic series that has fewer images than it declares, unless whole volumes are absent.

    A multi-echo export may keep two echoes of eight; then the number declared is a multiple of the positions.
    Derived images copy the number of their source, so only ORIGINAL ones are believed.
    """
    declared = number(slices[0].dataset, "ImagesInAcquisition") if slices[0].frame is None else None
    original = str(slices[0].traits.get("ImageType", "")).startswith("ORIGINAL")
    if declared and original and int(declared) > found and int(declared) % positions:
        raise MissingSliceError(
            f"{found} images at {positions} positions were found, and ImagesInAcquisition is {int(declared)}.",
            rule="A series must be complete.",
            remedy="Send the series again from the archive.",
        )


def _stack(part: SeparatedVolume, normal: NDArray[np.float64]) -> Stack:
    slices = sorted(part.slices, key=lambda s: float(s.position @ normal))
    if len(slices) < MIN_SLICES:
        raise TooFewSlicesError(
            f"Only {len(slices)} slice{'s' if len(slices) > 1 else ''}.",
            rule=f"A volume needs at least {MIN_SLICES}, or its slice distance cannot be checked.",
            remedy="Send the whole series.",
        )
    _check_alike(slices)
    spacing = _check_places(slices, normal)
    first = slices[0]
    _check_plausible((*first.spacing, spacing), (*first.size, len(slices)))
    affine = np.eye(4)
    affine[:3, 0] = first.row * first.spacing[0]
    affine[:3, 1] = np.cross(normal, first.row) * first.spacing[1]  # column, exactly perpendicular
    affine[:3, 2] = normal * spacing
    affine[:3, 3] = first.position
    datasets = tuple(s.dataset for s in slices)
    frames = None
    if first.frame is not None:
        if any(ds is not datasets[0] for ds in datasets):
            raise UnsupportedSeriesError("The frames of one volume are spread over several multi-frame files.")
        frames, datasets = tuple(int(s.frame or 0) for s in slices), datasets[:1]
    return Stack(
        grid=Grid((*first.size, len(slices)), affine),
        datasets=datasets,
        frames=frames,
        frame_of_reference_uid=_frame_of_reference(first),
        attributes=part.attributes,
    )


def _check_plausible(spacing: tuple[float, float, float], shape: tuple[int, int, int]) -> None:
    """Refuse voxels and fields of view that no image of a head has."""
    field = np.multiply(spacing, shape)
    least, most = PLAUSIBLE_VOXEL_MM
    if min(spacing) < least or max(spacing) > most or max(field) > PLAUSIBLE_FIELD_MM:
        raise InconsistentHeadersError(
            f"Voxels of {spacing[0]:.4g} x {spacing[1]:.4g} x {spacing[2]:.4g} mm make a field of view of "
            f"{field[0]:.4g} x {field[1]:.4g} x {field[2]:.4g} mm.",
            rule=f"Voxels are {least:g} to {most:g} mm, and a field of view is at most {PLAUSIBLE_FIELD_MM:g} mm.",
            remedy="A header is corrupt, or this is no image of a head: export the series again.",
        )
    if prod(shape) > MAX_VOXELS:
        raise InconsistentHeadersError(
            f"A volume of {' x '.join(map(str, shape))} voxels.",
            rule=f"It has at most {MAX_VOXELS >> 20} million.",
            remedy="A header is corrupt, or this is no image of a head: export the series again.",
        )


def _frame_of_reference(s: Slice) -> str | None:
    value = read_value(s.dataset, "FrameOfReferenceUID")
    return None if value is None else str(value)


def _check_alike(slices: list[Slice]) -> None:
    """Refuse slices of one volume that differ in size, spacing, frame of reference or timing."""
    first = slices[0]
    stored = [quiet_value(first.dataset, keyword) for keyword in PIXEL_KEYWORDS]
    for other in slices[1:]:
        for keyword, value in zip(PIXEL_KEYWORDS, stored, strict=True):
            if (own := quiet_value(other.dataset, keyword)) != value:
                _refuse_difference(keyword, f"{value} and {own}", other)
        if other.size != first.size:
            _refuse_difference("Rows and Columns", f"{first.size[::-1]} and {other.size[::-1]}", other)
        if not np.allclose(other.spacing, first.spacing, rtol=PIXEL_SPACING_RELATIVE_TOLERANCE, atol=0):
            _refuse_difference("PixelSpacing", f"{first.spacing[::-1]} and {other.spacing[::-1]} mm", other)
        if _frame_of_reference(other) != _frame_of_reference(first):
            _refuse_difference("FrameOfReferenceUID", "two values", other)
        for keyword in ("EchoTime", "InversionTime", "DiffusionBValue"):
            one, two = first.traits.get(keyword), other.traits.get(keyword)
            if one != two and (
                one is None or two is None or abs(one - two) > TIMING_RELATIVE_TOLERANCE * max(abs(one), abs(two))
            ):
                _refuse_difference(keyword, f"{one} and {two}", other)


def _refuse_difference(keyword: str, values: str, where: Slice) -> None:
    raise InconsistentHeadersError(
        f"{keyword} differs between slices of one volume: {values} ({where.number}).",
        rule=f"{keyword} must be the same in all slices of a volume.",
        remedy="A header is corrupt, or two acquisitions share a series: export the series again.",
    )


def _check_places(slices: list[Slice], normal: NDArray[np.float64]) -> float:
    """The distance in mm between the sorted slices. Refuses slices that lie on no regular, upright grid."""
    positions = np.stack([s.position for s in slices])
    heights = (positions - positions[0]) @ normal
    gaps = np.diff(heights)
    median = float(np.median(gaps))
    spacing = float(heights[-1] / (len(slices) - 1))
    rounding = _rounding(positions, normal)
    uneven = np.abs(gaps - median) > max(SPACING_RELATIVE_TOLERANCE * median, SPACING_TOLERANCE_MM, rounding)
    along = np.abs(heights - spacing * np.arange(len(slices)))
    if uneven.any() or along.max() > PLACE_TOLERANCE_MM:
        worst = int(np.argmax(np.abs(gaps - median)))
        raise MissingSliceError(
            f"Neighboring slices are {median:.4g} mm apart, but {gaps[worst]:.4g} mm between "
            f"{slices[worst].number} and {slices[worst + 1].number}.",
            rule="The distances within a volume must be equal (1 %); a larger one means missing slices.",
            remedy="Send the series again from the archive.",
        )
    across = positions - positions[0] - np.outer(heights, normal)
    _check_upright(across, spacing)
    return spacing


def _rounding(positions: NDArray[np.float64], normal: NDArray[np.float64]) -> float:
    """By how much rounding alone can change the distance of two slices in mm, where positions have one decimal."""
    if not np.allclose(positions, positions.round(1), rtol=0, atol=1e-6):
        return 0.0
    return 0.1 * float(np.abs(normal).sum())  # two positions, each half of the last digit off on each axis


def _check_upright(across: NDArray[np.float64], spacing: float) -> None:
    """Refuse slices that are shifted within their planes, steadily (a tilt) or not (a corrupt position)."""
    shift = float(np.linalg.norm(across, axis=1).max())
    if shift <= PLACE_TOLERANCE_MM:
        return
    steps = np.arange(len(across))
    slope = (steps @ across) / (steps @ steps)
    if np.linalg.norm(across - np.outer(steps, slope), axis=1).max() <= PLACE_TOLERANCE_MM:
        angle = np.degrees(np.arctan2(np.linalg.norm(slope), spacing))
        raise GantryTiltError(
            f"Slice positions drift sideways by {np.linalg.norm(slope):.4g} mm a slice, {angle:.3g} degrees "
            "from the slice normal.",
            rule=f"Slices must be stacked along their normal, within {PLACE_TOLERANCE_MM} mm.",
            remedy="Reformat the series to an upright stack.",
        )
    raise InconsistentHeadersError(
        f"A slice lies {shift:.4g} mm beside the others.",
        rule=f"Slices must be stacked along their normal, within {PLACE_TOLERANCE_MM} mm.",
        remedy="A position is corrupt: export the series again.",
    )


def _rescale_warnings(slices: list[Slice]) -> list[str]:
    """Warn where slopes differ by so much that one of them may be corrupt."""
    slopes = [abs(scale[0]) for s in slices if (scale := rescale(s.dataset, s.frame)) is not None]
    if not slopes or max(slopes) <= _SLOPE_RATIO * min(slopes):
        return []
    return [f"RescaleSlope differs between slices, from {min(slopes):.4g} to {max(slopes):.4g}; each is used."]


def _spacing_warnings(stacks: list[Stack]) -> list[str]:
    """Warn where SpacingBetweenSlices contradicts the positions; the positions are used."""
    try:
        declared = number(stacks[0].datasets[0], "SpacingBetweenSlices") or 0.0
    except InconsistentHeadersError:
        return []
    measured = float(stacks[0].grid.spacing[2])
    tolerance = max(SPACING_RELATIVE_TOLERANCE * measured, SPACING_TOLERANCE_MM)
    if declared == 0 or abs(abs(declared) - measured) <= tolerance:
        return []
    return [f"SpacingBetweenSlices is {declared:g} mm, but the slices lie {measured:.4g} mm apart, which is used."]
