"""The stages of a run in their order, each with the results that it takes and the one that it makes.

The application's operators, ``acuity run`` and ``acuity.run`` all perform these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from acuity.models.progress import Progress
from acuity.pipeline.confirmation import confirmed
from acuity.pipeline.options import Options
from acuity.pipeline.preparation import Prepared, prepare
from acuity.pipeline.run import R, StageResult
from acuity.pipeline.stages import (
    Chosen,
    Loaded,
    Models,
    Segmented,
    SuperResolved,
    choose_series,
    load_study,
    segment_study,
    super_resolve_study,
)
from acuity.pipeline.writing import (
    WrittenOverview,
    WrittenReport,
    WrittenSegmentations,
    WrittenSeries,
    write_all_series,
    write_measurements,
    write_overview_picture,
    write_segmentations,
)


class Performer(Protocol):
    """What stages need of a run."""

    @property
    def options(self) -> Options:
        """The user's wishes."""

    @property
    def folder(self) -> Path:
        """Where a stage writes."""

    def expect(self, stage: str) -> None:
        """Hear of a stage that is to come."""

    def perform(self, stage: str, work: Callable[[], R]) -> R | None:
        """The work's result; None after an error, which is kept."""

    def progress(self, stage: str) -> Progress:
        """A function to call with the share that is done, 0 to 1."""


@dataclass(frozen=True)
class Stage:
    """One step.

    Parameters
    ----------
    name : in the progress lines and in ``result.json``
    work : takes the run, the models, and the results that ``inputs`` name, as keyword arguments
    inputs : names of the results that it takes
    output : name of the result that it makes; None where no other stage takes it
    """

    name: str
    work: Callable[..., StageResult]
    inputs: tuple[str, ...] = ()
    output: str | None = None


def run_stages(run: Performer, models: Models, stages: Sequence[Stage]) -> dict[str, Any]:
    """Perform the stages one after another; after an error none follows.

    Returns
    -------
    The results by their names.
    """
    for stage in stages:
        run.expect(stage.name)
    results: dict[str, Any] = {}
    for stage in stages:
        if perform(run, models, stage, results) is None:
            break
    return results


def perform(run: Performer, models: Models, stage: Stage, results: dict[str, Any]) -> StageResult | None:
    """Perform one stage and put its result among ``results``; None after an error."""
    taken = {name: results[name] for name in stage.inputs}
    result = run.perform(stage.name, lambda: stage.work(run, models, **taken))
    if result is not None and stage.output is not None:
        results[stage.output] = result
    return result


def _read(run: Performer, models: Models) -> Loaded:
    return load_study(run.options.input)


def _select(run: Performer, models: Models, study: Loaded) -> Chosen:
    options = run.options
    return choose_series(study, rules=options.rules, named=options.series, allow_missing=options.allow_missing)


def _prepare(run: Performer, models: Models, selection: Chosen) -> Prepared:
    prepared = prepare(selection.selection, allow_partial=run.options.allow_missing)
    return confirmed(prepared, selection.selection)


def _super_resolve(run: Performer, models: Models, prepared: Prepared) -> SuperResolved:
    options = run.options
    return super_resolve_study(
        prepared,
        models.super_resolution,
        spacing=options.spacing,
        progress=run.progress(SUPER_RESOLVE.name),
        denoising=options.denoising,
        fusion=options.fusion,
    )


def _segment(run: Performer, models: Models, images: SuperResolved) -> Segmented:
    return segment_study(images, models.segmentation, progress=run.progress(SEGMENT.name))


def _write_series(run: Performer, models: Models, images: SuperResolved) -> WrittenSeries:
    return write_all_series(images, run.folder)


def _write_segmentations(
    run: Performer, models: Models, tumor: Segmented, series: WrittenSeries
) -> WrittenSegmentations:
    return write_segmentations(tumor, series, run.folder)


def _write_report(
    run: Performer, models: Models, tumor: Segmented, segmentations: WrittenSegmentations
) -> WrittenReport:
    return write_measurements(tumor, segmentations, run.folder)


def _write_overview(run: Performer, models: Models, tumor: Segmented, report: WrittenReport) -> WrittenOverview:
    return write_overview_picture(tumor, report, run.folder)


READ = Stage("read", _read, output="study")
SELECT = Stage("select", _select, ("study",), "selection")
PREPARE = Stage("prepare", _prepare, ("selection",), "prepared")
SUPER_RESOLVE = Stage("super-resolve", _super_resolve, ("prepared",), "images")
SEGMENT = Stage("segment", _segment, ("images",), "tumor")
WRITE_SERIES = Stage("write series", _write_series, ("images",), "series")
WRITE_SEGMENTATIONS = Stage("write seg", _write_segmentations, ("tumor", "series"), "segmentations")
WRITE_REPORT = Stage("write report", _write_report, ("tumor", "segmentations"), "report")
WRITE_OVERVIEW = Stage("write overview", _write_overview, ("tumor", "report"))

COMPUTING = (READ, SELECT, PREPARE, SUPER_RESOLVE, SEGMENT)
WRITING = (WRITE_SERIES, WRITE_SEGMENTATIONS, WRITE_REPORT, WRITE_OVERVIEW)
