"""What scanners, exports, disks and attackers do to a study: seeded mutations of a sound one.

Each takes a study's folder and a generator of random numbers, and changes the folder. What it returns says whether
pixel values of the result may differ: only where the mutation changed stored pixels, which no reader can notice.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import tag_for_keyword

from tests.fuzz import elements as parts
from tests.fuzz.elements import ITEM, ITEM_END, PIXELS, SEQUENCE_END, UNDEFINED, Element, element
from tests.fuzz.studies import LAYOUTS

Random = np.random.Generator
Mutate = Callable[[Path, Random], bool | None]

_EXPLICIT = ("explicit", "one folder", "DICOMDIR", "enhanced", "RLE", "JPEG", "JPEG-LS", "JPEG 2000")
_NATIVE = ("explicit", "one folder", "DICOMDIR", "enhanced")
_COMPRESSED = ("RLE", "JPEG", "JPEG-LS", "JPEG 2000")
_CLASSIC = ("explicit", "one folder", "RLE", "JPEG", "JPEG-LS", "JPEG 2000")

_VALUES = [
    b"",
    b"\x00",
    b"\xff" * 7,
    b"\\" * 40,
    b"nan\\1e999\\-inf",
    b"1.8e308 ",
    b"-1",
    b"99999999999999999999",
    b"20201345256199",
    b"I" * 3000,
    b"A\\B\\C ",
    b"\x1b$B\xff\xfe\x80\\\x00\x07",
    b"\x1b]0;owned\x07\x1b[2J",
    b"../../../etc/passwd",
    "Ωπ漢字".encode(),
    bytes(range(256)),
]
_VRS = [own.encode() for own in sorted({entry[0][:2] for entry in DicomDictionary.values()})] + [b"ZZ", b"\0\0"]


@dataclass(frozen=True)
class Mutation:
    """A kind of mutation, and the layouts of a study that it fits."""

    name: str
    mutate: Mutate
    layouts: tuple[str, ...]
    slow: bool = False


MUTATIONS: list[Mutation] = []


def mutation(layouts: Collection[str] = LAYOUTS, *, slow: bool = False) -> Callable[[Mutate], Mutate]:
    """Add a function to ``MUTATIONS`` under its own name; ``slow`` takes seconds."""

    def add(function: Mutate) -> Mutate:
        MUTATIONS.append(Mutation(function.__name__.replace("_", " "), function, tuple(layouts), slow))
        return function

    return add


def images(folder: Path) -> list[Path]:
    """The image files of a study."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink() and p.name != "DICOMDIR")


def some(rng: Random, items: Collection[Path]) -> Path:
    """One of several paths."""
    return sorted(items)[int(rng.integers(len(items)))]


def siblings(path: Path) -> list[Path]:
    """The images of the same series; all are named after it."""
    return sorted(p for p in path.parent.iterdir() if p.name.partition("_")[0] == path.name.partition("_")[0])


def one_or_all(rng: Random, folder: Path) -> list[Path]:
    """One image, or all of its series."""
    path = some(rng, images(folder))
    return [path] if rng.random() < 0.6 else siblings(path)


def change(path: Path, edit: Callable[[list[Element]], list[Element]]) -> None:
    """Edit the elements of a file."""
    before, found = parts.read(path)
    parts.write(path, before, edit(found))


def put(path: Path, *new: Element) -> None:
    """Set elements, in the place that their tags have."""
    tags = {e.tag for e in new}
    change(path, lambda found: sorted([e for e in found if e.tag not in tags] + list(new), key=lambda e: e.tag))


def header_length(path: Path) -> int:
    """How many bytes come before the pixels, as far as that can be told."""
    data = path.read_bytes()
    for mark in (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"):
        if (place := data.rfind(mark)) > 0:
            return place
    return len(data)


def flip(path: Path, rng: Random, count: int, start: int, end: int) -> None:
    """Give ``count`` bytes of a file other values."""
    data = bytearray(path.read_bytes())
    for place in rng.integers(start, end, count):
        data[place] ^= int(rng.integers(1, 256))
    path.write_bytes(bytes(data))


@mutation([layout for layout in LAYOUTS if layout != "enhanced"])
def bytes_of_a_header_flipped(folder: Path, rng: Random) -> None:
    path = some(rng, images(folder))
    flip(path, rng, int(rng.choice([1, 1, 3, 40])), 128, header_length(path))


@mutation(["enhanced"])
def many_bytes_of_an_enhanced_header_flipped(folder: Path, rng: Random) -> None:
    """So many that it cannot be another sound header; of one that is, no reader could tell."""
    path = some(rng, images(folder))
    flip(path, rng, 300, parts.start_of(path.read_bytes()), header_length(path))


@mutation()
def bytes_of_pixels_flipped(folder: Path, rng: Random) -> bool:
    path = some(rng, images(folder))
    flip(
        path,
        rng,
        int(rng.choice([1, 30])),
        min(header_length(path) + 12, path.stat().st_size - 64),
        path.stat().st_size,
    )
    return True


@mutation()
def a_file_cut_short(folder: Path, rng: Random) -> None:
    path = some(rng, images(folder))
    parts_left = rng.choice([0.0, rng.random(), rng.random(), 1.0])
    size = min(int(path.stat().st_size * parts_left), path.stat().st_size - 1)
    os.truncate(path, size)


@mutation()
def a_series_cut_short(folder: Path, rng: Random) -> None:
    for path in siblings(some(rng, images(folder))):
        os.truncate(path, int(path.stat().st_size * rng.random()))


@mutation()
def bytes_inserted(folder: Path, rng: Random) -> None:
    path = some(rng, images(folder))
    data, count = path.read_bytes(), int(rng.choice([1, 2, 8, 300]))
    end = len(data) if rng.random() < 0.5 else header_length(path)
    place = int(rng.integers(128, end))
    path.write_bytes(data[:place] + rng.bytes(count) + data[place:])


@mutation()
def bytes_lost(folder: Path, rng: Random) -> None:
    path = some(rng, images(folder))
    data = path.read_bytes()
    place = int(rng.integers(128, len(data)))
    path.write_bytes(data[:place] + data[place + int(rng.choice([1, 2, 8, 300])) :])


@mutation()
def garbage_behind_the_pixels(folder: Path, rng: Random) -> None:
    for path in one_or_all(rng, folder):
        with path.open("ab") as stream:
            stream.write(bytes(int(rng.choice([1, 4, 12, 5000]))) if rng.random() < 0.5 else rng.bytes(200))


@mutation()
def files_of_noise(folder: Path, rng: Random) -> None:
    path = some(rng, images(folder))
    for number in range(5):
        start = rng.choice(np.array([b"", bytes(128) + b"DICM", b"\x08\x00\x05\x00", b"PK\x03\x04"], dtype=object))
        (path.parent / f"noise{number}").write_bytes(start + rng.bytes(int(rng.integers(0, 2000))))


@mutation(_EXPLICIT)
def an_element_removed(folder: Path, rng: Random) -> None:
    paths = one_or_all(rng, folder)
    tags = [e.tag for e in parts.read(paths[0])[1]]
    gone = set(rng.choice(tags, int(rng.choice([1, 1, 5])), replace=False).tolist())
    for path in paths:
        change(path, lambda found: [e for e in found if e.tag not in gone])


@mutation(_EXPLICIT)
def an_element_doubled(folder: Path, rng: Random) -> None:
    paths = one_or_all(rng, folder)
    before, found = parts.read(paths[0])
    chosen = found[int(rng.integers(len(found) - 1))]
    digits = bytes(byte ^ 1 if chr(byte).isdigit() else byte for byte in chosen.value)
    behind = rng.random() < 0.5
    for path in paths:
        change(path, lambda found: _with_second(found, chosen.holding(digits), behind))


def _with_second(found: list[Element], second: Element, behind: bool) -> list[Element]:
    place = next((n for n, e in enumerate(found) if e.tag == second.tag), 0)
    return [*found[: place + behind], second, *found[place + behind :]]


@mutation(_EXPLICIT)
def elements_in_another_order(folder: Path, rng: Random) -> None:
    for path in one_or_all(rng, folder):
        change(path, lambda found: [found[n] for n in rng.permutation(len(found) - 1)] + found[-1:])


@mutation(_EXPLICIT)
def another_type(folder: Path, rng: Random) -> None:
    paths = one_or_all(rng, folder)
    found = parts.read(paths[0])[1]
    tag, vr = found[int(rng.integers(len(found)))].tag, _VRS[int(rng.integers(len(_VRS)))]
    for path in paths:
        change(path, lambda found: [replace(e, vr=vr) if e.tag == tag else e for e in found])


@mutation(_EXPLICIT)
def an_absurd_value(folder: Path, rng: Random) -> None:
    paths = one_or_all(rng, folder)
    found = parts.read(paths[0])[1][:-1]
    tag, value = found[int(rng.integers(len(found)))].tag, _VALUES[int(rng.integers(len(_VALUES)))]
    for path in paths:
        change(path, lambda found: [e.holding(value) if e.tag == tag else e for e in found])


@mutation(_EXPLICIT)
def an_absurd_value_in_an_element_that_was_absent(folder: Path, rng: Random) -> None:
    """Of any type in twenty elements of the dictionary, but for those that say how pixels are read."""
    spared = {
        tag_for_keyword(k) for k in ("PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept")
    }
    paths = one_or_all(rng, folder)
    present = {e.tag for path in paths for e in parts.read(path)[1]}
    absent = [tag for tag in DicomDictionary if 0x0008 <= tag >> 16 < 0x7FE0 and tag not in present | spared]
    new = []
    for tag in rng.choice(absent, 20, replace=False).tolist():
        vr = DicomDictionary[tag][0].split(" or ")[0] if rng.random() < 0.7 else "SQ"
        value = _VALUES[int(rng.integers(len(_VALUES)))]
        new.append(element(tag, vr if len(vr) == 2 else "LO", value))
    for path in paths:
        put(path, *new)


_NUMBERS = {
    "Rows": ("US", [0, 1, 31, 60000, 65535]),
    "Columns": ("US", [0, 1, 31, 60000, 65535]),
    "BitsAllocated": ("US", [0, 1, 8, 12, 32, 64, 65535]),
    "BitsStored": ("US", [0, 1, 8, 17, 65535]),
    "HighBit": ("US", [0, 16, 65535]),
    "PixelRepresentation": ("US", [2, 65535]),
    "SamplesPerPixel": ("US", [0, 3, 65535]),
}
_TEXTS = {
    "PixelSpacing": [
        b"0\\0 ",
        b"-1\\-1 ",
        b"1e300\\1e300 ",
        b"1e-300\\1e-300 ",
        b"0.0001\\0.0001 ",
        b"600\\600 ",
        b"3.4 ",
        b"nan\\nan ",
    ],
    "ImagePositionPatient": [b"1e300\\0\\0 ", b"nan\\0\\0 ", b"0\\0\\0 ", b"0\\0 ", b"inf\\inf\\inf "],
    "ImageOrientationPatient": [
        b"0\\0\\0\\0\\0\\0 ",
        b"1\\0\\0\\1\\0\\0 ",
        b"nan\\0\\0\\0\\1\\0 ",
        b"1e200\\0\\0\\0\\1e200\\0",
    ],
    "NumberOfFrames": [b"2147483647", b"-1", b"0 ", b"1e9 ", b"11"],
    "RescaleSlope": [b"0 ", b"1e36", b"1e-36 ", b"nan ", b"-1e300"],
    "RescaleIntercept": [b"1e36", b"nan ", b"-1e300"],
    "PixelPaddingValue": [b"nan ", b"a "],
    "ImagesInAcquisition": [b"-5", b"1e300 "],
    "InstanceNumber": [b"1e300 ", b"x "],
    "SeriesNumber": [b"1e300 ", b"nan ", b"99999999999 ", b"-1"],
    "RepetitionTime": [b"1e300 ", b"nan ", b"-1"],
    "SpecificCharacterSet": [
        b"rot13 ",
        b"utf-7 ",
        b"ISO 2022 IR 87\\ISO 2022 IR 149 ",
        b"GB18030 ",
        b"\\" * 200,
        b"hex ",
        b"ISO_IR 999",
    ],
}


@mutation(_EXPLICIT)
def an_absurd_number_where_it_counts(folder: Path, rng: Random) -> None:
    keyword = str(rng.choice([*_NUMBERS, *_TEXTS]))
    tag = tag_for_keyword(keyword)
    assert tag is not None
    if keyword in _NUMBERS:
        vr, numbers = _NUMBERS[keyword]
        value = struct.pack("<H", int(rng.choice(numbers)))
    else:
        vr = "DS" if keyword not in ("NumberOfFrames", "SpecificCharacterSet") else "IS"
        vr = "CS" if keyword == "SpecificCharacterSet" else vr
        value = _TEXTS[keyword][int(rng.integers(len(_TEXTS[keyword])))]
    for path in one_or_all(rng, folder):
        put(path, element(tag, vr, value))


@mutation(_EXPLICIT)
def a_length_that_lies(folder: Path, rng: Random) -> None:
    paths = one_or_all(rng, folder)
    found = parts.read(paths[0])[1]
    tag = found[int(rng.integers(len(found)))].tag
    lie = int(rng.choice([0, 1, 3, 0x7FFFFFFF, 0xFFFFFFFE, UNDEFINED, 0xFFFF, 0x10000]))
    long = rng.random() < 0.4
    for path in paths:
        change(
            path,
            lambda found: [
                replace(e, length=lie, vr=b"UN" if long and e.tag != PIXELS else e.vr) if e.tag == tag else e
                for e in found
            ],
        )


@mutation()
def files_swapped(folder: Path, rng: Random) -> None:
    """Names only: what a file is called does not count."""
    one, two = some(rng, images(folder)), some(rng, images(folder))
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)


@mutation()
def a_file_in_the_place_of_another(folder: Path, rng: Random) -> None:
    one, two = some(rng, images(folder)), some(rng, images(folder))
    one.write_bytes(two.read_bytes())


@mutation()
def copies(folder: Path, rng: Random) -> None:
    path = some(rng, images(folder))
    target = folder / "copy" if rng.random() < 0.5 else path.parent / "copy"
    for file in siblings(path):
        target.mkdir(exist_ok=True)
        shutil.copy(file, target / file.name)


@mutation(_CLASSIC)
def two_images_of_one_uid(folder: Path, rng: Random) -> None:
    one, two = some(rng, images(folder)), some(rng, images(folder))
    uid = next(e for e in parts.read(one)[1] if e.tag == 0x00080018)
    put(two, uid)


@mutation(_EXPLICIT)
def images_of_two_scanners_patients_or_studies(folder: Path, rng: Random) -> None:
    values = {
        "Manufacturer": b"another ",
        "StudyInstanceUID": b"1.2.3.4 ",
        "SeriesInstanceUID": b"1.2.3.5 ",
        "FrameOfReferenceUID": b"1.2.3.6 ",
        "PatientID": b"ANOTHER ",
        "PatientName": b"Another^Person",
        "PatientBirthDate": b"19011231",
        "SOPClassUID": b"1.2.840.10008.5.1.4.1.1.2 ",
        "Modality": b"CT",
        "SeriesNumber": b"77",
    }
    keyword = str(rng.choice(list(values)))
    vr = {"Manufacturer": "LO", "PatientID": "LO", "PatientName": "PN", "PatientBirthDate": "DA", "Modality": "CS"}
    tag = tag_for_keyword(keyword)
    assert tag is not None
    for path in one_or_all(rng, folder):
        put(path, element(tag, vr.get(keyword, "IS" if keyword == "SeriesNumber" else "UI"), values[keyword]))


@mutation(_EXPLICIT)
def another_transfer_syntax_than_it_says(folder: Path, rng: Random) -> None:
    known = ("1.2", "1.2.2", "1.2.1.99", "1.2.4.50", "1.2.5", "1.2.4.90", "1.2.4.201")
    others = [*(f"1.2.840.10008.{syntax}".encode() for syntax in known), b"9.9", b"", b"\xff\xfe", b"1.2\\1.3"]
    value = others[int(rng.integers(len(others)))]
    value += b"\0" * (len(value) % 2)
    for path in one_or_all(rng, folder):
        data = path.read_bytes()
        place = data.index(b"\x02\x00\x10\x00UI")
        length = int.from_bytes(data[place + 6 : place + 8], "little")
        meta = data[144 : parts.start_of(data)]
        at = place - 144
        meta = meta[: at + 6] + struct.pack("<H", len(value)) + value + meta[at + 8 + length :]
        path.write_bytes(data[:140] + struct.pack("<I", len(meta)) + meta + data[parts.start_of(data) :])


@mutation()
def no_preamble_or_no_file_meta_information(folder: Path, rng: Random) -> None:
    for path in one_or_all(rng, folder):
        data = path.read_bytes()
        path.write_bytes(data[132:] if rng.random() < 0.5 else data[parts.start_of(data) :])


@mutation(_EXPLICIT)
def deep_sequences(folder: Path, rng: Random) -> None:
    depth = int(rng.choice([40, 900, 5000, 30000]))
    tag = int(rng.choice([0x00081140, 0x00091001, 0x52009229, 0x00400275, 0x00180012]))
    start = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + b"SQ" + struct.pack("<2xI", UNDEFINED)
    inner = (start + ITEM + struct.pack("<I", UNDEFINED)) * depth + (ITEM_END + SEQUENCE_END) * depth
    if rng.random() < 0.4:  # of defined length, which are parsed when they are asked for
        inner = b""
        for _ in range(min(depth, 900)):
            inner = ITEM + struct.pack("<I", len(inner)) + inner
            inner = start[:-4] + struct.pack("<I", len(inner)) + inner
        value = inner
    else:
        value = ITEM + struct.pack("<I", UNDEFINED) + inner + ITEM_END + SEQUENCE_END
    length = len(value) if rng.random() < 0.5 else UNDEFINED
    for path in one_or_all(rng, folder):
        put(path, replace(element(tag, "SQ", value), length=length))


@mutation(_EXPLICIT, slow=True)
def very_many_elements(folder: Path, rng: Random) -> None:
    """Empty ones, fifty megabytes of them: in a row of tags, of one tag, or as items of a sequence."""
    count = 6_000_000
    kind = int(rng.integers(3))
    path = some(rng, images(folder))
    before, found = parts.read(path)
    if kind == 0:
        tags = np.arange(0x00091001, 0x00091001 + count, dtype="<u4")
        row = np.zeros((count, 8), dtype=np.uint8)
        row[:, :2] = (tags >> 16).astype("<u2").view(np.uint8).reshape(-1, 2)
        row[:, 2:4] = (tags & 0xFFFF).astype("<u2").view(np.uint8).reshape(-1, 2)
        row[:, 4:6] = np.frombuffer(b"LO", dtype=np.uint8)
        many = row.tobytes()
    elif kind == 1:
        many = bytes(8) * count
    else:
        many = element(0x00091001, "SQ", (ITEM + bytes(4)) * count).encoded()
    place = next(n for n, e in enumerate(found) if e.tag > 0x00090000)
    head, tail = (b"".join(e.encoded() for e in half) for half in (found[:place], found[place:]))
    path.write_bytes(before + head + many + tail)


@mutation(["deflated"], slow=True)
def a_deflate_bomb(folder: Path, rng: Random) -> None:
    """Zeros behind the pixels, before them, or in an element of their own."""
    megabytes = int(rng.choice([60, 700, 2000]))
    kind = int(rng.integers(3))
    for path in one_or_all(rng, folder) if megabytes < 1000 else [some(rng, images(folder))]:
        data = path.read_bytes()
        place = parts.start_of(data)
        plain = zlib.decompress(data[place:], -zlib.MAX_WBITS)
        at = len(plain) if kind == 0 else plain.rfind(b"\xe0\x7f\x10\x00")
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = packer.compress(plain[:at])
        if kind == 2:
            packed += packer.compress(struct.pack("<HH2s2xI", 0x7FD1, 0x1001, b"OB", (megabytes << 20) & 0xFFFFFFFE))
        zeros = bytes(1 << 20)
        for _ in range(megabytes):
            packed += packer.compress(zeros)
        packed += packer.compress(plain[at:]) + packer.flush()
        path.write_bytes(data[:place] + packed + b"\0" * (len(packed) % 2))


@mutation(_COMPRESSED)
def a_codestream_bomb(folder: Path, rng: Random) -> None:
    """A codestream that claims another size than its header, or a header that claims another than it."""
    size = int(rng.choice([20000, 65535]))
    both = rng.random() < 0.3
    for path in one_or_all(rng, folder):
        data = bytearray(path.read_bytes())
        for mark, place, form in ((b"\xff\xc3", 5, ">HH"), (b"\xff\xf7", 5, ">HH"), (b"\xff\x51", 6, ">II")):
            if (at := bytes(data).rfind(mark)) > 0:
                dimensions = (size, size) if form == ">HH" else (size if rng.random() < 0.5 else 2**31 - 1,) * 2
                struct.pack_into(form, data, at + place, *dimensions)
                break
        path.write_bytes(bytes(data))
        if both:
            put(
                path,
                element(0x00280010, "US", struct.pack("<H", size)),
                element(0x00280011, "US", struct.pack("<H", size)),
            )


@mutation(_COMPRESSED)
def fragments_that_lie(folder: Path, rng: Random) -> None:
    kind = int(rng.integers(5))
    for path in one_or_all(rng, folder):
        before, found = parts.read(path)
        value = found[-1].value
        if kind == 0:  # a table of offsets that lead nowhere
            value = ITEM + struct.pack("<I", 8) + struct.pack("<II", 0, 0xFFFFFFF0) + value[8:]
        elif kind == 1:
            value = value[:8] + (ITEM + bytes(4)) * 200_000 + value[8:]
        elif kind == 2:
            value = value[:8] + ITEM + struct.pack("<I", 0xFFFFFFF0) + value[16:]
        elif kind == 3:
            value = ITEM + bytes(4) + SEQUENCE_END
        else:
            table = struct.pack("<HH2s2xI", 0x7FE0, 0x0001, b"OV", 8) + struct.pack("<Q", 2**63)
            table += struct.pack("<HH2s2xI", 0x7FE0, 0x0002, b"OV", 8) + struct.pack("<Q", 2**63)
            path.write_bytes(before + b"".join(e.encoded() for e in found[:-1]) + table + found[-1].encoded())
            continue
        parts.write(path, before, [*found[:-1], replace(found[-1], value=value)])


@mutation()
def pipes_sockets_and_links(folder: Path, rng: Random) -> None:
    place = some(rng, images(folder)).parent
    os.mkfifo(place / "pipe.dcm")
    (place / "dangling.dcm").symlink_to("nowhere")
    (place / "self.dcm").symlink_to("self.dcm")
    (place / "loop").symlink_to(folder)
    (place / "up").symlink_to(folder.parent)
    (place / "zero.dcm").symlink_to("/dev/zero")
    (place / "memory.dcm").symlink_to("/proc/self/mem")
    (place / "folder.dcm").mkdir()
    (place / "link.dcm").symlink_to(some(rng, images(folder)))
    with socket.socket(socket.AF_UNIX) as server:
        folder_of_socket = os.open(place, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{folder_of_socket}/s")  # paths of sockets are short
        os.close(folder_of_socket)


@mutation()
def names_of_every_kind(folder: Path, rng: Random) -> None:
    """No characters at all, escape sequences, quotes, a very long one."""
    place = some(rng, images(folder)).parent
    names = [
        b"\xff\xfe\x80",
        b"\x1b]0;owned\x07\x1b[2J",
        b"a\nb",
        b"'; rm -rf ~",
        b"x" * 250,
        b"DOE_JOHN_19500101",
        "ü漢".encode(),
    ]
    for name in names:
        (place / os.fsdecode(name)).write_bytes(rng.bytes(50))
    path = some(rng, images(folder))
    path.rename(path.parent / os.fsdecode(names[int(rng.integers(len(names)))]))


@mutation(_NATIVE)
def sparse_huge_files(folder: Path, rng: Random) -> None:
    """Six gigabytes each that take no room: beside the images, behind one, or two of one UID."""
    path = some(rng, images(folder))
    kind = int(rng.integers(4))
    if kind == 0:
        (path.parent / "sparse.dcm").touch()
        os.truncate(path.parent / "sparse.dcm", 6 << 30)
        return
    if kind == 1:
        with path.open("ab") as stream:  # Data Set Trailing Padding, as the standard has it
            stream.write(struct.pack("<HH2s2xI", 0xFFFC, 0xFFFC, b"OB", 0xF0000000))
        os.truncate(path, path.stat().st_size + 0xF0000000)
        return
    if kind == 2:
        before, found = parts.read(path)
        head = b"".join(e.encoded() for e in found[:-1])
        start = struct.pack("<HH2s2xI", 0x7FD1, 0x1001, b"OB", 0xF0000000)
        path.write_bytes(before + head + start)
        os.truncate(path, len(before + head + start) + 0xF0000000)
        with path.open("ab") as stream:
            stream.write(found[-1].encoded())
        return
    shutil.copy(path, path.parent / "second.dcm")
    for file in (path, path.parent / "second.dcm"):
        os.truncate(file, 6 << 30)


@mutation(_NATIVE)
def huge_native_images(folder: Path, rng: Random) -> None:
    """Header and length agree: sparse images of two gigabytes each."""
    size = int(rng.choice([30000, 32000]))
    for path in siblings(some(rng, images(folder)))[:6]:
        before, found = parts.read(path)
        dimensions = {0x00280010: struct.pack("<H", size), 0x00280011: struct.pack("<H", size)}
        found = [e.holding(dimensions[e.tag]) if e.tag in dimensions else e for e in found]
        found[-1] = replace(found[-1], value=b"", length=2 * size * size)
        parts.write(path, before, found)
        os.truncate(path, path.stat().st_size + 2 * size * size)


@mutation(["DICOMDIR"])
def a_dicomdir_that_attacks(folder: Path, rng: Random) -> None:
    path = folder / "DICOMDIR"
    before, found = parts.read(path)
    records = next(n for n, e in enumerate(found) if e.tag == 0x00041220)
    kind = int(rng.integers(6))
    value = found[records].value
    if kind == 0:
        found[records] = found[records].holding(b"text of no sequence ", b"LO")
    elif kind == 1:
        names = [
            e for e in (b"/etc/passwd", b"..\\..\\..\\etc\\passwd", b"\\\\", b"/DOE_JOHN_19500101/IM1", b"\xff\xfe\x00")
        ]
        item = element(0x00041500, "CS", names[int(rng.integers(len(names)))]).encoded()
        found[records] = found[records].holding(value + ITEM + struct.pack("<I", len(item)) + item)
    elif kind == 2:
        found[records] = found[records].holding((ITEM + bytes(4)) * 2_000_000)
    elif kind == 3:
        found[records] = replace(found[records], length=int(rng.choice([0, 7, 0x7FFFFFFF, UNDEFINED])))
    elif kind == 4:
        found[records] = found[records].holding(rng.bytes(len(value)))
    else:
        (folder / "sub").mkdir()
        for number in range(20):
            shutil.copy(path, folder / "sub" / f"DICOMDIR{number}")
    parts.write(path, before, found)


@mutation(["enhanced"])
def functional_groups_that_do_not_fit(folder: Path, rng: Random) -> None:
    """Fewer, more, empty, doubled, of another type, or nested in themselves."""
    from pydicom import Dataset, Sequence, dcmread

    path = some(rng, images(folder))
    ds = dcmread(path)
    groups = list(ds.PerFrameFunctionalGroupsSequence)
    kind = int(rng.integers(8))
    if kind == 0:
        groups = groups[:-1]
    elif kind == 1:
        groups += groups[:1]
    elif kind == 2:
        groups[int(rng.integers(len(groups)))] = Dataset()
    elif kind == 3:
        groups = [groups[0]] * len(groups)
    elif kind == 4:
        groups[3].PlanePositionSequence = Sequence([])
    elif kind == 5:
        del ds.SharedFunctionalGroupsSequence
    elif kind == 6:
        groups[0].FrameContentSequence[0].DimensionIndexValues = [1] * 1000
    else:
        ds.SharedFunctionalGroupsSequence = Sequence([*ds.SharedFunctionalGroupsSequence, *groups])
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    ds.save_as(path)


@mutation(_CLASSIC)
def a_slice_or_a_series_that_is_not_there(folder: Path, rng: Random) -> None:
    path = some(rng, images(folder))
    inner = siblings(path)[1:-1]
    for file in [some(rng, inner)] if rng.random() < 0.7 else siblings(path):
        file.unlink()


@mutation(slow=True)
def very_many_files(folder: Path, rng: Random) -> None:
    place = some(rng, images(folder)).parent
    data = bytes(128) + b"DICM" + rng.bytes(20)
    for number in range(1500):
        (place / f"extra{number:05d}.txt").write_bytes(data if number % 2 else b"")


@mutation()
def folders_in_folders(folder: Path, rng: Random) -> None:
    path = some(rng, images(folder))
    place = folder
    for _ in range(150):
        place = place / "d"
    place.mkdir(parents=True)
    shutil.move(path, place / path.name)
