"""The paper's data sets, made from BraTS cases and laid out as they are: LRBraTS, what is made of it, and a crop.

Each file is marked with what it was made from, so that a run that was cut goes on where it ended.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from acuity.anatomy import Label, Sequence, labels_to_regions, regions_to_labels
from acuity.data import brats
from acuity.data.folders import case_folders
from acuity.degradations.functional import box_matrix, resize_axes
from acuity.degradations.volumes import low_resolution
from acuity.errors import DataError, OutputError
from acuity.evaluation import volume_files
from acuity.evaluation.volume_methods import VolumeMethod
from acuity.inference.result import software
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

    images: Mapping[Sequence, Volume]
    labels: Volume | None


class Making(Protocol):
    """How a case of a data set is made."""

    @property
    def description(self) -> dict[str, object]:
        """What it does, for ``dataset.json``: all on which its result depends."""

    def __call__(self, case: Case) -> Case:
        """The case of the data set."""


@dataclass(frozen=True)
class LowResolution:
    """Images and labels at 1/``scale`` of the resolution along each axis: the paper's LRBraTS."""

    scale: float = 2.0

    @property
    def description(self) -> dict[str, object]:
        """As ``Making`` says."""
        return {
            "kind": "lr", "scale": self.scale,
            "images": "shrunk by antialiased cubic interpolation (a = -0.5); ceil(size / scale) voxels, the outer "
                      "faces of the first ones where they were",
            "labels": "a voxel belongs to ET, TC or WT where that region fills half of it or more",
        }  # fmt: skip

    def __call__(self, case: Case) -> Case:
        """See the class."""
        low = {sequence: self.shrunk(volume) for sequence, volume in case.images.items()}
        if case.labels is None:
            return Case(low, None)
        affine = low[Sequence.T1].affine
        return Case(low, Volume(shrunk_labels(case.labels.array, self.scale), affine))

    def shrunk(self, volume: Volume) -> Volume:
        """One image."""
        return low_resolution(volume, (self.scale, self.scale, self.scale))


@dataclass(frozen=True)
class BroughtBack:
    """The low resolution brought back to the case's own grid by ``method``; the labels are the case's own.

    What was 0 in all sequences of the case is 0 again: the brain was extracted, and stays so.
    """

    low: LowResolution
    method: VolumeMethod

    @property
    def description(self) -> dict[str, object]:
        """As ``Making`` says."""
        return {
            "kind": "interpolated" if self.method.bundle is None else "sr", "scale": self.low.scale,
            "images": "shrunk as LRBraTS is, brought back to the case's own grid; 0 where all its sequences are",
            "labels": "the case's own",
            "method": self.method.origin,
        }  # fmt: skip

    def __call__(self, case: Case) -> Case:
        """See the class."""
        brain = np.any([volume.array > 0 for volume in case.images.values()], axis=0)
        images = {}
        for sequence, volume in case.images.items():
            restored = self.method(volume, self.low.shrunk(volume), slice_profile="cubic")
            images[sequence] = volume.with_array(np.where(brain, restored.array, np.float32(0)))
        return Case(images, case.labels)


@dataclass(frozen=True)
class Cropped:
    """The central ``size`` voxels along each axis; of an odd rest more is left out at the end."""

    size: int = 128

    @property
    def description(self) -> dict[str, object]:
        """As ``Making`` says."""
        return {
            "kind": "crop", "size": self.size,
            "images": "the voxels from (n - size) // 2 on along each axis: 56, 56, 13 of 240x240x155 at size 128",
            "labels": "cropped as the images",
        }  # fmt: skip

    def __call__(self, case: Case) -> Case:
        """See the class.

        Raises
        ------
        DataError : the case has fewer voxels
        """
        labels = None if case.labels is None else central_crop(case.labels, self.size)
        return Case({s: central_crop(volume, self.size) for s, volume in case.images.items()}, labels)


def make_set(data: Path, output: Path, cases: Seq[str], making: Making, *, command: str) -> Path:
    """Make the cases of a data set that are not there yet.

    Parameters
    ----------
    data, output : folders of BraTS cases; a case without labels gives one without
    command : for ``dataset.json``

    Returns
    -------
    ``dataset.json`` in ``output``: how the set is made, by what version of Acuity, and of each case that is complete
    how much of its tumour it holds.

    Raises
    ------
    DataError : a case or a file of one is absent, or cannot be made
    OutputError : ``output`` cannot be written to, is ``data``, or holds a set that was made in another way
    """
    path = output / DESCRIPTION
    recipe = making.description | {"source": made_as(data), "acuity": software()["acuity"]}
    _require_room(data, output, recipe)
    volume_files.make_folder(output)
    done = json.loads(path.read_text(encoding="utf-8"))["cases"] if path.is_file() else {}
    for name in tqdm(cases, desc=str(recipe["kind"])):
        files = brats.image_files(data / name)
        labelled = (data / name / f"{name}_seg.nii.gz").is_file()
        sources = [*files.values(), *([brats.labels_file(data / name)] if labelled else [])]
        mark = volume_files.fingerprint(recipe, volume_files.files_sha256(sources))
        targets = [output / name / source.name for source in sources]
        if name not in done or any(volume_files.volume_mark(target) != mark for target in targets):
            labels = brats.read_labels(data / name) if labelled else None
            made = making(Case(brats.read_case(data / name), labels))
            for target, volume in zip(targets, _volumes(made), strict=True):
                volume_files.save_volume(volume.array, volume.affine, target, mark)
            done[name] = {"tumor_ml": _tumor(labels), "tumor_ml_here": _tumor(made.labels)}
        text = json.dumps({"made": recipe, "command": command, "software": software(), "cases": done}, indent=2)
        volume_files.write_text(text + "\n", path)
    return path


def made_as(folder: Path) -> dict[str, object] | None:
    """How the data set in a folder is made, its own source included; None where `acuity dataset` did not make it."""
    path = folder / DESCRIPTION
    return json.loads(path.read_text(encoding="utf-8"))["made"] if path.is_file() else None


def chosen_cases(data: Path, *, split: str = "all", names: Seq[str] | None = None) -> list[str]:
    """The cases of a folder: those named, else those of a part of the fixed split.

    Parameters
    ----------
    split : "train", "validation", "test" or "all"; the last takes cases that the split does not know as well

    Raises
    ------
    DataError : the folder does not exist, a named case is not there, or none is
    """
    there = [case.name for case in case_folders(brats.data_folder(data))]
    wanted = list(names) if names is not None else there if split == "all" else brats.read_split()[split]
    absent = [name for name in names or () if name not in there]
    found = [name for name in wanted if name in there]
    if absent or not found:
        raise DataError(f"{data} holds no case {', '.join(absent)}." if absent else f"{data} holds no case of {split}.",
                        rule="A case is a folder NAME that holds NAME_t1, _t1ce, _t2 and _flair, each .nii.gz.",
                        remedy=f"Name others: {', '.join(there) or 'there are none'}.")  # fmt: skip
    return found


def shrunk_labels(labels: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Labels on the grid of ``low_resolution``: a voxel belongs to a region that fills half of it or more.

    Regions, not labels, are what fills it: a voxel of half edema and half core is tumour. Where the grid ends beyond
    the labels', the last voxels go on (edge replication), as those of images do.

    Parameters
    ----------
    labels : (I, J, K) of 0, 1, 2, 4
    """
    size = tuple(int(np.ceil(n / scale)) for n in labels.shape)
    regions = torch.from_numpy(labels_to_regions(labels).astype(np.float32))
    filled = resize_axes(regions, size, (scale,) * 3, [box_matrix] * 3).numpy()
    # Half is half in spite of rounding.
    return regions_to_labels(filled >= 0.5 - 1e-4)


def central_crop(volume: Volume, size: int) -> Volume:
    """The voxels from (n - size) // 2 on along each axis, where they lay.

    Raises
    ------
    DataError : an axis has fewer voxels
    """
    if min(volume.shape) < size:
        raise DataError(f"An image has {' x '.join(map(str, volume.shape))} voxels.",
                        rule=f"A crop of {size} voxels needs as many along each axis.",
                        remedy="Name a smaller size.")  # fmt: skip
    start = np.array([(n - size) // 2 for n in volume.shape])
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ start
    i, j, k = (slice(a, a + size) for a in start)
    return Volume(np.ascontiguousarray(volume.array[i, j, k]), affine)


def _volumes(case: Case) -> list[Volume]:
    """In the order of a case's files."""
    return [*(case.images[sequence] for sequence in Sequence), *([] if case.labels is None else [case.labels])]


def _tumor(labels: Volume | None) -> float | None:
    """Volume of the whole tumour in ml."""
    if labels is None:
        return None
    return round(float((labels.array != Label.BACKGROUND).sum()) * labels.grid.voxel_volume, 3)


def _require_room(data: Path, output: Path, recipe: dict[str, object]) -> None:
    """Raise OutputError where the set would be written over its source, or over another one."""
    if output.resolve() == data.resolve():
        raise OutputError(f"{output} holds the cases that the data set is made from.",
                          rule="A data set has a folder of its own.", remedy="Name another folder.")  # fmt: skip
    found = made_as(output)
    if found is not None:
        other = [key for key in {**recipe, **found} if json.loads(json.dumps(recipe)).get(key) != found.get(key)]
        if other:
            raise OutputError(f"{output} holds a data set that was made in another way: it differs in "
                              f"{', '.join(other)}.", rule="All cases of a data set are made alike.",
                              remedy="Name another folder, or remove that one.")  # fmt: skip
