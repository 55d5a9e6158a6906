"""Names and numbers that command lines offer: known without the libraries that apply them, which load for seconds."""

from __future__ import annotations

from typing import Literal

SliceDegradation = Literal["bicubic", "kspace"]
VolumeDegradation = Literal[
    "x2",
    "x4",
    "in-plane-x2",
    "in-plane-x4",
    "through-plane-x2",
    "slices-3mm",
    "slices-5mm",
    "slices-6mm",
    "x2-kspace",
    "x2-hann",
    "x2-box",
    "x2-gaussian-0.6",
    "x2-gaussian-1.0",
    "x2-gaussian-1.3",
]
Alteration = Literal["intensity", "bias", "noise", "blur", "overstripped", "understripped"]

FOLDS = 4  # parts of the cases for training and validation, see acuity.research.datasets.brats.folds
