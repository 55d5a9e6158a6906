"""What all operators share: ports named by class attributes, and one call to the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from monai.deploy.core import Fragment, Operator, OperatorSpec

from acuity.models.bundle import Bundle
from acuity.pipeline.run import Run


class StageOperator(Operator):
    """An operator that is one stage of a run.

    A stage that fails emits nothing, so that no operator behind it runs and the graph ends. Nothing is raised into
    Holoscan, which would print the exception's text and end the process with 1: the run keeps the error and knows
    the exit code.

    Parameters
    ----------
    run : keeps results' descriptions and the first error
    bundle : of a stage that runs a network

    Attributes
    ----------
    stage : name of the stage, in the progress lines and in ``result.json``
    inputs : names of the input ports, which are also the parameters of :meth:`work`
    output : name of the output port; None for a stage at the end
    """

    stage: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]] = ()
    output: ClassVar[str | None] = None
    bundle: Bundle

    def __init__(self, fragment: Fragment, *args: Any, run: Run, bundle: Bundle | None = None) -> None:
        self.run = run
        if bundle is not None:
            self.bundle = bundle
        run.expect(self.stage)
        super().__init__(fragment, *args, name=self.stage)  # calls setup()

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        for name in self.inputs:
            spec.input(name)
        if self.output is not None:
            spec.output(self.output)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Receive, work, emit."""
        received = {name: op_input.receive(name) for name in self.inputs}
        result = self.run.perform(self.stage, lambda: self.work(**received))
        if result is not None and self.output is not None:
            op_output.emit(result, self.output)

    work: Callable[..., Any]
    """The library call: input ports as keyword arguments, the output port's object as result."""
