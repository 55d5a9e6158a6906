"""Acuity's clinical graph as a MONAI Deploy application: wiring only.

``python app.py -i STUDY -o OUT -m bundles``; ``--help`` says more.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

from acuity.pipeline.options import parse_options

MODELS = Path(__file__).resolve().parent / "bundles"

if __name__ == "__main__":
    parse_options(default_models=MODELS)  # answers --help and a wrong command line before the slow imports below
    os.environ.setdefault("HOLOSCAN_LOG_LEVEL", "ERROR")  # its own log is for developers of holoscan
    warnings.simplefilter("ignore")  # those of holoscan's import (stack size, no GPU) tell a user nothing

from monai.deploy.conditions import CountCondition  # noqa: E402
from monai.deploy.core import Application  # noqa: E402

from acuity.pipeline.launch import launch  # noqa: E402
from acuity.pipeline.run import Run  # noqa: E402
from acuity.pipeline.stages import Models  # noqa: E402
from operators.loader import LoaderOperator  # noqa: E402
from operators.overview_writer import OverviewWriterOperator  # noqa: E402
from operators.preparation import PreparationOperator  # noqa: E402
from operators.report_writer import ReportWriterOperator  # noqa: E402
from operators.segmentation import SegmentationOperator  # noqa: E402
from operators.segmentation_writer import SegmentationWriterOperator  # noqa: E402
from operators.selector import SelectorOperator  # noqa: E402
from operators.series_writer import SeriesWriterOperator  # noqa: E402
from operators.super_resolution import SuperResolutionOperator  # noqa: E402


class AcuityApp(Application):
    """MR study in; sharper series, tumor segmentation, report and overview out.

    Parameters
    ----------
    run : options in, errors and outputs out
    models : the loaded bundles
    """

    def __init__(self, run: Run, models: Models) -> None:
        self.acuity_run = run
        self.models = models
        super().__init__([sys.executable])  # without arguments: they were parsed, and holoscan has others

    def compose(self) -> None:
        """Connect the operators."""
        run = self.acuity_run
        loader = LoaderOperator(self, CountCondition(self, 1), run=run)
        selector = SelectorOperator(self, run=run)
        preparation = PreparationOperator(self, run=run)
        super_resolution = SuperResolutionOperator(self, run=run, bundle=self.models.super_resolution)
        segmentation = SegmentationOperator(self, run=run, bundle=self.models.segmentation)
        series_writer = SeriesWriterOperator(self, run=run)
        segmentation_writer = SegmentationWriterOperator(self, run=run)
        report_writer = ReportWriterOperator(self, run=run)
        overview_writer = OverviewWriterOperator(self, run=run)

        self.add_flow(loader, selector, {("study", "study")})
        self.add_flow(selector, preparation, {("selection", "selection")})
        self.add_flow(preparation, super_resolution, {("prepared", "prepared")})
        self.add_flow(super_resolution, segmentation, {("images", "images")})
        self.add_flow(super_resolution, series_writer, {("images", "images")})
        self.add_flow(super_resolution, overview_writer, {("images", "images")})
        self.add_flow(segmentation, segmentation_writer, {("tumor", "tumor")})
        self.add_flow(segmentation, report_writer, {("tumor", "tumor")})
        self.add_flow(segmentation, overview_writer, {("tumor", "tumor")})
        self.add_flow(series_writer, segmentation_writer, {("series", "series")})
        self.add_flow(segmentation_writer, report_writer, {("segmentations", "segmentations")})
        self.add_flow(report_writer, overview_writer, {("report", "report")})


def main() -> None:
    """Run the application on the process's arguments and end the process."""
    launch(parse_options(default_models=MODELS), lambda run, models: AcuityApp(run, models).run())


if __name__ == "__main__":
    main()
