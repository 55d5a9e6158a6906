"""The overview picture: original and super-resolved images side by side, outlines of the tumor, volumes."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage.measure import find_contours

from acuity.anatomy import REGION_NAMES, Region, SegmentSpec, Sequence, labels_to_regions
from acuity.assessment import WHOLE, Assessment
from acuity.imaging.measurement import RegionMeasurement
from acuity.imaging.regions import mask_box
from acuity.volume import Volume, sitk_affine

_PANEL = 400  # pixels, width and height of a large panel
_STRIP = 6  # small axial slices below
_GAP = 8
_WIDTH = 3 * _PANEL + 4 * _GAP
_TEXT = (230, 230, 230)
_DIM = (150, 150, 150)
_WARNING = (255, 170, 60)
_LINE = 22  # pixels between lines of text
_MARGIN = 4  # voxels around the head
_LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))  # at the low and high ends of LPS x, y, z


@dataclass(frozen=True)
class Plane:
    """One of the three anatomical views of a volume in LPS order.

    Parameters
    ----------
    name : "Axial", "Coronal" or "Sagittal"
    axis : the volume's axis that is cut
    columns, rows : the axes that run along the picture's columns (to the right) and rows (down)
    upside_down : whether rows run from high to low, so that the head is up
    """

    name: str
    axis: int
    columns: int
    rows: int
    upside_down: bool

    def cut(self, array: NDArray, index: int) -> NDArray:
        """The slice at ``index`` as (rows, columns), as a radiologist looks at it."""
        picture = np.take(array, index, axis=self.axis)
        picture = picture.T if self.columns < self.rows else picture
        return picture[::-1] if self.upside_down else picture

    def letters(self, affine: NDArray[np.float64]) -> tuple[str, str, str, str]:
        """The anatomical directions at the left, right, top and bottom of the picture."""
        left, right = _ends(affine[:3, self.columns])
        top, bottom = _ends(affine[:3, self.rows])
        return (left, right, bottom, top) if self.upside_down else (left, right, top, bottom)


PLANES = (
    Plane("Axial", axis=2, columns=0, rows=1, upside_down=False),
    Plane("Coronal", axis=1, columns=0, rows=2, upside_down=True),
    Plane("Sagittal", axis=0, columns=1, rows=2, upside_down=True),
)


def draw_overview(
    original: Volume,
    super_resolved: Volume,
    labels: Volume,
    *,
    sequence: Sequence,
    measurements: Items[RegionMeasurement],
    warning: str,
    models: Items[str],
    assessment: Assessment = WHOLE,
    unassessed: Volume | None = None,
) -> NDArray[np.uint8]:
    """Draw the overview.

    All volumes are turned to the nearest patient axes by their affines, never resampled off the
    super-resolved grid, and shown in radiological convention: the patient's right at the left. The
    original is sampled at the nearest voxel, so that its voxels are seen as they are. The views go
    through the largest section of the tumor core, else of the whole tumor, else the middle.

    Parameters
    ----------
    original : the measured image, on any grid
    super_resolved : the derived image
    labels : uint8 of 0, 1, 2 and 4 on the grid of ``super_resolved``
    sequence : what both images show
    measurements : of the regions, for the legend
    warning : what the picture must not be used for, below the legend
    models : names and versions, in the last line
    assessment : what the images could tell; the legend says what they could not
    unassessed : where no tumor was sought in the brain, uint8 on the grid of ``labels``; hatched. None for nowhere

    Returns
    -------
    (rows, columns, 3) uint8, sRGB
    """
    fine = super_resolved.to_sitk()
    coarse = sitk.Resample(original.to_sitk(), fine, sitk.Transform(), sitk.sitkNearestNeighbor)
    hatched = labels.with_array(np.zeros_like(labels.array)) if unassessed is None else unassessed
    images = (coarse, fine, labels.to_sitk(), hatched.to_sitk())
    views = _Views(*(sitk.DICOMOrient(image, "LPS") for image in images), segments=assessment.segments)
    limits = assessment.limits()
    legend_height = _LINE * (3 + max(len(assessment.segments), len(measurements)) + len(limits))
    strip = (_WIDTH - (_STRIP + 1) * _GAP) // _STRIP
    height = 2 * _LINE + 3 * (_PANEL + _GAP) + strip + _GAP + legend_height
    canvas = Image.new("RGB", (_WIDTH, height))
    draw = ImageDraw.Draw(canvas)
    titles = (f"{sequence.value}, original", f"{sequence.value}, super-resolved by AI", "with tumor outlined by AI")
    for column, title in enumerate(titles):
        _write(draw, (_GAP + column * (_PANEL + _GAP), 4), title)
    top = _LINE + _GAP
    for plane in PLANES:
        index = views.largest_section(plane.axis)
        for column in range(3):
            picture = views.picture(plane, index, _PANEL, original=column == 0, outlined=column == 2)
            canvas.paste(picture, (_GAP + column * (_PANEL + _GAP), top))
        top += _PANEL + _GAP
    for column, index in enumerate(views.spread(_STRIP)):
        picture = views.picture(PLANES[0], index, strip, original=False, outlined=True)
        canvas.paste(picture, (_GAP + column * (strip + _GAP), top))
    below = _draw_legend(draw, top + strip + _GAP, labels, measurements, assessment)
    for text in limits:
        _write(draw, (_GAP, below), text, _WARNING)
        below += _LINE
    _write(draw, (_GAP, below), warning, _WARNING)
    _write(draw, (_GAP, below + _LINE), ", ".join(models), _DIM)
    return np.asarray(canvas)


class _Views:
    """Original, super-resolved, label and hatching images on one grid in LPS order, and pictures of them."""

    def __init__(
        self,
        coarse: sitk.Image,
        fine: sitk.Image,
        labels: sitk.Image,
        hatched: sitk.Image,
        *,
        segments: Items[SegmentSpec],
    ) -> None:
        arrays = [sitk.GetArrayFromImage(image).T for image in (coarse, fine, labels, hatched)]
        self.segments = segments
        self.spacing = fine.GetSpacing()
        self.affine = sitk_affine(fine)
        shown = arrays[1][arrays[1] > arrays[1].min()]
        self.window = np.percentile(shown, (1, 99)) if shown.size else np.array([0.0, 1.0])
        box = _box_around((arrays[1] > self.window.mean() / 5) | (arrays[2] > 0))
        self.coarse, self.fine, self.labels, self.hatched = (array[box] for array in arrays)

    def largest_section(self, axis: int) -> int:
        """Where the tumor core's section is largest, or else the whole tumor's; the middle if there is none."""
        others = tuple(a for a in range(3) if a != axis)
        _, core, whole = labels_to_regions(self.labels)
        areas = (core if core.any() else whole).sum(axis=others)
        return int(areas.argmax()) if areas.any() else self.labels.shape[axis] // 2

    def spread(self, count: int) -> list[int]:
        """Axial slices from the foot end of the tumor (or of the middle half) to its head end."""
        found = np.flatnonzero((self.labels > 0).any(axis=(0, 1)))
        size = self.labels.shape[2]
        first, last = (found[0], found[-1]) if found.size else (size // 4, 3 * size // 4)
        return [int(round(x)) for x in np.linspace(first, last, count + 2)[1:-1]]

    def picture(self, plane: Plane, index: int, size: int, *, original: bool, outlined: bool) -> Image.Image:
        """One view, ``size`` pixels square, with the letters of its directions."""
        low, high = self.window
        values = plane.cut(self.coarse if original else self.fine, index)
        gray = (255 * np.clip((values - low) / max(high - low, 1e-12), 0, 1)).astype(np.uint8)
        across, down = self.spacing[plane.columns], self.spacing[plane.rows]
        pixels = size / max(n * s for n, s in zip(self.fine.shape, self.spacing, strict=True))  # for each mm
        shape = (max(1, round(gray.shape[1] * across * pixels)), max(1, round(gray.shape[0] * down * pixels)))
        panel = Image.new("RGB", (size, size))
        corner = ((size - shape[0]) // 2, (size - shape[1]) // 2)
        panel.paste(Image.fromarray(gray).resize(shape, Image.Resampling.NEAREST).convert("RGB"), corner)
        draw = ImageDraw.Draw(panel)
        if outlined:
            scale = np.array(shape) / np.array(gray.shape[::-1])
            _hatch(panel, plane.cut(self.hatched, index), shape, corner)
            labels = plane.cut(self.labels, index)
            _draw_outlines(draw, labels, self.segments, scale, corner, width=2 if size == _PANEL else 1)
        _draw_letters(draw, plane.letters(self.affine), size)
        if size == _PANEL:
            _write(draw, (4, size - _LINE), plane.name, _DIM)
        return panel


def _box_around(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The part of the array that holds the mask, ``_MARGIN`` voxels wider on all sides; all of it if empty."""
    box = mask_box(mask) or tuple(slice(0, n) for n in mask.shape)
    return tuple(slice(max(0, s.start - _MARGIN), s.stop + _MARGIN) for s in box)


def _hatch(panel: Image.Image, mask: NDArray, shape: tuple[int, int], corner: tuple[int, int]) -> None:
    """Draw diagonal lines over a mask of (rows, columns) that is ``shape`` pixels wide and high in the panel."""
    if not mask.any():
        return
    large = np.asarray(Image.fromarray((255 * (mask > 0)).astype(np.uint8)).resize(shape, Image.Resampling.NEAREST))
    rows, columns = np.indices(large.shape)
    lines = np.where((large > 0) & ((rows + columns) % 8 < 2), 255, 0).astype(np.uint8)
    panel.paste(_WARNING, (corner[0], corner[1]), Image.fromarray(lines))


def _draw_outlines(
    draw: ImageDraw.ImageDraw,
    labels: NDArray,
    segments: Items[SegmentSpec],
    scale: NDArray[np.float64],
    corner: tuple[int, int],
    width: int,
) -> None:
    """Outline each label of (rows, columns); ``scale`` is pixels for each column and row."""
    for spec in segments:
        mask = np.pad(labels == spec.label, 1).astype(np.float64)  # so that outlines close at the border
        for contour in find_contours(mask, 0.5):
            points = (contour[:, ::-1] - 1 + 0.5) * scale + corner  # from voxel centers to pixel edges
            draw.line([(float(x), float(y)) for x, y in points], fill=spec.color, width=width)


def _draw_letters(draw: ImageDraw.ImageDraw, letters: tuple[str, str, str, str], size: int) -> None:
    middle = size // 2
    places = (((4, middle), "lm"), ((size - 4, middle), "rm"), ((middle, 2), "mt"), ((middle, size - 2), "mb"))
    for letter, (position, anchor) in zip(letters, places, strict=True):
        draw.text(position, letter, fill=_DIM, font=_font(), anchor=anchor)


def _draw_legend(
    draw: ImageDraw.ImageDraw,
    top: int,
    labels: Volume,
    measurements: Items[RegionMeasurement],
    assessment: Assessment,
) -> int:
    """Write the volumes from ``top`` on; return where the next line goes."""
    whole = not assessment.why_not_measured(Region.WT)
    for row, spec in enumerate(assessment.segments):
        volume = float((labels.array == spec.label).sum()) * labels.grid.voxel_volume
        size = f"{volume:.1f} ml" if whole else "volume not assessable"
        y = top + row * _LINE
        draw.rectangle((_GAP, y + 3, _GAP + 14, y + 15), outline=spec.color, width=3)
        _write(draw, (_GAP + 24, y), f"{spec.name}: {size}")
    for row, found in enumerate(measurements):
        size = "" if found.longest_diameter_mm is None else f", longest diameter {found.longest_diameter_mm:.0f} mm"
        volume_text = "not assessable" if found.volume_ml is None else f"{found.volume_ml:.1f} ml{size}"
        text = f"{REGION_NAMES[found.region]} ({found.region.value}): {volume_text}"
        _write(draw, (_WIDTH // 2, top + row * _LINE), text)
    below = top + _LINE * max(len(assessment.segments), len(measurements)) + _LINE // 2
    if not labels.array.any():
        text = "No tumor found." if whole else "No tumor found in the part of the brain that was assessed."
        _write(draw, (_WIDTH // 2, below), text)
    return below


def _write(
    draw: ImageDraw.ImageDraw, position: tuple[float, float], text: str, color: tuple[int, int, int] = _TEXT
) -> None:
    draw.text(position, text, fill=color, font=_font())


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=16)  # comes with Pillow: the same on every machine


def _ends(direction: NDArray[np.float64]) -> tuple[str, str]:
    """The letters at the low and the high end of an axis that runs along ``direction`` (LPS)."""
    axis = int(np.abs(direction).argmax())
    low, high = _LETTERS[axis]
    return (low, high) if direction[axis] > 0 else (high, low)
