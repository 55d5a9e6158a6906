"""Results on disk, each marked with what it was made from, so that a run that was cut goes on where it ended."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Seq
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from acuity.errors import OutputError
from acuity.volume import RAS_LPS, Volume

MADE_FROM = "made_from"  # the column of marks

Key = tuple[str, ...]
Row = dict[str, Any]


class Store:
    """The tables of an evaluation; of each result that ``keys`` name a table has one or more rows.

    Parameters
    ----------
    folder : made where it does not exist; what an earlier run left there is kept
    keys : columns, as text
    tables : names of the CSV files

    Raises
    ------
    OutputError : the folder cannot be made
    """

    def __init__(self, folder: Path, keys: Seq[str], tables: Seq[str]) -> None:
        make_folder(folder)
        self.folder, self._keys = folder, list(keys)
        self._rows: dict[str, dict[Key, list[Row]]] = {}
        for name in tables:
            groups = self._rows[name] = {}
            for row in self.read(name).to_dict("records"):
                groups.setdefault(tuple(row[column] for column in keys), []).append(row)

    def path(self, table: str) -> Path:
        """The CSV file of a table."""
        return self.folder / f"{table}.csv"

    def holds(self, key: Key, mark: str, files: Iterable[Path] = ()) -> bool:
        """Whether all tables have rows of ``key``, and these and all files are marked with ``mark``."""
        rows = [groups.get(key) or [{MADE_FROM: None}] for groups in self._rows.values()]
        marks = [row[MADE_FROM] for group in rows for row in group] + [file_mark(path) for path in files]
        return all(found == mark for found in marks)

    def keep(self, key: Key, mark: str, **tables: Seq[Row]) -> None:
        """Put rows, which lack the keys and the mark, in the place of those of ``key``."""
        for name, rows in tables.items():
            named = dict(zip(self._keys, key, strict=True))
            self._rows[name][key] = [{**named, **row, MADE_FROM: mark} for row in rows]

    def write(self) -> None:
        """Write all tables."""
        for name, groups in self._rows.items():
            write_table(pd.DataFrame([row for rows in groups.values() for row in rows]), self.path(name))

    def read(self, table: str) -> pd.DataFrame:
        """A table as it is written, so that a run in one go and one that was resumed give the same."""
        return read_table(self.path(table), text=[*self._keys, MADE_FROM])

    def write_settings(self, settings: Mapping[str, Any], *, united: Seq[str]) -> dict[str, Any]:
        """Write ``settings.json``, to whose entries ``united``, mappings, those of earlier runs are added."""
        path = self.folder / "settings.json"
        earlier = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        found = {name: earlier.get(name, {}) | value if name in united else value for name, value in settings.items()}
        write_text(json.dumps(found, indent=2) + "\n", path)
        return found


def fingerprint(*parts: object) -> str:
    """Twelve hexadecimal digits of the SHA-256 of what can be written as JSON: a mark."""
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


def read_table(path: Path, *, text: Seq[str]) -> pd.DataFrame:
    """A CSV; empty where there is no file. Empty values are NaN, but in the columns ``text``."""
    if not path.is_file():
        return pd.DataFrame()
    # A case may be named 0012, and a mark look like 12e4567890.
    return pd.read_csv(path, converters=dict.fromkeys(text, str), keep_default_na=False, na_values=[""])


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a CSV (RFC 4180: lines end in CR LF), numbers with six digits, NaN as empty."""
    _replace(path, lambda partial: table.to_csv(partial, index=False, float_format="%.6g", lineterminator="\r\n"))


def write_text(text: str, path: Path) -> None:
    """Write a text file."""
    _replace(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def save_volume(array: NDArray, affine_lps: NDArray, path: Path, mark: str) -> None:
    """Write NIfTI, ``mark`` in its header: uint8 (labels) as it is, all else as float32."""
    dtype = np.uint8 if array.dtype == np.uint8 else np.float32
    image = nib.Nifti1Image(np.asarray(array, dtype=dtype), RAS_LPS @ affine_lps)
    image.header["descrip"] = mark.encode()
    _replace(path, lambda partial: nib.save(image, partial))


def save_arrays(arrays: Mapping[str, NDArray], path: Path, mark: str) -> None:
    """Write arrays by name, and ``mark``, as NPZ."""
    _replace(path, lambda partial: np.savez_compressed(partial, allow_pickle=False, mark=np.array(mark), **arrays))


def read_arrays(path: Path) -> dict[str, NDArray]:
    """What ``save_arrays`` wrote."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files if name != "mark"}


def file_mark(path: Path) -> str | None:
    """The mark of a file of ``save_volume`` or ``save_arrays``; None where there is no file."""
    if not path.is_file():
        return None
    if path.suffix == ".npz":
        with np.load(path) as file:
            return str(file["mark"])
    return str(nib.load(path).header["descrip"].item().decode())


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file that a cut cannot leave half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"partial-{path.name}")
    write(partial)
    os.replace(partial, path)
