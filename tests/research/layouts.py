"""Made-up cases, laid out as each challenge gives out its own."""

from __future__ import annotations

import json
from collections.abc import Sequence as Seq
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

LAYOUTS = ("2018", "2020", "2021", "2023", "decathlon")
AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1.0, 0, 239], [0, 0, 1.0, 0], [0, 0, 0, 1]])
SHAPE = (40, 44, 24)
NAMES = {
    "2018": ("HGG/Brats18_MADE_AAA_1", "HGG/Brats18_MADE_AAB_1", "LGG/Brats18_MADE_AAC_1"),
    "2020": ("BraTS20_Training_901", "BraTS20_Training_902", "BraTS20_Training_903"),
    "2021": ("BraTS2021_90001", "BraTS2021_90002", "BraTS2021_90003"),
    "2023": ("BraTS-GLI-90001-000", "BraTS-GLI-90002-000", "BraTS-GLI-90003-000"),
    "decathlon": ("BRATS_901", "BRATS_902", "BRATS_903"),
}
SUFFIXES = {"2023": ("-t1n", "-t1c", "-t2w", "-t2f", "-seg")}
SINCE_2018 = ("_t1", "_t1ce", "_t2", "_flair", "_seg")
DECATHLON = {
    "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
    "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
}


def made_up(seed: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """T1, T1c, T2 and FLAIR (4, I, J, K) of a brain in a box, and its labels 0, 1, 2, 4."""
    rng = np.random.default_rng(seed)
    brain = np.zeros(SHAPE, bool)
    brain[4:-4, 4:-4, 3:-3] = True
    images = np.where(brain, rng.uniform(60, 120, (4, *SHAPE)), 0).astype(np.float32)
    labels = np.zeros(SHAPE, np.uint8)
    labels[10:24, 12:26, 6:18] = 2
    labels[12:20, 14:22, 8:16] = 4
    labels[14:17, 16:19, 10:13] = 1
    for channel, label in ((1, 4), (2, 2), (3, 2), (0, 1)):
        images[channel][labels == label] += 100
    return images.round(), labels


def write_layout(layout: str, folder: Path, *, affine: NDArray = AFFINE) -> list[str]:
    """Write three cases as ``layout`` has them; their names."""
    for seed, name in enumerate(NAMES[layout]):
        write_one(layout, folder, name, *made_up(seed), affine)
    if layout == "decathlon":
        (folder / "dataset.json").write_text(json.dumps(DECATHLON))
        (folder / "imagesTr" / "._BRATS_901.nii.gz").write_bytes(b"of a Mac")
    return [Path(name).name for name in NAMES[layout]]


def write_one(
    layout: str,
    folder: Path,
    name: str,
    images: Seq[NDArray] | NDArray,
    labels: NDArray[np.uint8],
    affine: NDArray = AFFINE,
) -> None:
    """Write one case; ``labels`` are 0, 1, 2, 4 and become what the layout has for them."""
    if layout == "decathlon":
        channels = np.stack([images[n] for n in (3, 0, 1, 2)], axis=-1)
        labels = np.select([labels == 2, labels == 1, labels == 4], [1, 2, 3]).astype(np.uint8)
        save(channels, affine, folder / "imagesTr" / f"{name}.nii.gz")
        save(labels, affine, folder / "labelsTr" / f"{name}.nii.gz")
        return
    if layout == "2023":
        labels = np.where(labels == 4, 3, labels).astype(np.uint8)
    ending = ".nii" if layout == "2020" else ".nii.gz"
    for suffix, array in zip(SUFFIXES.get(layout, SINCE_2018), [*images, labels], strict=True):
        save(array, affine, folder / name / f"{Path(name).name}{suffix}{ending}")


def save(array: NDArray, affine: NDArray, path: Path) -> None:
    """Write NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
