"""Acuity: MR super-resolution and brain tumor segmentation, from DICOM to DICOM."""

from __future__ import annotations

import sys

from acuity._cuda_runtime import install_import_hook
from acuity.signals import end_on_signals, is_program

TYPE_CHECKING = False  # typing's own takes 10 ms to import, in every interpreter of the environment
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

if is_program(sys.orig_argv):
    end_on_signals()  # the distribution's .pth file imports this module long before the program's first line
install_import_hook()


def __getattr__(name: str) -> Any:
    """``acuity.run``, whose import takes seconds, and the packages whose classes moved to ``acuity.models``:
    configurations of older bundles name their classes.
    """
    from importlib import import_module
    from types import SimpleNamespace

    if name == "inference":
        return SimpleNamespace(inferers=import_module("acuity.models.inferers"))
    if name == "data":
        return SimpleNamespace(transforms=import_module("acuity.models.transforms"))
    if name == "run":
        return import_module("acuity.pipeline.api").run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
