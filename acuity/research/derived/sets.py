"""Data sets made from BraTS cases and laid out as they are, so that any tool reads them; the central crop is one.

Each file is marked with what it was made from, so that a run that was cut goes on where it ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from acuity.anatomy import Label, Sequence
from acuity.errors import DataError, OutputError
from acuity.pipeline.result import software
from acuity.research.datasets import brats
from acuity.research.datasets.layouts import named_cases
from acuity.research.datasets.splits import load_split, seeded_split
from acuity.research.store import file_mark, files_sha256, fingerprint, make_folder, save_volume, write_text
from acuity.volume import Volume

DESCRIPTION = "dataset.json"


@dataclass(frozen=True)
class Case:
    """What a case of BraTS holds, on one grid.

    Parameters
    ----------
    images : float32
    labels : uint8 0, 1, 2, 4; None where nothing is known
    """

    name: str
    images: Mapping[Sequence, Volume]
    labels: Volume | None

    @property
    def brain(self) -> NDArray[np.bool_]:
        """(I, J, K): where any sequence of the stripped images has signal."""
        return brats.brain_mask(self.images)


class Derivation(Protocol):
    """How a case of a data set is made."""

    @property
    def description(self) -> dict[str, object]:
        """What it does, for ``dataset.json``: all on which its result depends."""

    def __call__(self, case: Case) -> Case | None:
        """The case of the data set; None where it has none of this one."""


@dataclass(frozen=True)
class Cropped:
    """The central ``size`` voxels along each axis; of an odd rest more is left out at the end."""

    size: int = 128

    @property
    def description(self) -> dict[str, object]:
        """As ``Derivation`` says."""
        return {
            "kind": "crop",
            "size": self.size,
            "images": "the voxels from (n - size) // 2 on along each axis: 56, 56, 13 of 240x240x155 at size 128",
            "labels": "cropped as the images",
        }

    def __call__(self, case: Case) -> Case:
        """See the class.

        Raises
        ------
        DataError : the case has fewer voxels
        """
        labels = None if case.labels is None else central_crop(case.labels, self.size)
        return Case(case.name, {s: central_crop(volume, self.size) for s, volume in case.images.items()}, labels)


@dataclass(frozen=True)
class Original:
    """What a case of a data set is made from, read when it is needed.

    Parameters
    ----------
    name : of the case, and of its folder in the data set
    labeled : whether it has labels
    identity : tells one content from another
    """

    name: str
    labeled: bool
    identity: Callable[[], str]
    read: Callable[[], Case]


def make_set(data: Path, output: Path, cases: Seq[str], derivation: Derivation, *, command: str) -> Path:
    """Make the cases of a data set that are not there yet.

    Parameters
    ----------
    data, output : folders of BraTS cases; a case without labels gives one without
    command : for ``dataset.json``

    Returns
    -------
    ``dataset.json`` in ``output``: how the set is made, by what version of Acuity, and of each case that is complete
    how much of its tumor it holds.

    Raises
    ------
    DataError : a case or a file of one is absent, or cannot be made
    OutputError : ``output`` cannot be written to, is ``data``, or holds a set that was made in another way
    """
    recipe = derivation.description | {"source": made_as(data), "acuity": software()["acuity"]}
    if output.resolve() == data.resolve():
        raise OutputError(
            f"{output} holds the cases that the data set is made from.",
            rule="A data set has a folder of its own.",
            remedy="Name another folder.",
        )
    return complete_set(output, recipe, [_brats_original(data / name) for name in cases], derivation, command=command)


def complete_set(
    output: Path, recipe: Mapping[str, object], originals: Seq[Original], derivation: Derivation, *, command: str
) -> Path:
    """Make of each original the case that is not there yet, or was made from something else.

    Parameters
    ----------
    recipe : all on which the cases depend, beside the originals
    command, and what is returned and raised : as ``make_set`` has them
    """
    path = output / DESCRIPTION
    _require_room(output, recipe)
    make_folder(output)
    done = json.loads(path.read_text(encoding="utf-8"))["cases"] if path.is_file() else {}
    for original in tqdm(originals, desc=str(recipe["kind"])):
        name = original.name
        mark = fingerprint(recipe, original.identity())
        suffixes = [*brats.FILE_SUFFIX.values(), *(["seg"] if original.labeled else [])]
        targets = [output / name / f"{name}_{suffix}.nii.gz" for suffix in suffixes]
        if name not in done or any(file_mark(target) != mark for target in targets):
            case = original.read()
            made = derivation(case)
            if made is None:  # what there may be was made from something else
                done.pop(name, None)
                for target in targets:
                    target.unlink(missing_ok=True)
            else:
                for target, volume in zip(targets, _volumes(made), strict=True):
                    save_volume(volume.array, volume.affine, target, mark)
                done[name] = {"tumor_ml": _tumor(case.labels), "tumor_ml_here": _tumor(made.labels)}
        text = json.dumps({"made": recipe, "command": command, "software": software(), "cases": done}, indent=2)
        write_text(text + "\n", path)
    return path


def made_as(folder: Path) -> dict[str, object] | None:
    """How the data set in a folder is made, its own source included; None where `acuity dataset` did not make it."""
    path = folder / DESCRIPTION
    return json.loads(path.read_text(encoding="utf-8")).get("made") if path.is_file() else None


def chosen_cases(
    data: Path, *, part: str = "all", split: str | Path | None = None, names: Seq[str] | None = None
) -> list[str]:
    """The cases of a folder: those named, else those of a part of a split.

    Parameters
    ----------
    part : "train", "validation", "test" or "all"; the last takes cases that no split knows as well
    split : as ``splits.load_split`` takes it; None takes ``splits.seeded_split`` of the cases that are there

    Raises
    ------
    DataError : the folder does not exist, a split cannot be read, a named case is not there, or none is
    """
    cases = named_cases(brats.data_folder(data))
    there = list(cases)
    if names is not None:
        wanted = list(names)
    elif part == "all":
        wanted = there
    elif split is not None:
        wanted = load_split(split)[part]
    else:
        wanted = seeded_split({case.name: case.grade for case in cases.values()})[part]
    absent = [name for name in names or () if name not in there]
    found = [name for name in wanted if name in there]
    if absent or not found:
        raise DataError(
            f"{data} holds no case {', '.join(absent)}."
            if absent
            else f"{data} holds no case{'' if part == 'all' else f' for {part}'}.",
            rule="Cases are laid out as BraTS gives them out, or the Medical Decathlon's Task01.",
            remedy=f"Name others: {', '.join(there) or 'there are none'}.",
        )
    return found


def central_crop(volume: Volume, size: int) -> Volume:
    """The voxels from (n - size) // 2 on along each axis, where they lay.

    Raises
    ------
    DataError : an axis has fewer voxels
    """
    if min(volume.shape) < size:
        raise DataError(
            f"An image has {' x '.join(map(str, volume.shape))} voxels.",
            rule=f"A crop of {size} voxels needs as many along each axis.",
            remedy="Name a smaller size.",
        )
    start = np.array([(n - size) // 2 for n in volume.shape])
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ start
    i, j, k = (slice(a, a + size) for a in start)
    return Volume(np.ascontiguousarray(volume.array[i, j, k]), affine)


def _brats_original(folder: Path) -> Original:
    labeled = brats.is_labeled(folder)

    def identity() -> str:
        files = [*brats.image_files(folder).values(), *([brats.labels_file(folder)] if labeled else [])]
        return files_sha256(files)

    def read() -> Case:
        return Case(folder.name, brats.read_case(folder), brats.read_labels(folder) if labeled else None)

    return Original(folder.name, labeled, identity, read)


def _volumes(case: Case) -> list[Volume]:
    """In the order of a case's files."""
    return [*(case.images[sequence] for sequence in Sequence), *([] if case.labels is None else [case.labels])]


def _tumor(labels: Volume | None) -> float | None:
    """Volume of the whole tumor in ml."""
    if labels is None:
        return None
    return round(float((labels.array != Label.BACKGROUND).sum()) * labels.grid.voxel_volume, 3)


def _require_room(output: Path, recipe: Mapping[str, object]) -> None:
    """Raise OutputError where the set would be written over another one."""
    found = made_as(output)
    if found is None and (output / DESCRIPTION).exists():
        raise OutputError(
            f"{output} holds a {DESCRIPTION} that is not Acuity's.",
            rule=f"A data set has a folder of its own, with its {DESCRIPTION}.",
            remedy="Name another folder.",
        )
    if found is not None:
        other = [key for key in {**recipe, **found} if json.loads(json.dumps(recipe)).get(key) != found.get(key)]
        if other:
            raise OutputError(
                f"{output} holds a data set that was made in another way: it differs in {', '.join(other)}.",
                rule="All cases of a data set are made alike.",
                remedy="Name another folder, or remove that one.",
            )
