"""``acuity.run``: the whole chain as a function, DICOM or NIfTI in, objects out; nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from acuity.anatomy import SEGMENTS, Region, Sequence
from acuity.assessment import Assessment
from acuity.errors import InputNotFoundError
from acuity.imaging.measurement import RegionMeasurement, measure_regions
from acuity.models.progress import Progress
from acuity.models.super_resolution import Denoising
from acuity.models.uncertainty import Uncertainty
from acuity.pipeline import graph, nifti
from acuity.pipeline.graph import Stage, run_stages
from acuity.pipeline.nifti_files import is_nifti
from acuity.pipeline.options import Only, Options, named_series
from acuity.pipeline.result import add_sections
from acuity.pipeline.run import Described, R
from acuity.pipeline.stages import Models, Segmented, load_models
from acuity.resources import released_bundles
from acuity.volume import Volume


@dataclass(frozen=True)
class Result:
    """What a run found.

    Parameters
    ----------
    images : super-resolved, float32, in the intensities of the input; on one grid, but for ``only="sr"``, which leaves
        each on a fine grid of its own. With ``only="seg"`` the images as they were measured, on the grid of T1c
    labels : uint8 of 0, 1 (necrosis), 2 (edema) and 4 (enhancing tumor) on the grid of ``images``; None without
        segmentation, and where T1c is missing, for then the tumor's parts cannot be told: see ``whole_tumor``
    source_labels : the same on the grid that T1c was measured on
    whole_tumor : uint8 of 0 and 1 on the grid of ``images``; None without segmentation
    measurements : of ET, TC and WT; ``volume_ml`` is None and ``not_assessable`` says why, where it cannot be told
    uncertainty : by region the expected Dice, and a lower and an upper estimate of the volume in ml, where it is
        measured
    assessment : the sequences that were there, the share of the brain that each shows, and what that costs
    record : the sections that ``result.json`` would have: the series chosen and why, the registration, and so on
    """

    images: Mapping[Sequence, Volume]
    labels: Volume | None
    source_labels: Volume | None
    whole_tumor: Volume | None
    measurements: tuple[RegionMeasurement, ...]
    uncertainty: Mapping[Region, Uncertainty]
    assessment: Assessment
    record: Mapping[str, Any]


def run(
    study: Path | str | None = None,
    *,
    images: Mapping[Sequence | str, Path | str] | None = None,
    models: Models | Path | str | None = None,
    only: Only | None = None,
    stripped: bool = False,
    series: Mapping[str, str] | None = None,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    denoising: Denoising | None = None,
    fusion: bool = False,
    allow_missing: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> Result:
    """Super-resolve the images of one study, find the tumor and measure it.

    Parameters
    ----------
    study : folder (or DICOMDIR, or file) of a DICOM study, or a folder of NIfTI files with BraTS names
    images : instead of ``study``, a NIfTI file for each of "T1", "T1c", "T2" and "FLAIR"; for ``only="sr"`` any of them
    models : as ``load_models`` gives them, or the folder of the bundles; by default those that came with Acuity. Load
        them once for many studies
    only : of NIfTI, "sr" sharpens each image on its own, "seg" finds the tumor in the images as they are
    stripped : NIfTI images are skull-stripped and aligned to one another; by default this is recognized
    series : of DICOM, for "T1", "T1c", "T2" or "FLAIR" the series to take, by UID or "#" and number
    spacing : coarsest voxels wanted in mm along i, j, k
    denoising, fusion : see ``acuity.models.super_resolution.super_resolve``
    allow_missing : run without T1c, T1 or T2, or with sequences that show a part of the brain; FLAIR is always needed
    progress : called with a stage's name and the share of it that is done, 0 to 1

    Returns
    -------
    Volumes with affines in LPS mm (``volume.affine``), and what they show.

    Raises
    ------
    AcuityError : the study or the models are refused; see docs/exit-codes.md
    ValueError : neither or both of ``study`` and ``images`` are given, or ``only`` is asked for DICOM
    """
    if (study is None) == (not images):
        raise ValueError("give either study or images")
    options = Options(
        input=Path(study) if study is not None else Path(),
        output=Path(),
        models=Path(),
        images={Sequence(name): Path(path) for name, path in (images or {}).items()},
        only=only,
        stripped=stripped,
        series=dict(named_series(f"{name}={value}") for name, value in (series or {}).items()),
        spacing=spacing,
        denoising=denoising,
        fusion=fusion,
        allow_missing=allow_missing,
    )
    if study is not None and not options.input.exists():
        raise InputNotFoundError(f"{study} does not exist.", remedy="Give a folder or file that exists.")
    if not is_nifti(options) and (only or stripped):
        raise ValueError("only and stripped are for NIfTI images")
    computing, _ = stages_for(options)
    if not isinstance(models, Models):
        models = load_models(Path(models) if models is not None else released_bundles())
    call = _Call(options, progress)
    results = run_stages(call, models, computing)
    tumor: Segmented | None = results.get("tumor")
    told = tumor if tumor and tumor.assessment.segments == SEGMENTS else None  # with its parts
    return Result(
        images=results["images"].volumes,
        labels=told.labels if told else None,
        source_labels=told.source_labels if told else None,
        whole_tumor=tumor.labels.with_array((tumor.labels.array > 0).astype(np.uint8)) if tumor else None,
        measurements=measure_regions(tumor.labels, tumor.assessment) if tumor else (),
        uncertainty=tumor.uncertainty if tumor else {},
        assessment=(tumor or results["images"]).assessment,
        record=call.record,
    )


def stages_for(options: Options) -> tuple[tuple[Stage, ...], tuple[Stage, ...]]:
    """The stages of a run that compute, and those that write."""
    if is_nifti(options):
        return nifti.COMPUTING[options.only], nifti.WRITING[options.only]
    return graph.COMPUTING, graph.WRITING


@dataclass(frozen=True)
class _Call:
    """A run that keeps its results in memory and lets errors through."""

    options: Options
    report: Callable[[str, float], None] | None
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        raise RuntimeError("a call writes nothing")

    def expect(self, stage: str) -> None:
        pass

    def perform(self, stage: str, work: Callable[[], R]) -> R:
        result = work()
        add_sections(self.record, result.describe() if isinstance(result, Described) else {})
        return result

    def progress(self, stage: str) -> Progress:
        return lambda done: self.report(stage, done) if self.report else None
