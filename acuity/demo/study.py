"""The demo's input: the phantom as a low-resolution study of four DICOM series, and the truth beside it."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib

from acuity.anatomy import Sequence
from acuity.demo.classic_mr import degrade, write_study
from acuity.research.synthetic.phantom import Phantom, make_phantom
from acuity.volume import RAS_LPS, Volume

TRUTH_NAMES = {Sequence.T1: "t1", Sequence.T1C: "t1ce", Sequence.T2: "t2", Sequence.FLAIR: "flair"}
LABELS_NAME = "seg"


def write_demo_study(
    folder: Path,
    *,
    seed: int = 0,
    spacing: tuple[float, float, float] = (2.0, 2.0, 2.0),
    truth_folder: Path | None = None,
    phantom_spacing_mm: float = 1.0,
) -> Phantom:
    """Four classic MR series of the phantom at a low resolution.

    Parameters
    ----------
    folder : of the study; gets one folder for each series
    seed : of the phantom; the same seed writes the same files
    spacing : mm of the series along i, j, k (left, back, head); (1, 1, 5) gives thick slices
    truth_folder : gets the phantom at its own resolution, t1, t1ce, t2, flair and seg, each .nii.gz; None
        for none. It must lie outside ``folder``: a study holds nothing but DICOM.
    phantom_spacing_mm : of the truth

    Returns
    -------
    Phantom
        At ``phantom_spacing_mm``: the truth.

    Raises
    ------
    ValueError
        When the truth lies inside the study, or ``spacing`` is finer than the phantom.
    """
    if truth_folder is not None and truth_folder.resolve().is_relative_to(folder.resolve()):
        raise ValueError("the truth lies inside the study's folder; give a folder outside it")
    phantom = make_phantom(seed=seed, spacing_mm=phantom_spacing_mm)
    identity = f"acuity demo study, seed {seed}, spacing {spacing}, phantom {phantom_spacing_mm}"
    write_study(
        {s: degrade(v, spacing) for s, v in phantom.volumes.items()},
        folder,
        identity=identity,
        patient_name="PHANTOM^DEMO",
        description="Acuity demo: brain phantom with tumor",
    )
    if truth_folder is not None:
        _write_truth(phantom, truth_folder)
    return phantom


def _write_truth(phantom: Phantom, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for sequence, name in TRUTH_NAMES.items():
        _write_nifti(phantom.volumes[sequence], folder / f"{name}.nii.gz")
    _write_nifti(phantom.labels, folder / f"{LABELS_NAME}.nii.gz")


def _write_nifti(volume: Volume, path: Path) -> None:
    nib.save(nib.Nifti1Image(volume.array, RAS_LPS @ volume.affine), path)
