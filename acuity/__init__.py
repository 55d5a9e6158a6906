"""Acuity: MR super-resolution and brain tumor segmentation, from DICOM to DICOM."""

from importlib import import_module
from types import SimpleNamespace
from typing import Any

from acuity._cuda_runtime import install_import_hook

__version__ = "0.1.0"

install_import_hook()


def __getattr__(name: str) -> Any:
    """``acuity.run``, whose import takes seconds, and the packages whose classes moved to ``acuity.models``:
    configurations of older bundles name their classes.
    """
    if name == "inference":
        return SimpleNamespace(inferers=import_module("acuity.models.inferers"))
    if name == "data":
        return SimpleNamespace(transforms=import_module("acuity.models.transforms"))
    if name == "run":
        return import_module("acuity.pipeline.api").run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
