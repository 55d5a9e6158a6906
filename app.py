"""Acuity's clinical graph as a MONAI Deploy application: wiring only.

``python app.py -i STUDY -o OUT -m bundles``; ``--help`` says more.
"""

from __future__ import annotations

from acuity.signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # until launch() takes over

import os
import sys
import warnings
from pathlib import Path

from acuity.pipeline.options import parse_options
from acuity.pipeline.run import Run, require_input

MODELS = Path(__file__).resolve().parent / "bundles"

if __name__ == "__main__":
    # --help, a wrong command line and a wrong path are answered before the slow imports below
    require_input(parse_options(default_models=MODELS))
    os.environ.setdefault("HOLOSCAN_LOG_LEVEL", "ERROR")  # its own log is for developers of holoscan
    warnings.simplefilter("ignore")  # those of holoscan's import (stack size, no GPU) tell a user nothing
    # Where a development package brought it, jsonschema, which monai imports, spends five seconds on this one.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

from monai.deploy.conditions import CountCondition  # noqa: E402
from monai.deploy.core import Application  # noqa: E402

from acuity.pipeline.launch import launch  # noqa: E402
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
        """Connect each input port to the operator whose output port has its name."""
        run, models = self.acuity_run, self.models
        operators = [
            LoaderOperator(self, CountCondition(self, 1), run=run, models=models),
            SelectorOperator(self, run=run, models=models),
            PreparationOperator(self, run=run, models=models),
            SuperResolutionOperator(self, run=run, models=models),
            SegmentationOperator(self, run=run, models=models),
            SeriesWriterOperator(self, run=run, models=models),
            SegmentationWriterOperator(self, run=run, models=models),
            ReportWriterOperator(self, run=run, models=models),
            OverviewWriterOperator(self, run=run, models=models),
        ]
        makers = {operator.stage.output: operator for operator in operators}
        for operator in operators:
            for port in operator.stage.inputs:
                self.add_flow(makers[port], operator, {(port, port)})


def main() -> None:
    """Run the application on the process's arguments and end the process."""
    launch(Run(parse_options(default_models=MODELS)), lambda run, models: AcuityApp(run, models).run())


if __name__ == "__main__":
    main()
