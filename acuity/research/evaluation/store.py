"""What an evaluation leaves, each marked with what it was made from, so that a later run can tell what is current."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from acuity.errors import OutputError
from acuity.research.evaluation.tables import Row, write_csv
from acuity.volume import RAS_LPS, Volume


def fingerprint(*parts: object) -> str:
    """Twelve hexadecimal digits of the SHA-256 of what can be written as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def volume_sha256(volume: Volume) -> str:
    """Hash of the voxels and where they lie."""
    digest = hashlib.sha256(np.ascontiguousarray(volume.array).tobytes())
    digest.update(np.ascontiguousarray(volume.affine).tobytes())
    return digest.hexdigest()


def files_sha256(paths: Iterable[Path]) -> str:
    """Hash of the bytes of files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def make_folder(path: Path) -> None:
    """Make a folder, or raise OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be made a folder ({error.strerror}).",
            rule="Results go to a folder that exists or can be made.",
            remedy="Name another folder.",
        ) from error


def read_rows(path: Path) -> list[Row]:
    """Rows of a CSV, values as text; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [dict(row) for row in csv.DictReader(file)]


def read_settings(path: Path) -> dict:
    """The settings of an earlier run; empty where there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_rows(rows: Iterable[Row], path: Path) -> None:
    """Write a CSV that a cut cannot leave half-written."""
    partial = _partial(path)
    write_csv(list(rows), partial)
    os.replace(partial, path)


def write_text(text: str, path: Path) -> None:
    """Write a text that a cut cannot leave half-written."""
    partial = _partial(path)
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def save_volume(array: NDArray, affine_lps: NDArray, path: Path, mark: str) -> None:
    """Write NIfTI, ``mark`` in its header: uint8 (labels) as it is, all else as float32."""
    dtype = np.uint8 if array.dtype == np.uint8 else np.float32
    image = nib.Nifti1Image(np.asarray(array, dtype=dtype), RAS_LPS @ affine_lps)
    image.header["descrip"] = mark.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, _partial(path))
    os.replace(_partial(path), path)


def volume_mark(path: Path) -> str | None:
    """The mark of a NIfTI file; None where there is no file."""
    return str(nib.load(path).header["descrip"].item().decode()) if path.is_file() else None


def save_slices(slices: Mapping[str, NDArray[np.float32]], path: Path, mark: str) -> None:
    """Write slices (H, W) by name, and ``mark``, as NPZ."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _partial(path).open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, mark=np.array(mark), **slices)
    os.replace(_partial(path), path)


def read_slices(path: Path) -> tuple[dict[str, NDArray[np.float32]], str | None]:
    """What ``save_slices`` wrote; nothing and None where there is no file."""
    if not path.is_file():
        return {}, None
    with np.load(path) as file:
        slices = {name: file[name] for name in file.files}
    return slices, str(slices.pop("mark"))


def _partial(path: Path) -> Path:
    return path.with_name(f"partial-{path.name}")
