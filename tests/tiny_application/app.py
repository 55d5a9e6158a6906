"""A second application of the MONAI Deploy App SDK, for the tests of ``acuity exec``: it counts its input files."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from monai.deploy.core import AppContext, Application, Fragment, Operator, OperatorSpec


class CountOperator(Operator):
    """Writes what the application was given and how many files are in its input; a file ``code`` says how to end."""

    def __init__(self, fragment: Fragment, *args: Any, context: AppContext, **kwargs: Any) -> None:
        self.given = context
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """It has no ports."""

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Count, write, end."""
        folder = Path(self.given.input_path)
        files = [path for path in folder.rglob("*") if path.is_file()]
        found = {
            "files": len(files),
            "model": str(self.given.model_path),
            "workdir": str(self.given.workdir),
            "log_level": logging.getLevelName(logging.getLogger().level),
            "pid": os.getpid(),
        }
        output = Path(self.given.output_path)
        output.mkdir(exist_ok=True)
        (output / "count.json").write_text(json.dumps(found))
        code = int((folder / "code").read_text())
        if code == 1:
            raise ValueError("told to fail")
        sys.exit(code)


class TinyApplication(Application):
    """One operator, on the command line and the variables that the SDK itself reads."""

    def compose(self) -> None:
        """Add the operator."""
        self.add_operator(CountOperator(self, name="count", context=Application.init_app_context(self.argv)))


if __name__ == "__main__":
    TinyApplication().run()
