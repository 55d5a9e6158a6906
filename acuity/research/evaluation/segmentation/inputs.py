"""What the models are given: a case's original images, or another kind of input made from them."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acuity.anatomy import Sequence
from acuity.errors import DataError
from acuity.pipeline.result import software
from acuity.research.datasets import brats
from acuity.research.evaluation.figures import tumor_slices
from acuity.research.evaluation.segmentation.figures import PICTURED
from acuity.research.evaluation.segmentation.table import HR
from acuity.research.store import files_sha256
from acuity.volume import Volume

BRAINS_DIFFER = 0.25  # of their voxels; stripping 3 mm too much or too little changes 15 %


@dataclass(frozen=True)
class Kind:
    """A kind of input: a folder of cases, of which some sequences are kept from the models."""

    name: str
    folder: Path
    missing: tuple[Sequence, ...]


def input_kinds(source: Path, inputs: Mapping[str, str | Path], missing: Seq[Sequence]) -> list[Kind]:
    """The original images, HR, and ``inputs`` by name; a name says which sequences are missing.

    Raises
    ------
    DataError : an input named HR, a folder that is absent, or no sequence that is left
    """
    if HR in inputs:
        raise DataError(
            f"An input is named {HR}.", rule=f"{HR} are the original images.", remedy="Give the input another name."
        )
    if len(set(missing)) == len(Sequence):
        raise DataError(
            f"{', '.join(missing)} are missing.",
            rule="A tumor is sought in one sequence at least.",
            remedy="Leave one out.",
        )
    kept_away = tuple(sequence for sequence in Sequence if sequence in missing)
    suffix = f" without {', '.join(kept_away)}" if kept_away else ""
    folders = {HR: source, **{name: brats.data_folder(path) for name, path in inputs.items()}}
    return [Kind(name + suffix, folder, kept_away) for name, folder in folders.items()]


@dataclass(frozen=True)
class Case:
    """A case of the truth, read when it is needed."""

    folder: Path

    @property
    def name(self) -> str:
        """That of the folder."""
        return self.folder.name

    @cached_property
    def images(self) -> dict[Sequence, Volume]:
        """The original ones."""
        return brats.read_case(self.folder)

    @cached_property
    def truth(self) -> Volume:
        """Labels 0, 1, 2, 4."""
        return brats.read_labels(self.folder)

    @cached_property
    def brain(self) -> Volume:
        """See ``brain_of``."""
        return brain_of(self.images)

    @cached_property
    def sha256(self) -> str:
        """Of the files."""
        return files_sha256([*brats.image_files(self.folder).values(), brats.labels_file(self.folder)])


@dataclass(frozen=True)
class Task:
    """A case as one kind of input."""

    case: Case
    kind: Kind

    @cached_property
    def images(self) -> dict[Sequence, Volume]:
        """All four.

        Raises
        ------
        DataError : one is not on the grid of the truth
        """
        folder = self.kind.folder / self.case.name
        if folder == self.case.folder:
            return self.case.images
        images = brats.read_case(folder)
        for sequence, volume in images.items():
            if not volume.grid.same_as(self.case.truth.grid):
                raise DataError(
                    f"{sequence.value} of {folder.name} in {self.kind.folder} has another grid than the truth.",
                    rule="An input lies on the grid of the truth.",
                    remedy="Bring it there, as `acuity dataset interpolated` and `sr` do; crop both or neither.",
                )
        return images

    @cached_property
    def brain(self) -> Volume:
        """As these images were stripped, well or badly.

        Raises
        ------
        DataError : they were not stripped
        """
        if self.images is self.case.images:
            return self.case.brain
        brain = brain_of(self.images)
        ratio = float(brain.array.sum()) / float(self.case.brain.array.sum())
        if abs(ratio - 1) > BRAINS_DIFFER:
            raise DataError(
                f"In {self.case.name} of {self.kind.folder} {ratio:.2f} times as many voxels have signal as in "
                "the brain of the original images.",
                rule=f"Images are 0 outside the brain; it may differ by {BRAINS_DIFFER:.0%}, as bad stripping does.",
                remedy="Set to 0 what lies outside, as `acuity dataset interpolated` and `sr` do.",
            )
        return brain

    @property
    def given(self) -> dict[Sequence, Volume]:
        """The images that the models are given."""
        return {sequence: self.images[sequence] for sequence in Sequence if sequence not in self.kind.missing}

    @cached_property
    def made_from(self) -> list[object]:
        """All on which a result depends, beside the model."""
        files = brats.image_files(self.kind.folder / self.case.name).values()
        return [self.case.sha256, files_sha256(files), list(self.kind.missing), software()["acuity"]]

    def slices(self, preds: Volume) -> dict[str, NDArray[np.float32]]:
        """What is pictured: axial slices with most tumor, of the images, the truth and what was found."""
        pictured = {sequence.value: self.images[sequence] for sequence in PICTURED}
        volumes = {**pictured, "truth": self.case.truth, "preds": preds}
        return {name: tumor_slices(volume, self.case.truth)["Axial"] for name, volume in volumes.items()}


def brain_of(images: Mapping[Sequence, Volume]) -> Volume:
    """The mask (uint8) of a stripped case: wherever any sequence has signal."""
    return images[Sequence.T1].with_array(brats.brain_mask(images).astype(np.uint8))
