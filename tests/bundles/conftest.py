"""The released bundles, and tiny random cases named and laid out as BraTS's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import monai.bundle
import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

REPOSITORY = Path(__file__).resolve().parents[2]
X4_PREFIX = "brain_mri_sr_x4_"
X4 = sorted(folder.name for folder in (REPOSITORY / "bundles").glob(f"{X4_PREFIX}*"))
CASES = ("first", "second")
SHAPE = (24, 20, 16)
BRATS_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS; the axes run to the left, the back and the head


def config(bundle: str, name: str) -> str:
    return str(REPOSITORY / "bundles" / bundle / "configs" / f"{name}.json")


def metadata(bundle: str) -> dict[str, Any]:
    return json.loads(Path(config(bundle, "metadata")).read_text())


def run(bundle: str, *configs: str, **overrides: Any) -> None:
    """As ``python -m monai.bundle run`` does."""
    monai.bundle.run(
        config_file=[config(bundle, name) for name in configs], meta_file=config(bundle, "metadata"), **overrides
    )


def write_case(
    folder: Path,
    rng: np.random.Generator,
    shape: tuple[int, int, int] = SHAPE,
    affine: NDArray[np.float64] = BRATS_AFFINE,
) -> None:
    """Four random brains in a box of zeros, and nested labels 2, 4 and 1 off the middle."""
    folder.mkdir(parents=True)
    brain = np.zeros(shape, dtype=bool)
    brain[3:-3, 3:-3, 2:-2] = True
    for sequence in ("t1", "t1ce", "t2", "flair"):
        image = np.where(brain, rng.uniform(20, 250, shape), 0).astype(np.float32)
        nib.save(nib.Nifti1Image(image, affine), folder / f"{folder.name}_{sequence}.nii.gz")
    labels = np.zeros(shape, dtype=np.uint8)
    labels[5:12, 6:13, 4:10] = 2
    labels[6:10, 7:11, 5:9] = 4
    labels[7:9, 8:10, 6:8] = 1
    nib.save(nib.Nifti1Image(labels, affine), folder / f"{folder.name}_seg.nii.gz")


@pytest.fixture(scope="session")
def tiny_brats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of two random cases."""
    folder = tmp_path_factory.mktemp("data") / "brats"
    for seed, case in enumerate(CASES):
        write_case(folder / case, np.random.default_rng(seed))
    return folder
