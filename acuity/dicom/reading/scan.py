"""The acquisition parameters of a volume, read from its headers. Selection rules refer to them.

Classic MR keeps these values at the top of each dataset (PS3.3 C.8.3.1); enhanced MR keeps them in
functional groups (PS3.3 C.8.13.5), each frame's own before the shared ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from acuity.dicom.reading.acquisition import scanning_sequence, sequence_variant
from acuity.dicom.reading.headers import (
    Header,
    quiet_items,
    quiet_number,
    quiet_pydicom,
    quiet_text,
    quiet_value,
    seconds,
    values_of,
)
from acuity.dicom.reading.study import Series, Stack
from acuity.dicom.reading.traits import b_value
from acuity.volume import Grid

_MAKER = "acuity"  # the manufacturer in the contributing equipment of every series that Acuity writes

_LONGEST = 1e5  # ms; a longer time is a filler, such as 1.8e308 in InversionTimes of Philips
_PLANES = ("sagittal", "coronal", "axial")  # the plane whose normal is nearest to x, y, z


@dataclass(frozen=True)
class Scan:
    """The acquisition parameters of one volume.

    Parameters
    ----------
    repetition_time, echo_time, inversion_time : ms; None where absent or zero
    flip_angle : degrees
    b_value : s/mm^2
    scanning_sequence : SE, GR, IR, EP, RM
    sequence_variant, scan_options, image_type, contrast : values as DICOM has them, upper case;
        ``contrast`` is AcquisitionContrast of enhanced MR
    inversions : number of inversion pulses that are given with a time
    stacks : number of volumes in the series; slices : number of slices in this volume, None for a refused
        series, of which some may be missing
    agent : what the header says of a contrast agent, which may be free text and may deny one; "" where it says nothing
    acquired : seconds since year 1, None where no time is given
    description, sequence_name, body_part : texts
    plane : "axial", "sagittal", "coronal"; "" where the orientation is absent
    made_by_acuity : the series is an output of Acuity
    """

    description: str = ""
    sequence_name: str = ""
    body_part: str = ""
    number: int = 0
    scanning_sequence: frozenset[str] = frozenset()
    sequence_variant: frozenset[str] = frozenset()
    scan_options: frozenset[str] = frozenset()
    image_type: frozenset[str] = frozenset()
    contrast: frozenset[str] = frozenset()
    repetition_time: float | None = None
    echo_time: float | None = None
    inversion_time: float | None = None
    inversions: int = 0
    flip_angle: float | None = None
    b_value: float | None = None
    slices: int | None = None
    stacks: int = 1
    agent: str = ""
    acquired: float | None = None
    plane: str = ""
    made_by_acuity: bool = False

    @property
    def derived(self) -> bool:
        """Whether the images were computed from other images (PS3.3 C.7.6.1.1.2)."""
        return bool(self.image_type & {"DERIVED", "SECONDARY"})

    def timing(self) -> str:
        """The timing for people, for example "IR/SE, TR 9000, TE 120, TI 2500 ms"."""
        parts = ["/".join(sorted(self.scanning_sequence))] if self.scanning_sequence else []
        times = {"TR": self.repetition_time, "TE": self.echo_time, "TI": self.inversion_time}
        given = [f"{name} {value:.4g}" for name, value in times.items() if value is not None]
        if given:
            given[-1] += " ms"
        return ", ".join(parts + given) or "no timing"


@quiet_pydicom()
def scan_of(series: Series, stack: Stack | None = None) -> Scan:
    """Read the parameters of ``stack``; without a stack (a refused series), those of the first image of ``series``."""
    datasets = series.datasets if stack is None else stack.datasets
    if not datasets:
        return Scan(description=series.description)
    header = Header(datasets[0], stack.frames[0] if stack is not None and stack.frames else 0)
    inversions = _times(header, "InversionTimes") or _times(header, "InversionTime")
    return Scan(
        description=series.description or header.text("ProtocolName"),
        sequence_name=header.text("SequenceName", "PulseSequenceName"),
        body_part=header.text("BodyPartExamined").upper(),
        number=int(quiet_number(header.get("SeriesNumber")) or 0),
        scanning_sequence=scanning_sequence(header),
        sequence_variant=sequence_variant(header),
        scan_options=header.words("ScanOptions"),
        image_type=header.words("ImageType") | header.words("FrameType") | header.words("ComplexImageComponent"),
        contrast=header.words("AcquisitionContrast") - {"UNKNOWN"},
        repetition_time=next(iter(_times(header, "RepetitionTime")), None),
        echo_time=next(iter(_times(header, "EffectiveEchoTime", "EchoTime")), None),
        inversion_time=min(inversions, default=None),
        inversions=len(inversions),
        flip_angle=header.positive("FlipAngle"),
        b_value=quiet_number(public if (public := header.get("DiffusionBValue")) is not None else b_value(datasets[0])),
        slices=stack.grid.shape[2] if stack is not None else None,
        stacks=max(1, len(series.stacks)),
        agent=_agent(header),
        acquired=_acquired(datasets, stack.frames if stack is not None else None),
        plane=plane_of(stack.grid) if stack is not None else _plane(header.get("ImageOrientationPatient")),
        made_by_acuity=_made_by_acuity(datasets[0]),
    )


def _times(header: Header, *keywords: str) -> list[float]:
    """The times of an element in ms, without zeros and fillers."""
    numbers = (quiet_number(value) for value in values_of(header.get(*keywords)))
    return [number for number in numbers if number is not None and 0 < number < _LONGEST]


def plane_of(grid: Grid) -> str:
    """The anatomical plane nearest to the slices of ``grid``."""
    return _nearest_plane(grid.direction[:, 2])


def _agent(header: Header) -> str:
    """What the header says of a contrast agent (PS3.3 C.7.6.4, C.7.6.4b); "" where it says nothing."""
    administered = header.text("ContrastBolusAgentAdministered").upper()
    if administered == "NO":
        return administered
    if agent := header.text("ContrastBolusAgent"):
        return agent
    if coded := header.items("ContrastBolusAgentSequence"):
        return quiet_text(coded[0], "CodeMeaning") or "a coded agent"
    if administered == "YES":
        return "an agent"
    if header.positive("ContrastBolusVolume"):
        return f"{header.text('ContrastBolusVolume')} ml of an agent"
    return "an agent with a start time" if header.text("ContrastBolusStartTime") else ""


def _acquired(datasets: tuple[Dataset, ...], frames: tuple[int, ...] | None) -> float | None:
    """The acquisition time of the earliest image in seconds since year 1."""
    headers = [Header(ds) for ds in datasets] if frames is None else [Header(datasets[0], frame) for frame in frames]
    return min((time for time in map(_time_of, headers) if time is not None), default=None)


def _time_of(header: Header) -> float | None:
    moment = header.text("FrameAcquisitionDateTime", "FrameReferenceDateTime", "AcquisitionDateTime")
    if moment:
        return seconds(moment[:8], moment[8:])
    date = header.text("AcquisitionDate", "SeriesDate", "ContentDate", "StudyDate")
    return seconds(date, header.text("AcquisitionTime", "SeriesTime", "ContentTime"))


def _made_by_acuity(ds: Dataset) -> bool:
    """Whether Acuity computed the images: derived ones, with Acuity among the equipment (PS3.3 C.12.1.1.5)."""
    makers = [quiet_text(item, "Manufacturer") for item in quiet_items(ds, "ContributingEquipmentSequence")]
    derived = "DERIVED" in values_of(quiet_value(ds, "ImageType"))
    return derived and any(maker.strip().lower() == _MAKER for maker in makers)


def _plane(orientation: object) -> str:
    cosines = [quiet_number(value) for value in values_of(orientation)]
    if len(cosines) != 6 or any(c is None for c in cosines):
        return ""
    row, column = np.reshape(np.asarray(cosines, dtype=float), (2, 3))
    return _nearest_plane(np.cross(row, column))


def _nearest_plane(normal: NDArray[np.float64]) -> str:
    return _PLANES[int(np.argmax(np.abs(normal)))]
