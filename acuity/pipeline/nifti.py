"""A run from NIfTI to NIfTI: its own ways in and out; the stages between are those of DICOM.

The outputs are ``series/<sequence>.nii.gz``, ``seg/segmentation_sr.nii.gz``, ``seg/segmentation_source.nii.gz`` (on
the grid of T1c as it was given) and ``overview/overview.png``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from PIL import Image
from pydicom.uid import generate_uid

from acuity.anatomy import SEGMENTS, Sequence
from acuity.assessment import Assessment, assess, reference_of, with_offer
from acuity.dicom.writing.model_info import NOT_FOR_PRIMARY_DIAGNOSIS
from acuity.errors import (
    GantryTiltError,
    InputNotFoundError,
    MissingSequenceError,
    NoGeometryError,
    UnreadablePixelsError,
    UnsupportedSeriesError,
)
from acuity.imaging.intensity import bright_end
from acuity.imaging.measurement import measure_regions
from acuity.imaging.overview import draw_overview
from acuity.models.progress import share
from acuity.models.super_resolution import super_resolve
from acuity.pipeline.graph import SEGMENT, SUPER_RESOLVE, Performer, Stage
from acuity.pipeline.nifti_files import is_dicom, named_images
from acuity.pipeline.options import Only
from acuity.pipeline.preparation import Prepared, prepare_volumes
from acuity.pipeline.stages import (
    Models,
    Segmented,
    SuperResolved,
    as_measured,
    fine_spacing,
    model_info,
    shown_parts,
)
from acuity.pipeline.writing import WrittenReport
from acuity.resources import file_sha256
from acuity.volume import RAS_LPS, Volume

_MAX_NEGATIVE = 0.01  # share of voxels; interpolation leaves a few below zero, z-scores leave half


@dataclass(frozen=True)
class Images:
    """The images of one case as they were given: float32, each on its own grid, and the hashes of their files."""

    volumes: Mapping[Sequence, Volume]
    hashes: Mapping[Sequence, str]

    def describe(self) -> dict[str, Any]:
        """The ``inputs`` section of ``result.json``: no names, which may be a patient's."""
        return {
            "inputs": {
                "nifti": {
                    sequence.value: {
                        "sha256": self.hashes[sequence],
                        "shape": list(volume.shape),
                        "spacing_mm": [round(float(s), 4) for s in volume.spacing],
                    }
                    for sequence, volume in self.volumes.items()
                }
            }
        }

    def summary(self) -> str:
        """One line for people."""
        return ", ".join(f"{s.value} {' x '.join(map(str, v.shape))}" for s, v in self.volumes.items())


class AsMeasured(SuperResolved):
    """The images on the grid of the reference as it was given; ``model`` segments: no network made the images."""

    def describe(self) -> dict[str, Any]:
        """Nothing: there is no super-resolution."""
        return {}

    def summary(self) -> str:
        """One line for people."""
        return f"on the grid of {self.reference.value}"


class Sharpened(SuperResolved):
    """Images that each lie on a fine grid of their own; ``brain`` and ``source`` are those of the first image."""

    def describe(self) -> dict[str, Any]:
        """The ``super_resolution`` section of ``result.json``."""
        return {
            "super_resolution": {
                "denoising": self.denoising,
                "fusion": self.fusion,
                "images": {
                    sequence.value: {
                        "shape": list(volume.shape),
                        "spacing_mm": [round(float(s), 4) for s in volume.spacing],
                        "blur": dict(self.blurs[sequence]),
                        "data_consistency_residual": {
                            "before": round(self.residuals[sequence][0], 5),
                            "after": round(self.residuals[sequence][1], 5),
                        },
                    }
                    for sequence, volume in self.volumes.items()
                },
            }
        }


@dataclass(frozen=True)
class Written:
    """Files, told as one line."""

    line: str

    def summary(self) -> str:
        """One line for people."""
        return self.line


def read_image(path: Path) -> Volume:
    """Read one image: float32 magnitudes and an affine in LPS.

    Raises
    ------
    InputNotFoundError : there is no file
    UnreadablePixelsError : it cannot be read, or holds a number that is not finite
    UnsupportedSeriesError : it is DICOM, has not three axes, or holds no magnitudes
    NoGeometryError, GantryTiltError : the header does not say where the voxels lie, or they are sheared
    """
    if not path.exists():
        raise InputNotFoundError("A NIfTI file does not exist.", remedy="Check --t1, --t1c, --t2 and --flair.")
    if path.is_dir() or is_dicom(path):
        raise UnsupportedSeriesError(
            "A folder or a DICOM file is given where a NIfTI file is expected.",
            rule="--t1, --t1c, --t2 and --flair name one NIfTI file each.",
            remedy="Give a DICOM study as INPUT: `acuity run STUDY -o OUT`.",
        )
    try:
        image = nib.load(path)
        array = np.asarray(image.dataobj, dtype=np.float32)
    except (ImageFileError, OSError, EOFError, ValueError) as error:
        raise UnreadablePixelsError(
            f"A NIfTI file cannot be read ({type(error).__name__}).", remedy="Export it again."
        ) from error
    array = array.reshape(array.shape[:3]) if array.shape[3:] and set(array.shape[3:]) == {1} else array
    affine = _checked_affine(image)
    if array.ndim != 3:
        raise UnsupportedSeriesError(
            f"An image has the shape {' x '.join(map(str, array.shape))}.",
            rule="An image is one volume of three axes.",
            remedy="Give each sequence as a file of its own.",
        )
    if not np.isfinite(array).all():
        raise UnreadablePixelsError("An image holds numbers that are not finite.", remedy="Export it again.")
    if np.mean(array < -0.01 * bright_end(array)) > _MAX_NEGATIVE:
        raise UnsupportedSeriesError(
            f"{np.mean(array < 0):.0%} of an image's voxels are below zero.",
            rule="An image holds magnitudes, which are 0 or more; normalized images do not.",
            remedy="Give the image before it was normalized.",
        )
    return Volume(array, RAS_LPS @ affine)


def _checked_affine(image: Any) -> np.ndarray:
    header = image.header
    if not int(header.get("sform_code", 0)) and not int(header.get("qform_code", 0)):
        raise NoGeometryError(
            "A NIfTI header gives neither sform nor qform.",
            rule="Left and right must be known.",
            remedy="Convert the image again by a tool that keeps its orientation, such as dcm2niix.",
        )
    affine = np.asarray(image.affine, dtype=np.float64)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not spacing.all():
        raise NoGeometryError("A NIfTI header's affine is not valid.", remedy="Convert the image again.")
    direction = affine[:3, :3] / spacing
    if np.abs(direction.T @ direction - np.eye(3)).max() > 1e-3:
        raise GantryTiltError(
            "The axes of a NIfTI image are not perpendicular.",
            rule="Voxels are boxes.",
            remedy="Resample the image to a grid without shear.",
        )
    return affine


def write_image(volume: Volume, path: Path) -> None:
    """Write a volume; its LPS affine becomes RAS, in sform and qform."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = RAS_LPS @ volume.affine
    image = nib.Nifti1Image(volume.array, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def _read(run: Performer, models: Models) -> Images:
    options = run.options
    files = options.images or named_images(options.input)
    absent = [s.value for s in Sequence if s not in files]
    if options.only != "sr" and options.allow_missing:
        assess(files)
    elif absent and options.only != "sr":
        raise with_offer(
            MissingSequenceError(
                f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not given.",
                rule="A tumor is sought in T1, T1c, T2 and FLAIR of the brain.",
                remedy="Name the files with --t1, --t1c, --t2 and --flair; --only sr sharpens any of them.",
            )
        )
    volumes = {sequence: read_image(files[sequence]) for sequence in Sequence if sequence in files}
    return Images(volumes, {sequence: file_sha256(files[sequence]) for sequence in volumes})


def _prepare(run: Performer, models: Models, given: Images) -> Prepared:
    """Images on one grid, and all that ``stripped`` names, lie in one space; others are registered."""
    stripped = run.options.stripped or None
    grid, frame = given.volumes[reference_of(given.volumes)].grid, generate_uid()
    volumes = {
        sequence: Volume(v.array, v.affine, frame if stripped or v.grid.same_as(grid) else None)
        for sequence, v in given.volumes.items()
    }
    return prepare_volumes(volumes, stripped=stripped, allow_partial=run.options.allow_missing)


def _as_measured(run: Performer, models: Models, prepared: Prepared) -> AsMeasured:
    volumes = as_measured(prepared)
    return AsMeasured(
        volumes,
        prepared.brain,
        {},
        {},
        prepared.reference,
        model_info(models.segmentation),
        shown=shown_parts(prepared, prepared.brain.grid),
        assessment=prepared.assessment,
    )


def _sharpen(run: Performer, models: Models, given: Images) -> Sharpened:
    """Each image on its own grid; its foreground takes the place of the brain."""
    options, report = run.options, run.progress(SUPER_RESOLVE.name)
    volumes, residuals, blurs = {}, {}, {}
    for number, (sequence, volume) in enumerate(given.volumes.items()):
        result = super_resolve(
            volume,
            models.super_resolution.network,
            spacing=fine_spacing(volume.grid, options.spacing),
            progress=share(report, number / len(given.volumes), (number + 1) / len(given.volumes)),
            denoising=options.denoising,
            fusion=options.fusion,
        )
        volumes[sequence], residuals[sequence] = result.volume, (result.residual, result.residual_after)
        blurs[sequence] = result.describe_blur()
    first = next(iter(volumes))
    return Sharpened(
        volumes=volumes,
        brain=volumes[first],
        residuals=residuals,
        slice_profiles=dict.fromkeys(volumes, "cubic"),
        assessment=Assessment(tuple(volumes)),
        source=given.volumes[first],
        model=model_info(models.super_resolution),
        denoising=options.denoising,
        fusion=options.fusion,
        blurs=blurs,
    )


def _measure(run: Performer, models: Models, tumor: Segmented) -> WrittenReport:
    return WrittenReport(measure_regions(tumor.labels, tumor.assessment))


def _write_images(run: Performer, models: Models, images: SuperResolved) -> Written:
    for sequence in images.volumes:
        write_image(images.without_unseen_slices(sequence), run.folder / "series" / f"{sequence.value}.nii.gz")
    return Written(f"{len(images.volumes)} images")


def _write_labels(run: Performer, models: Models, tumor: Segmented) -> Written:
    parts = tumor.assessment.segments == SEGMENTS
    name = "segmentation" if parts else "whole_tumor"  # whose voxels are 1: a label 2 would say edema

    def write(labels: Volume, grid: str) -> None:
        shown = labels if parts else labels.with_array((labels.array > 0).astype(np.uint8))
        write_image(shown, run.folder / "seg" / f"{name}_{grid}.nii.gz")

    write(tumor.source_labels, "source")
    if isinstance(tumor.images, AsMeasured):
        return Written(f"on the grid of {tumor.images.reference.value}")
    write(tumor.labels, "sr")
    return Written("on the super-resolved grid and on the source's")


def _write_overview(run: Performer, models: Models, tumor: Segmented, report: WrittenReport) -> Written:
    picture = draw_overview(
        tumor.images.source,
        tumor.images.volumes[tumor.images.reference],
        tumor.labels,
        sequence=tumor.images.reference,
        measurements=report.measurements,
        warning=NOT_FOR_PRIMARY_DIAGNOSIS,
        models=[f"{m.name} {m.version}" for m in (tumor.model, tumor.images.model)],
        assessment=tumor.assessment,
        unassessed=tumor.images.unassessed,
    )
    (run.folder / "overview").mkdir()
    Image.fromarray(picture).save(run.folder / "overview" / "overview.png")
    return Written(f"{tumor.images.reference.value} before and after, with outlines")


_READ = Stage("read", _read, output="given")
_PREPARE = Stage("prepare", _prepare, ("given",), "prepared")
_ALONE = Stage(SUPER_RESOLVE.name, _sharpen, ("given",), "images")
_ONE_GRID = Stage("bring to one grid", _as_measured, ("prepared",), "images")
_MEASURE = Stage("measure", _measure, ("tumor",), "report")
_IMAGES = Stage("write images", _write_images, ("images",))
_LABELS = Stage("write seg", _write_labels, ("tumor",))
_OVERVIEW = Stage("write overview", _write_overview, ("tumor", "report"))

# By ``Options.only``.
COMPUTING: Mapping[Only | None, tuple[Stage, ...]] = {
    None: (_READ, _PREPARE, SUPER_RESOLVE, SEGMENT, _MEASURE),
    "sr": (_READ, _ALONE),
    "seg": (_READ, _PREPARE, _ONE_GRID, SEGMENT, _MEASURE),
}
WRITING: Mapping[Only | None, tuple[Stage, ...]] = {
    None: (_IMAGES, _LABELS, _OVERVIEW),
    "sr": (_IMAGES,),
    "seg": (_LABELS,),
}
