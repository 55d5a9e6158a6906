"""The models that the server runs: the released bundles, and what was trained on from them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from acuity.models.bundle import Bundle, load_bundle
from acuity.pipeline.stages import SEGMENTATION_BUNDLE, SUPER_RESOLUTION_BUNDLE
from label.learning.versions import Versions

TUMOR = "tumor_segmentation"  # name of the task, of its training and of the folder of its versions


class ServedModels:
    """Both models, each loaded when it is first asked for.

    Parameters
    ----------
    models : folder of the versions
    bundles : folder of the released bundles
    """

    def __init__(self, models: Path, bundles: Path) -> None:
        self.bundles = bundles
        self.versions = tumor_versions(models, bundles)

    @property
    def segmentation(self) -> Bundle:
        """The version that is served now; raises as ``Versions.bundle``."""
        return self.versions.bundle()

    @cached_property
    def super_resolution(self) -> Bundle:
        """The released one; raises as ``load_bundle``."""
        return load_bundle(self.bundles, SUPER_RESOLUTION_BUNDLE)


def tumor_versions(models: Path, bundles: Path) -> Versions:
    """The versions of the segmentation, below the folder of all models."""
    return Versions(models / TUMOR, bundles, SEGMENTATION_BUNDLE)
