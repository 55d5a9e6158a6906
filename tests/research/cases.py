"""Made-up BraTS cases on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
from numpy.typing import NDArray

from acuity.anatomy import Sequence
from acuity.research.datasets.brats import FILE_SUFFIX


def write_case(
    folder: Path, name: str, images: Mapping[Sequence, NDArray], labels: NDArray | None, affine: NDArray
) -> None:
    """Write a case's images (and labels) with an affine in RAS."""
    (folder / name).mkdir(parents=True)
    arrays = {FILE_SUFFIX[sequence]: image for sequence, image in images.items()}
    for suffix, array in (arrays if labels is None else arrays | {"seg": labels}).items():
        nib.save(nib.Nifti1Image(array, affine), folder / name / f"{name}_{suffix}.nii.gz")
