"""Uploads: every form that viewers write is read, nothing beyond the file is, and no upload costs much memory."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import pytest

from acuity.anatomy import SEGMENTS
from acuity.errors import DataError
from acuity.volume import RAS_LPS, Volume
from label.masks import read_upload, write_mask
from label.request import Segment
from label.uploads import EXTENSIONS, check_finite, received
from tests.label_cases import GRID, draw, speckle
from tests.study_phantom import oblique_grid

LABELS = speckle(GRID)
SECRET = b"TOP-SECRET" * 20
_MOST_MEMORY = 64 << 20


def nifti(path: Path, kind: type = nib.Nifti1Image, array: Any = LABELS, **changes: Any) -> Path:
    image = kind(array, RAS_LPS @ GRID.affine)
    for key, value in changes.items():
        image.header[key] = value
    nib.save(image, path)
    return path


def nrrd_bytes(*fields: str, sizes: str = "3 3 3", encoding: str = "raw", data: bytes = bytes(27)) -> bytes:
    """An NRRD file by hand, with further fields."""
    lines = [
        "NRRD0005",
        "type: uint8",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {sizes}",
        "space directions: (1,0,0) (0,1,0) (0,0,1)",
        "space origin: (0,0,0)",
        f"encoding: {encoding}",
        *fields,
    ]
    return "\n".join([*lines, "", ""]).encode() + data


def scaled(path: Path) -> Path:
    content = bytearray(nifti(path, array=LABELS.astype(np.int16) * 2).read_bytes())
    content[112:116] = np.float32(0.5).tobytes()  # scl_slope
    path.write_bytes(content)
    return path


def by_itk(extension: str, folder: Path) -> str:
    return draw(folder / f"x{extension}", LABELS, GRID)


def by_pynrrd(path: Path) -> Path:
    to_ras = np.diag([-1.0, -1, 1, 1]) @ GRID.affine
    header = {"space": "RAS", "space directions": to_ras[:3, :3].T, "space origin": to_ras[:3, 3]}
    nrrd.write(str(path), LABELS.astype(">i4"), header)
    return path


WRITERS: dict[str, Callable[[Path], Any]] = {
    **{f"ITK {one}": partial(by_itk, one) for one in EXTENSIONS},
    "NIfTI-2": lambda folder: nifti(folder / "x.nii.gz", nib.Nifti2Image),
    "doubles": lambda folder: nifti(folder / "x.nii", array=LABELS.astype(np.float64)),
    "big-endian": lambda folder: nifti(folder / "x.nii.gz", array=LABELS.astype(">i2")),
    "a fourth axis of one": lambda folder: nifti(folder / "x.nii.gz", array=LABELS[..., None]),
    "scaled": lambda folder: scaled(folder / "x.nii"),
    "pynrrd in RAS": lambda folder: by_pynrrd(folder / "x.nrrd"),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_labels_of_every_writer_are_read_voxel_by_voxel(tmp_path: Path, write: Callable[[Path], Any]) -> None:
    np.testing.assert_array_equal(read_upload(Path(write(tmp_path)), [], GRID).array, LABELS)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_what_the_server_gives_out_it_takes_back(extension: str) -> None:
    path = write_mask(Volume(LABELS, GRID.affine), extension)
    try:
        np.testing.assert_array_equal(read_upload(path, [], GRID).array, LABELS)
    finally:
        path.unlink()


def closed_files(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Names and contents of uploads that must not be read; the secret lies beside them."""
    secret = folder / "secret"
    secret.write_bytes(SECRET)
    pair = bytearray(nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4)).to_bytes())
    pair[344:348] = b"ni1\0"
    far = bytearray(nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4)).to_bytes())
    far[108:112] = np.float32(2e9).tobytes()
    numbers = nib.Nifti1Image(np.array([[[1, np.nan]]], np.float32), np.eye(4)).to_bytes()
    endless = nib.Nifti1Image(np.array([[[1, np.inf]]], np.float64), np.eye(4)).to_bytes()
    fields = {
        name: ("x.nrrd", nrrd_bytes(name, data=b""))
        for name in (
            f"data file: {secret}",
            f"datafile: {secret}",
            f"Data File: {secret}",
            f"DATAFILE:{secret}",
            "data file: secret",
            "data file: LIST\nsecret",
            "data file: %d 1 2 1",
        )
    }
    return fields | {
        "byte skip": ("x.nrrd", nrrd_bytes("byte skip: -1")),
        "line skip": ("x.nrrd", nrrd_bytes("line skip: 1000000000")),
        "text": ("x.nrrd", nrrd_bytes(encoding="ascii")),
        "bzip2": ("x.nrrd", nrrd_bytes(encoding="bzip2")),
        "no space": ("x.nrrd", nrrd_bytes().replace(b"left-posterior-superior", b"scanner-xyz")),
        "endless header": ("x.nrrd", b"NRRD0005\n" + b"# \n" * (1 << 20)),
        "one endless line": ("x.nrrd", b"NRRD0005\nx:=" + bytes(4 << 20)),
        "too short NRRD": ("x.nrrd", nrrd_bytes(data=bytes(26))),
        "NRRD of NaN places": ("x.nrrd", nrrd_bytes().replace(b"(0,0,0)", b"(nan,0,0)")),
        "a pair": ("x.nii", bytes(pair)),
        "voxels far away": ("x.nii.gz", gzip.compress(bytes(far))),
        "too short NIfTI": ("x.nii", bytes(far)[:300]),
        "no NIfTI": ("x.nii.gz", gzip.compress(SECRET)),
        "half a gzip": ("x.nii.gz", gzip.compress(numbers)[:-20]),
        "NaN": ("x.nii.gz", gzip.compress(numbers)),
        "infinite": ("x.nii", endless),
        "empty": ("x.nii.gz", b""),
        "MetaImage": ("x.mha", b"ElementDataFile = secret\n"),
    }


@pytest.mark.parametrize("case", closed_files(Path("/tmp")))
def test_nothing_beyond_the_file_is_read(tmp_path: Path, case: str) -> None:
    found = {name.replace(str(tmp_path), "/tmp"): file for name, file in closed_files(tmp_path).items()}
    name, content = found[case]
    (tmp_path / name).write_bytes(content)
    names = [Segment(name=spec.name, idx=n) for n in range(1, 256) for spec in SEGMENTS[:1]]  # whatever it holds
    with pytest.raises(DataError) as refusal:
        read_upload(tmp_path / name, names, GRID)
    assert str(SECRET[0]) not in refusal.value.found and "TOP" not in str(refusal.value)


@pytest.mark.parametrize("case", ["NaN", "infinite", "half a gzip", "a pair", "voxels far away"])
def test_an_image_is_checked_to_its_end(tmp_path: Path, case: str) -> None:
    name, content = closed_files(tmp_path)[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as one volume"):
        check_finite(tmp_path / name)


def zeros(count: int) -> bytes:
    """``count`` zeros, packed, without ever holding them."""
    target = io.BytesIO()
    with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=1) as packed:
        for _ in range(count >> 20):
            packed.write(bytes(1 << 20))
    return target.getvalue()


def bombs() -> dict[str, tuple[str, bytes]]:
    packed = zeros(1 << 29)
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((1000, 1000, 1000))
    header["vox_offset"] = 352
    big = gzip.compress(header.binaryblock + bytes(4)) + packed
    return {
        "many voxels": ("x.nii.gz", big),
        "many voxels of an NRRD": ("x.nrrd", nrrd_bytes(sizes="1000 1000 1000", encoding="gzip", data=packed)),
        "sizes that overflow": ("x.nrrd", nrrd_bytes(sizes="4294967296 4294967296 2", encoding="gzip", data=packed)),
        "a long tail": ("x.nrrd", nrrd_bytes(encoding="gzip", data=packed)),
    }


@pytest.mark.parametrize("case", ["many voxels", "many voxels of an NRRD", "sizes that overflow", "a long tail"])
def test_a_small_file_costs_little_memory(tmp_path: Path, case: str) -> None:
    """512 MiB of zeros in half a MiB, and a header that asks for up to as much."""
    name, content = bombs()[case]
    (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            read_upload(tmp_path / name, [], GRID)
        assert tracemalloc.get_traced_memory()[1] < _MOST_MEMORY
    finally:
        tracemalloc.stop()


def test_a_whole_label_map_costs_little_more_than_its_image(tmp_path: Path) -> None:
    grid = oblique_grid((1.0, 1.0, 1.0))
    path = draw(tmp_path / "x.nii.gz", np.ones(grid.shape, np.uint8), grid)
    tracemalloc.start()
    try:
        assert read_upload(Path(path), [], grid).array.all()
        assert tracemalloc.get_traced_memory()[1] < 4 * np.prod(grid.shape) + (8 << 20)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, extension: str) -> None:
    """One byte is another, and some of the end are lost."""
    rng = np.random.default_rng(0)
    whole = Path(draw(tmp_path / f"x{extension}", np.zeros((4, 3, 2), np.uint8), GRID)).read_bytes()
    damaged = tmp_path / f"damaged{extension}"
    for _ in range(300):
        content = bytearray(whole)
        content[rng.integers(len(content))] = rng.integers(256)
        damaged.write_bytes(content[: len(content) - rng.integers(2) * rng.integers(len(content))])
        try:
            read_upload(damaged, [], GRID)
        except DataError as refusal:
            assert refusal.remedy


@pytest.mark.parametrize("name", ["x.exe", "", None, "x.nii.gz.sh", "x.mha", "../../x"])
def test_other_files_are_not_received(name: str | None) -> None:
    with pytest.raises(DataError, match="another extension"), received(io.BytesIO(b""), name):
        pass


def test_what_is_received_is_private_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(KeyError), received(io.BytesIO(b"abc"), "/etc/../x.NII.GZ") as path:
        assert path.read_bytes() == b"abc"
        assert path.parent.parent == tmp_path and path.parent.stat().st_mode & 0o77 == 0
        raise KeyError
    assert not list(tmp_path.iterdir())
