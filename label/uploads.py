"""The one reader of images that clients upload: bounded before it decodes, and never beyond the file itself.

Libraries read the headers (nibabel, pynrrd). Their readers of data are not used: both NRRD and NIfTI can name another
file that holds the voxels, and both decode as much as a header asks for.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import nrrd
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from nrrd.errors import NRRDError
from numpy.typing import NDArray

from acuity.errors import DataError
from acuity.volume import RAS_LPS

EXTENSIONS = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd")
MOST_VOXELS = 1 << 27
"""Of an image that no other bounds: 512 x 512 x 512."""

_MOST_HEADER = 1 << 20  # bytes; 3D Slicer writes about 10 KiB
# All that 3D Slicer, ITK and pynrrd write into an NRRD header, and nothing that names another file ("data file").
_NRRD_FIELDS = {
    "content",
    "dimension",
    "encoding",
    "endian",
    "kinds",
    "measurement frame",
    "sizes",
    "space",
    "space dimension",
    "space directions",
    "space origin",
    "space units",
    "type",
    "units",
}
# What turns a space of NRRD into LPS.
_NRRD_SPACES = {
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
_NIFTI = ((344, b"n+1\0", nib.Nifti1Header, 348), (4, b"n+2\0\r\n\x1a\n", nib.Nifti2Header, 540))
_FAULTS = (
    HeaderDataError,
    WrapStructError,
    NRRDError,
    OSError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    zlib.error,
)


class _RefusedError(ValueError):
    """A sentence on what an upload holds that it must not."""


@dataclass(frozen=True)
class _Header:
    """What is known of an image before its voxels are decoded; the affine is LPS mm."""

    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    dtype: np.dtype[Any]
    scale: tuple[float, float] | None = None  # slope and intercept


@dataclass(frozen=True)
class Upload:
    """An uploaded image whose header is sound.

    Parameters
    ----------
    shape : of three axes
    affine : LPS mm, as a ``Grid`` has it
    slices : of shape[:2], along the third axis; reading them raises ``DataError`` where the file ends too early
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    slices: Iterator[NDArray[Any]]


@contextmanager
def open_upload(path: Path, most_voxels: int = MOST_VOXELS) -> Iterator[Upload]:
    """Open an uploaded image: NIfTI or NRRD in one file.

    Parameters
    ----------
    path : ends with one of ``EXTENSIONS``
    most_voxels : that the image may have

    Raises
    ------
    DataError : the file is none of these, has more voxels, or its header is not sound
    """
    with ExitStack() as closing:
        try:
            file = closing.enter_context(path.open("rb"))
            header, stream = _open_nrrd(file) if path.name.endswith(".nrrd") else _open_nifti(file)
            shape = _checked(header, most_voxels)
        except _RefusedError as error:
            raise _unfit(str(error)) from None
        except _FAULTS as error:
            raise _unfit(f"It cannot be read ({type(error).__name__}).") from error
        yield Upload(shape, header.affine, _slices(header, shape, stream))


@contextmanager
def received(source: BinaryIO, name: str | None) -> Iterator[Path]:
    """An upload as a file in a folder that only this user can read, and that is gone in the end.

    Parameters
    ----------
    name : the client's; only its extension counts

    Raises
    ------
    DataError : the extension is none of ``EXTENSIONS``
    """
    extension = next((one for one in EXTENSIONS if (name or "").lower().endswith(one)), None)
    if extension is None:
        raise _unfit("Its name has another extension.")
    with tempfile.TemporaryDirectory(prefix="acuity-") as folder:
        path = Path(folder) / f"upload{extension}"
        with path.open("xb") as file:
            shutil.copyfileobj(source, file)
        yield path


def check_finite(path: Path) -> None:
    """Read an uploaded image to its end; DataError where it is not whole, or a value is no finite number."""
    with open_upload(path) as upload:
        for values in upload.slices:
            if not np.isfinite(values).all():
                raise _unfit("It holds values that are no finite numbers.")


def _checked(header: _Header, most_voxels: int) -> tuple[int, int, int]:
    i, j, k, *more = (*header.shape, 1, 1, 1)[: max(3, len(header.shape))]
    voxels = i * j * k  # Python's numbers do not overflow
    if len(header.shape) < 3 or any(size != 1 for size in more) or min(i, j, k) < 1:
        raise _RefusedError("It has another number of axes than three.")
    if voxels > most_voxels:
        raise _RefusedError(f"It has {voxels} voxels, and {most_voxels} are the most that fit the image.")
    if header.dtype.kind not in "iuf" or header.dtype.itemsize > 8:
        raise _RefusedError("Its voxels are no single numbers of at most 64 bits.")
    if not np.isfinite(header.affine).all() or abs(np.linalg.det(header.affine)) < 1e-9:
        raise _RefusedError("Its voxels have no place in space.")
    return i, j, k


def _open_nifti(file: BinaryIO) -> tuple[_Header, BinaryIO | gzip.GzipFile]:
    stream = _unpacked(file)
    start = stream.read(max(size for *_, size in _NIFTI))
    for place, magic, kind, size in _NIFTI:
        if start[place : place + len(magic)] == magic:
            header = kind(start[:size])
            break
    else:
        raise _RefusedError("It is no NIfTI image in one file.")
    offset = int(header.get_data_offset())
    if not size <= offset <= _MOST_HEADER:
        raise _RefusedError("Its voxels do not begin behind its header.")
    stream.seek(offset)
    slope, intercept = header.get_slope_inter()
    scale = None if slope is None else (float(slope), float(intercept or 0))
    affine = np.asarray(RAS_LPS @ header.get_best_affine(), dtype=np.float64)
    return _Header(tuple(map(int, header.get_data_shape())), affine, header.get_data_dtype(), scale), stream


def _unpacked(file: BinaryIO) -> BinaryIO | gzip.GzipFile:
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if packed else file


def _open_nrrd(file: BinaryIO) -> tuple[_Header, BinaryIO | gzip.GzipFile]:
    lines = []
    while (line := file.readline(_MOST_HEADER)).strip():
        lines.append(line)
        if file.tell() > _MOST_HEADER:
            raise _RefusedError("Its header is too long.")
    # "Key:=value" is text of the writer; fields are "field: value".
    fields = [one for one in lines[1:] if not one.startswith(b"#") and b":=" not in one]
    header = nrrd.read_header([*lines[:1], *fields])
    unknown = [name for name in header if name not in _NRRD_FIELDS]
    if unknown:
        raise _RefusedError(f"Its header has a field that is closed ({unknown[0][:20]!r}).")
    if header["encoding"] not in ("raw", "gzip", "gz"):
        raise _RefusedError("Its voxels are packed in another way than raw or gzip.")
    if header["dimension"] != len(header["sizes"]) or header["dimension"] != 3:
        raise _RefusedError("It has another number of axes than three.")
    signs = _NRRD_SPACES.get(str(header.get("space")).lower())
    if signs is None:
        raise _RefusedError("Its space is none of patients.")
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(header["space directions"], np.float64).T
    affine[:3, 3] = header["space origin"]
    dtype = nrrd.reader._determine_datatype(header)
    stream: BinaryIO | gzip.GzipFile = file if header["encoding"] == "raw" else gzip.GzipFile(fileobj=file)
    return _Header(tuple(map(int, header["sizes"])), np.diag([*signs, 1.0]) @ affine, dtype), stream


def _slices(header: _Header, shape: tuple[int, int, int], stream: BinaryIO | gzip.GzipFile) -> Iterator[NDArray[Any]]:
    size = shape[0] * shape[1] * header.dtype.itemsize
    for _ in range(shape[2]):
        try:
            values = np.frombuffer(stream.read(size), header.dtype)
        except _FAULTS as error:
            raise _unfit(f"It cannot be read ({type(error).__name__}).") from error
        if values.size < shape[0] * shape[1]:
            raise _unfit("It ends before its last voxel.")
        values = values.reshape(shape[:2], order="F")
        yield values if header.scale is None else values * header.scale[0] + header.scale[1]


def _unfit(fault: str) -> DataError:
    return DataError(
        f"The file cannot be read as one volume. {fault}",
        rule=f"It is one whole NIfTI or NRRD file ({', '.join(EXTENSIONS)}) with three axes and one finite value a "
        "voxel, on the grid of the image.",
        remedy="Save it as .nii.gz, a label map on the grid of the image that was opened.",
    )
