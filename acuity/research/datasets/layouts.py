"""Where the files of BraTS cases lie: as the challenges since 2018 give them out, or the Medical Decathlon's Task01.

A BraTS case is a folder NAME with an image a sequence and, where it is known, the truth: NAME_t1, _t1ce, _t2, _flair
and _seg (until 2021), or NAME-t1n, -t1c, -t2w, -t2f and -seg (since 2023), each .nii or .nii.gz. A folder may also hold
all four by bare names: t1, t1ce, t2, flair. Cases lie in the folder that is named or one level deeper, as in HGG/ and
LGG/ of 2018 and 2019. A case of Task01 is one file of four axes in imagesTr/, and dataset.json says which sequence each
channel is.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from acuity.anatomy import Label, Sequence
from acuity.errors import DataError
from acuity.pipeline.nifti_files import SEQUENCE_ENDINGS

# One truth of BraTS 2020 is named W39_1998.09.19_Segm.nii.
_FILE = re.compile(rf"(?:(.*)([_-]))?({'|'.join(SEQUENCE_ENDINGS)}|seg|segm)\.nii(?:\.gz)?", re.IGNORECASE)
_GRADES = {"hgg": "high", "lgg": "low"}
_DECATHLON_SEQUENCES = {
    "flair": Sequence.FLAIR,
    "t1w": Sequence.T1,
    "t1": Sequence.T1,
    "t1gd": Sequence.T1C,
    "t2w": Sequence.T2,
    "t2": Sequence.T2,
}
# Spelled "enhancing tumour" in the file that the Decathlon gives out.
_DECATHLON_LABELS = {
    "background": Label.BACKGROUND,
    "edema": Label.EDEMA,
    "non-enhancing tumor": Label.NECROSIS,
    "enhancing tumor": Label.ENHANCING,
}

UNTIL_2021 = {int(label): label for label in Label}
SINCE_2023 = {**{n: Label(n) for n in (0, 1, 2)}, 3: Label.ENHANCING}


@dataclass(frozen=True)
class CaseFiles:
    """The files of a case.

    Parameters
    ----------
    name : of the case
    folder : the case's own, or the Decathlon's task, which holds all of its cases
    images : the file of each sequence that is there
    labels : the file of the truth; None where nothing is known
    channels : of the images' one file, which has a fourth axis; None where each sequence has a file
    codings : what the values of ``labels`` mean, in each of the ways that the layout allows
    grade : "high", "low", or None where it is unknown
    doubles : files of which another one is the same image
    """

    name: str
    folder: Path
    images: Mapping[Sequence, Path]
    labels: Path | None = None
    channels: Mapping[Sequence, int] | None = None
    codings: tuple[Mapping[int, Label], ...] = (UNTIL_2021, SINCE_2023)
    grade: str | None = None
    doubles: tuple[Path, ...] = field(default=())


def find_cases(folder: Path, apart: Container[str] = ()) -> list[CaseFiles]:
    """The cases in a folder and one level deeper, by name; links are followed.

    Two cases may share a name; ``named_cases`` refuses them.

    Parameters
    ----------
    apart : names of subfolders that are not looked into

    Raises
    ------
    DataError : a dataset.json of the Decathlon that does not say what its channels and labels are
    """
    found = [case for place in _places(folder, apart) for case in _cases_in(place)]
    return sorted(found, key=lambda case: case.name)


def named_cases(folder: Path) -> dict[str, CaseFiles]:
    """The cases of ``find_cases`` by their names.

    Raises
    ------
    DataError : two cases share a name
    """
    found: dict[str, CaseFiles] = {}
    for case in find_cases(folder):
        if case.name in found:
            raise DataError(
                f"{folder} holds two cases {case.name}, in {found[case.name].folder.parent} and {case.folder.parent}.",
                rule="A case has one name, and is there once.",
                remedy="Remove or rename one of them.",
            )
        found[case.name] = case
    return found


def find_case(path: Path, apart: Container[str] = ()) -> CaseFiles | None:
    """The case NAME of the path FOLDER/NAME, wherever in FOLDER ``find_cases`` finds it; None if there is none."""
    if (case := folder_case(path)) is not None:
        return case
    for place in _places(path.parent, apart):
        case = _decathlon_case(place, path.name) if is_decathlon(place) else folder_case(place / path.name)
        if case is not None:
            return case
    return None


def patient_of(case: str) -> str:
    """The patient of a case, by its name.

    BraTS ends names with the number of the examination (BraTS-GLI-00005-001, Brats18_CBICA_ABM_1), BIDS begins folders
    with the subject (sub-01/ses-1/anat/...). Any other name is a patient's own.
    """
    if subject := re.search(r"(?:^|/)(sub-[A-Za-z0-9]+)", case):
        return subject[1]
    examination = re.fullmatch(r"(BraTS-[A-Za-z]+-\d+)-\d+|(Brats1\d_.+)_\d+", case, re.IGNORECASE)
    return case if examination is None else examination[1] or examination[2]


def _places(folder: Path, apart: Container[str]) -> Iterator[Path]:
    """The folder, and those of its subfolders that are no cases themselves."""
    if not folder.is_dir():
        return
    yield folder
    if not is_decathlon(folder):
        for path in sorted(folder.iterdir()):
            hidden = path.name.startswith(".") or path.name in apart
            if not hidden and path.is_dir() and folder_case(path) is None:
                yield path


def _cases_in(folder: Path) -> Iterator[CaseFiles]:
    """The cases directly in a folder."""
    if is_decathlon(folder):
        names = sorted({_stem(path) for path in (folder / "imagesTr").iterdir() if _is_nifti(path)})
        cases = (_decathlon_case(folder, name) for name in names)
    else:
        cases = (folder_case(path) for path in sorted(folder.iterdir()))
    yield from (case for case in cases if case is not None)


def folder_case(folder: Path) -> CaseFiles | None:
    """The case whose own folder this is, complete or not; None if it is none's."""
    if not folder.is_dir():
        return None
    images: dict[Sequence, Path] = {}
    doubles: list[Path] = []
    labels, hyphen, named = None, False, False
    for path in sorted(folder.iterdir()):
        parts = _FILE.fullmatch(path.name)
        if parts is None or not path.is_file():
            continue
        kind = parts[3].lower()
        own = parts[1] is None or parts[1].lower() in (folder.name.lower(), folder.resolve().name.lower())
        if kind in ("seg", "segm"):
            if not own and kind == "seg":
                continue
            doubles += [path] if labels else []
            labels, hyphen = labels or path, parts[2] == "-"
        elif own and SEQUENCE_ENDINGS[kind] in images:
            doubles.append(path)
        elif own:
            images[SEQUENCE_ENDINGS[kind]] = path
            named |= parts[1] is not None
    if not named and len(images) < len(Sequence):
        return None  # a lone file t1.nii.gz is an image, and no part of a case
    codings = (SINCE_2023,) if hyphen else (UNTIL_2021, SINCE_2023)
    grade = _GRADES.get(folder.parent.name.lower()) or _listed_grades(folder.parent).get(folder.name)
    return CaseFiles(folder.name, folder, images, labels, codings=codings, grade=grade, doubles=tuple(doubles))


@lru_cache(maxsize=16)
def _listed_grades(folder: Path) -> dict[str, str]:
    """Grades by name of the case, as name_mapping.csv of BraTS 2019 and 2020 has them."""
    grades: dict[str, str] = {}
    for file in sorted(folder.glob("name_mapping*.csv")):
        with file.open(newline="", encoding="utf-8-sig") as text:
            for row in csv.DictReader(text):
                grade = _GRADES.get(str(row.get("Grade")).lower())
                if grade is not None:
                    grades |= {str(name): grade for name in row.values()}
    return grades


def is_decathlon(folder: Path) -> bool:
    """Whether a folder is the Medical Decathlon's Task01, or another of its tasks."""
    return (folder / "imagesTr").is_dir() and (folder / "dataset.json").is_file()


def _is_nifti(path: Path) -> bool:
    """The Decathlon's archives hold a hidden "._" file beside each image, which is none."""
    return path.name.endswith((".nii", ".nii.gz")) and not path.name.startswith(".")


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _decathlon_case(folder: Path, name: str) -> CaseFiles | None:
    files = [folder / "imagesTr" / f"{name}{suffix}" for suffix in (".nii.gz", ".nii")]
    present = [file for file in files if file.is_file()]
    if not present:
        return None
    channels, coding = _decathlon_description(folder)
    truths = [folder / "labelsTr" / f"{name}{suffix}" for suffix in (".nii.gz", ".nii")]
    return CaseFiles(
        name,
        folder,
        dict.fromkeys(channels, present[0]),
        next((file for file in truths if file.is_file()), None),
        channels,
        (coding,),
        doubles=tuple(present[1:]),
    )


def _decathlon_description(folder: Path) -> tuple[dict[Sequence, int], dict[int, Label]]:
    """The channel of each sequence, and what the labels mean, as dataset.json says."""
    try:
        said = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        channels = {_DECATHLON_SEQUENCES[name.lower()]: int(n) for n, name in said["modality"].items()}
        names = {int(n): name.lower().replace("tumour", "tumor") for n, name in said["labels"].items()}
        coding = {n: _DECATHLON_LABELS[name] for n, name in names.items()}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(
            f"{folder / 'dataset.json'} does not say which channels are FLAIR, T1w, t1gd and T2w, and which labels are "
            "edema, non-enhancing tumor and enhancing tumor.",
            rule="A folder with imagesTr/ is the Medical Decathlon's Task01, whose dataset.json says that.",
            remedy="Put back the file as it was given out.",
        ) from error
    return channels, coding
