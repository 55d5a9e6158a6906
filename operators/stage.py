"""What all operators share: ports named as a stage's results, and one call to the run."""

from __future__ import annotations

from typing import Any, ClassVar

from monai.deploy.core import Fragment, Operator, OperatorSpec

from acuity.pipeline.graph import Stage, perform
from acuity.pipeline.run import Run
from acuity.pipeline.stages import Models


class StageOperator(Operator):
    """An operator that is one stage of a run.

    A stage that fails emits nothing, so that no operator behind it runs and the graph ends. Nothing is raised into
    Holoscan, which would print the exception's text and end the process with 1: the run keeps the error and knows
    the exit code.

    Parameters
    ----------
    run : keeps results' descriptions and the first error
    models : the loaded bundles

    Attributes
    ----------
    stage : what it performs; its inputs and its output are the ports
    """

    stage: ClassVar[Stage]

    def __init__(self, fragment: Fragment, *args: Any, run: Run, models: Models) -> None:
        self.run = run
        self.models = models
        run.expect(self.stage.name)
        super().__init__(fragment, *args, name=self.stage.name)  # calls setup()

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        for name in self.stage.inputs:
            spec.input(name)
        if self.stage.output is not None:
            spec.output(self.stage.output)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Receive, work, emit."""
        results = {name: op_input.receive(name) for name in self.stage.inputs}
        result = perform(self.run, self.models, self.stage, results)
        if result is not None and self.stage.output is not None:
            op_output.emit(result, self.stage.output)
