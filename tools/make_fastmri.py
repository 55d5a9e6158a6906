"""Write fastMRI-format files, single- and multi-coil, from a folder of DICOM or from a phantom of a head.

Each volume becomes OUT/singlecoil/NAME.h5 and OUT/multicoil/NAME.h5. The magnitude images are given a smooth
phase and smooth coil sensitivities, both seeded, and transformed: their k-space is a model of what a scanner
measures, with the readout oversampled twice, and the stored reconstructions are the images themselves.

Files made from a patient's images are that patient's data: OUT lies outside the repository.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from acuity.anatomy import Sequence
from acuity.errors import AcuityError
from acuity.research.datasets.folders import NamedVolume, read_dicom
from acuity.research.synthetic.phantom import make_phantom

REPOSITORY = Path(__file__).resolve().parent.parent
HEADER = """<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace>{encoded}</encodedSpace><reconSpace>{recon}</reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{last}</maximum><center>{center}</center>
</kspace_encoding_step_1></encodingLimits>
<trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"""
SLICE_DISTANCE_MM = 5.0  # of the phantom's slices, as in fastMRI's brains
# fastMRI's names of brain acquisitions.
ACQUISITIONS = {Sequence.T1: "AXT1", Sequence.T1C: "AXT1POST", Sequence.T2: "AXT2", Sequence.FLAIR: "AXFLAIR"}


def smooth_phase(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """A phase (H, W) in radians: a random quadratic, as an inhomogeneous field and a shifted echo leave it."""
    y, x = _coordinates(shape)
    c = rng.uniform(-1.5, 1.5, 6)
    return c[0] + c[1] * x + c[2] * y + c[3] * x * y + c[4] * x**2 + c[5] * y**2


def coil_sensitivities(shape: tuple[int, int], coils: int, rng: np.random.Generator) -> NDArray[np.complex128]:
    """Complex (C, H, W) whose root-sum-of-squares is 1: Gaussian profiles of loops round the object, each with a
    linear phase.
    """
    y, x = _coordinates(shape)
    angles = 2 * np.pi * (np.arange(coils) + rng.uniform(0, 1)) / coils
    profiles = [
        np.exp(-((x - 1.2 * np.cos(a)) ** 2 + (y - 1.2 * np.sin(a)) ** 2) / 2)
        * np.exp(1j * (rng.uniform(-np.pi, np.pi) + rng.uniform(-1, 1) * x + rng.uniform(-1, 1) * y))
        for a in angles
    ]
    return np.stack(profiles) / np.sqrt((np.abs(profiles) ** 2).sum(axis=0))


def fourier(image: NDArray) -> NDArray[np.complex64]:
    """Centered, orthonormal k-space over the last two axes, the first of them oversampled twice: (..., 2 H, W)."""
    rows = image.shape[-2]
    before = (2 * rows - rows) // 2
    padded = np.pad(image, [(0, 0)] * (image.ndim - 2) + [(before, rows - before), (0, 0)])
    shifted = np.fft.fft2(np.fft.ifftshift(padded, axes=(-2, -1)), norm="ortho")
    return np.fft.fftshift(shifted, axes=(-2, -1)).astype(np.complex64)


def header(shape: tuple[int, int], spacing: tuple[float, float, float]) -> bytes:
    """The part of an ISMRMRD header that readers of fastMRI use: matrix and field of view along H (x), W (y) and
    across the slice (z); ``spacing`` is in that order, in mm.
    """
    rows, columns = shape
    spaces = {"encoded": _space(2 * rows, columns, spacing), "recon": _space(rows, columns, spacing)}
    return HEADER.format(**spaces, last=columns - 1, center=columns // 2).encode()


def _space(x: int, y: int, spacing: tuple[float, float, float]) -> str:
    extent = f"<x>{x * spacing[0]}</x><y>{y * spacing[1]}</y><z>{spacing[2]}</z>"
    matrix = f"<x>{x}</x><y>{y}</y><z>1</z>"
    return f"<matrixSize>{matrix}</matrixSize><fieldOfView_mm>{extent}</fieldOfView_mm>"


def write_scan(
    path: Path,
    images: NDArray[np.float32],
    *,
    spacing: tuple[float, float, float],
    acquisition: str,
    coils: int | None,
    rng: np.random.Generator,
) -> None:
    """Write one file.

    Parameters
    ----------
    images : (S, H, W), at least 0
    spacing : size of a pixel along H and W and distance of the slices in mm
    coils : None writes single-coil k-space (S, 2 H, W), else (S, coils, 2 H, W)
    """
    slices, *shape = images.shape
    size = (shape[0], shape[1])
    weights = np.exp(1j * smooth_phase(size, rng))
    if coils is not None:
        weights = weights * coil_sensitivities(size, coils, rng)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        kspace_shape = (slices, *weights.shape[:-2], 2 * size[0], size[1])
        kspace = file.create_dataset("kspace", kspace_shape, np.complex64)
        for n, image in enumerate(tqdm(images, desc=f"{path.parent.name}/{path.name}", unit="slice", leave=False)):
            kspace[n] = fourier(image * weights)
        file["reconstruction_esc" if coils is None else "reconstruction_rss"] = images
        file["ismrmrd_header"] = header(size, spacing)
        file.attrs.update(
            {
                "max": float(images.max()),
                "norm": float(np.linalg.norm(images)),
                "acquisition": acquisition,
                "patient_id": hashlib.sha256(path.stem.encode()).hexdigest(),  # fastMRI's are hashes too
            }
        )


def phantom_volumes(seed: int, spacing_mm: float) -> Iterator[NamedVolume]:
    """The four sequences of a phantom's head, axial slices SLICE_DISTANCE_MM apart."""
    step = max(1, round(SLICE_DISTANCE_MM / spacing_mm))
    for sequence, volume in make_phantom(seed=seed, spacing_mm=spacing_mm, head=True).volumes.items():
        affine = volume.affine.copy()
        affine[:, 2] *= step
        thinned = type(volume)(np.ascontiguousarray(volume.array[:, :, ::step]), affine)
        yield NamedVolume("phantom", ACQUISITIONS[sequence], thinned)


def convert(volumes: Iterator[NamedVolume], out: Path, *, coils: int, seed: int) -> int:
    """Write both files of every volume; the number of volumes.

    The files are numbered: a folder's name, which may be a patient's, goes nowhere.
    """
    count = 0
    for count, named in enumerate(tqdm(volumes, desc="volumes", unit="volume"), 1):
        images = np.ascontiguousarray(np.maximum(named.volume.array, 0).transpose(2, 1, 0))
        columns, rows, distance = (float(s) for s in named.volume.spacing)
        for kind, number in (("singlecoil", None), ("multicoil", coils)):
            write_scan(
                out / kind / f"scan_{count}.h5",
                images,
                spacing=(rows, columns, distance),
                acquisition=named.sequence,
                coils=number,
                rng=np.random.default_rng([seed, count]),
            )
    return count


def _coordinates(shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows (H, 1) and columns (1, W) from -1 to 1."""
    return np.linspace(-1, 1, shape[0])[:, None], np.linspace(-1, 1, shape[1])[None]


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and convert; the exit code is 0, or the error's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--dicom", type=Path, metavar="FOLDER", help="MR studies: every volume that Acuity can read")
    source.add_argument("--phantom", action="store_true", help="a synthetic head with a tumor, four sequences")
    parser.add_argument("out", type=Path, help="folder for the files; must not exist or be empty")
    parser.add_argument("--coils", type=int, default=4, help="coils of the multi-coil files; default 4")
    parser.add_argument("--seed", type=int, default=0, help="of phantom, phase and sensitivities; default 0")
    parser.add_argument(
        "--spacing", type=float, default=1.0, metavar="MM", help="voxel size of the phantom in mm; default 1"
    )
    options = parser.parse_args(arguments)
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        parser.error(f"{options.out} is not an empty folder: name a new one")
    if options.out.resolve().is_relative_to(REPOSITORY):
        parser.error(f"{options.out} lies in the repository, where no images belong: name a folder outside it")
    if options.coils < 1 or options.spacing <= 0:
        parser.error("--coils must be at least 1, and --spacing above 0")
    volumes = phantom_volumes(options.seed, options.spacing) if options.phantom else read_dicom(options.dicom)
    try:
        count = convert(volumes, options.out, coils=options.coils, seed=options.seed)
    except AcuityError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{count} single-coil and {count} multi-coil scans in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
