"""MR sequences, tumor labels and regions, and their SNOMED CT codes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum

import numpy as np
from numpy.typing import NDArray


class Sequence(StrEnum):
    """The four MR sequences of a brain tumor protocol, in the order of the network's channels."""

    T1 = "T1"
    T1C = "T1c"
    T2 = "T2"
    FLAIR = "FLAIR"


class Label(int, Enum):
    """Voxel labels as BraTS numbers them (there is no 3)."""

    BACKGROUND = 0
    NECROSIS = 1
    EDEMA = 2
    ENHANCING = 4


class Region(StrEnum):
    """Overlapping regions as BraTS scores them, in the order of the network's outputs."""

    ET = "ET"
    TC = "TC"
    WT = "WT"


REGION_LABELS: dict[Region, tuple[Label, ...]] = {
    Region.ET: (Label.ENHANCING,),
    Region.TC: (Label.NECROSIS, Label.ENHANCING),
    Region.WT: (Label.NECROSIS, Label.EDEMA, Label.ENHANCING),
}

REGION_NAMES: dict[Region, str] = {
    Region.ET: "Enhancing tumor",
    Region.TC: "Tumor core",
    Region.WT: "Whole tumor",
}


@dataclass(frozen=True)
class Code:
    """A coded concept (DICOM PS3.3 section 8.8): value, scheme designator, meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class SegmentSpec:
    """How one label is written as a DICOM segment."""

    number: int
    label: Label
    name: str
    category: Code
    type: Code
    color: tuple[int, int, int]  # sRGB, 0..255


MORPHOLOGY = Code("49755003", "SCT", "Morphologically Abnormal Structure")

REGION_COLORS: dict[Region, tuple[int, int, int]] = {  # sRGB, 0..255
    Region.ET: (250, 210, 60),
    Region.TC: (235, 120, 50),
    Region.WT: (80, 170, 230),
}

# Segments 1..3, mutually exclusive, from which the regions ET, TC and WT are unions.
SEGMENTS: tuple[SegmentSpec, ...] = (
    SegmentSpec(
        1,
        Label.NECROSIS,
        "Necrotic and non-enhancing tumor core",
        MORPHOLOGY,
        Code("6574001", "SCT", "Necrosis"),
        (220, 60, 60),
    ),
    SegmentSpec(2, Label.EDEMA, "Peritumoral edema", MORPHOLOGY, Code("79654002", "SCT", "Edema"), (70, 200, 90)),
    SegmentSpec(
        3, Label.ENHANCING, "Enhancing tumor", MORPHOLOGY, Code("372087000", "SCT", "Neoplasm, Primary"), (250, 210, 60)
    ),
)

# In the place of SEGMENTS where nothing tells the tumor's parts; its voxels have the outermost label.
WHOLE_TUMOR = SegmentSpec(
    1, Label.EDEMA, "Whole tumor", MORPHOLOGY, Code("52988006", "SCT", "Lesion"), REGION_COLORS[Region.WT]
)

# The regions' types as overlapping segments and as findings of the report.
REGION_TYPES: dict[Region, Code] = {
    Region.ET: Code("372087000", "SCT", "Neoplasm, Primary"),
    Region.TC: Code("108369006", "SCT", "Neoplasm"),
    Region.WT: Code("52988006", "SCT", "Lesion"),
}

BRAIN = Code("12738006", "SCT", "Brain")


def labels_to_regions(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Labels 0, 1, 2, 4 of any shape S to the masks (3, *S) of ET, TC, WT."""
    return np.stack([np.isin(labels, [int(x) for x in REGION_LABELS[r]]) for r in Region])


def regions_to_labels(regions: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Masks (3, *S) of ET, TC, WT to labels of shape S: ET is 4, TC without ET 1, WT without TC 2.

    Nesting is enforced from the inside out, as the Open BraTS inference does it: a voxel of ET counts
    as tumor core and whole tumor too.
    """
    et, tc, wt = (np.asarray(r, dtype=bool) for r in regions)
    labels = np.zeros(et.shape, dtype=np.uint8)
    labels[wt] = Label.EDEMA
    labels[tc] = Label.NECROSIS
    labels[et] = Label.ENHANCING
    return labels
