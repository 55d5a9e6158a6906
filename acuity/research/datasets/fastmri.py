"""fastMRI files: their reconstructed slices, or slices reconstructed here from k-space.

The format is the one of Zbontar et al., "fastMRI: An Open Dataset and Benchmarks for Accelerated MRI"
(arXiv:1811.08839): one HDF5 file a scan, with ``kspace``, ``reconstruction_esc`` (single-coil) or
``reconstruction_rss`` (root-sum-of-squares over the coils) and ``ismrmrd_header``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np
from numpy.typing import NDArray

from acuity.errors import DataError

_NAMESPACE = "{http://www.ismrm.org/ISMRMRD}"
_REMEDY = "Download the scan again, or leave it out."


@dataclass(frozen=True)
class FastMRIScan:
    """A scan.

    Parameters
    ----------
    images : float32 (S, H, W), magnitudes in the file's own unit; H is the readout
    spacing : size of a pixel along H and W in mm
    acquisition : fastMRI's name of the protocol, e.g. CORPD_FBK or AXT2; "" if the file gives none
    """

    images: NDArray[np.float32]
    spacing: tuple[float, float]
    acquisition: str


def inverse_fourier(kspace: NDArray) -> NDArray:
    """Centered, orthonormal inverse Fourier transform over the last two axes: zero frequency and origin at n // 2."""
    shifted = np.fft.ifftshift(kspace, axes=(-2, -1))
    return np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(-2, -1))


def center_crop(image: NDArray, size: tuple[int, int]) -> NDArray:
    """The middle of the last two axes, of ``size`` or smaller where the image is smaller."""
    rows, columns = ((n - min(n, m)) // 2 for n, m in zip(image.shape[-2:], size, strict=True))
    return image[..., rows : rows + size[0], columns : columns + size[1]]


def reconstruct(kspace: NDArray, size: tuple[int, int]) -> NDArray[np.float32]:
    """The magnitude image of one slice's fully sampled k-space.

    Parameters
    ----------
    kspace : complex (H, W), or (C, H, W) of several coils, which are combined by root-sum-of-squares
    size : rows and columns of the result. It is cropped from the center, which removes the readout's oversampling
        (320 x 320 in the published files)
    """
    magnitude = np.abs(center_crop(inverse_fourier(kspace), size))
    if magnitude.ndim == 3:
        magnitude = np.sqrt((magnitude**2).sum(axis=0))
    return magnitude.astype(np.float32)


def read_scan(path: Path) -> FastMRIScan:
    """Read a file: the stored reconstruction that belongs to its k-space, else one made from k-space.

    ``reconstruction_esc`` belongs to single-coil k-space (S, H, W), ``reconstruction_rss`` to multi-coil k-space
    (S, C, H, W). A file without k-space may hold either.

    Raises
    ------
    DataError : not an HDF5 file; neither k-space nor reconstruction; only undersampled k-space (the challenge's files,
        which hold a ``mask``); other axes or numbers of slices than the format has; values that are not finite; a
        header that is absent or gives no matrix and field of view
    """
    try:
        with h5py.File(path, "r") as file:
            matrix, spacing = _reconstruction_space(_header(file, path), path)
            images = _images(file, matrix, path)
            return FastMRIScan(images, spacing, str(file.attrs.get("acquisition", "")))
    except OSError as error:
        raise DataError(
            f"{path.name} cannot be read as HDF5.", rule="A fastMRI scan is one HDF5 file.", remedy=_REMEDY
        ) from error


def _images(file: h5py.File, matrix: tuple[int, int], path: Path) -> NDArray[np.float32]:
    kspace = file.get("kspace")
    if kspace is None:
        name = "reconstruction_rss" if "reconstruction_rss" in file else "reconstruction_esc"
    elif kspace.ndim in (3, 4) and kspace.dtype.kind == "c":
        name = "reconstruction_esc" if kspace.ndim == 3 else "reconstruction_rss"
    else:
        raise _fault(
            path,
            f"kspace has shape {kspace.shape} and type {kspace.dtype}",
            "It is complex, (slices, H, W) or (slices, coils, H, W).",
        )
    stored = file.get(name)
    if stored is None and kspace is None:
        raise _fault(path, f"it holds {sorted(file) or 'nothing'}", "A scan holds kspace or a reconstruction.")
    if stored is None and "mask" in file:
        raise _fault(
            path,
            f"its k-space is undersampled (it holds a mask), and {name} is absent",
            "Only a fully sampled slice is a truth for super-resolution.",
        )
    if stored is None:
        images = np.stack([reconstruct(kspace[n], matrix) for n in range(kspace.shape[0])])
    else:
        images = stored[()].astype(np.float32)
    if images.ndim != 3 or (kspace is not None and images.shape[0] != kspace.shape[0]):
        raise _fault(
            path,
            f"{name} has shape {images.shape} beside {'no' if kspace is None else kspace.shape[0]} slices of k-space",
            "A reconstruction is (slices, H, W), with k-space's slices.",
        )
    if not np.isfinite(images).all():
        raise _fault(path, "its images hold values that are not finite", "Every pixel is a number.")
    return images


def _header(file: h5py.File, path: Path) -> bytes:
    header = file.get("ismrmrd_header")
    if header is None:
        raise _fault(path, "ismrmrd_header is absent", "It gives the size of a pixel.")
    value = header[()]
    return value if isinstance(value, bytes) else str(value).encode()


def _reconstruction_space(header: bytes, path: Path) -> tuple[tuple[int, int], tuple[float, float]]:
    """Matrix and pixel size in mm along H (the header's x) and W (its y)."""
    rule = "It holds encoding/reconSpace with matrixSize and fieldOfView_mm, all above 0."
    # An ISMRMRD header declares no entities. One that does is refused, so that nothing is ever expanded or fetched.
    if b"<!DOCTYPE" in header or b"<!ENTITY" in header:
        raise _fault(path, "its ISMRMRD header declares a document type", "An ISMRMRD header is plain XML.")
    try:
        space = ElementTree.fromstring(header).find(f"{_NAMESPACE}encoding/{_NAMESPACE}reconSpace")
    except ElementTree.ParseError as error:
        raise _fault(path, "its ISMRMRD header is not XML", rule) from error
    matrix: list[int] = []
    field_of_view: list[float] = []
    for axis in "xy":
        try:
            matrix.append(int(_text(space, "matrixSize", axis)))
            field_of_view.append(float(_text(space, "fieldOfView_mm", axis)))
        except ValueError as error:
            raise _fault(path, f"its ISMRMRD header has no number for reconSpace along {axis}", rule) from error
    if min(matrix) <= 0 or not min(field_of_view) > 0:
        raise _fault(path, f"its ISMRMRD header gives a matrix of {matrix} over {field_of_view} mm", rule)
    rows, columns = (extent / n for extent, n in zip(field_of_view, matrix, strict=True))
    return (matrix[0], matrix[1]), (rows, columns)


def _text(space: ElementTree.Element | None, group: str, axis: str) -> str:
    return "" if space is None else space.findtext(f"{_NAMESPACE}{group}/{_NAMESPACE}{axis}", "")


def _fault(path: Path, found: str, rule: str) -> DataError:
    return DataError(f"{path.name}: {found}.", rule=rule, remedy=_REMEDY)
