"""How a volume was scanned, read from its headers: what selection rules are written about.

Classic MR keeps these values at the top of each dataset (PS3.3 C.8.3.1); enhanced MR keeps them in
functional groups (PS3.3 C.8.13.5), each frame's own before the shared ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue

from acuity.dicom.reading.study import Series, Stack
from acuity.volume import Grid

MAKER = "acuity"  # the manufacturer in the contributing equipment of every series that Acuity writes

_NO_AGENT = {"", "no", "none", "n", "0", "-", "--", "nil", "na", "n/a", "false", "without"}
_PLANES = ("sagittal", "coronal", "axial")  # the plane whose normal is nearest to x, y, z


@dataclass(frozen=True)
class Scan:
    """What the headers say of one volume.

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
    agent : the contrast agent as the header words it; "" where none is stated
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


def scan_of(series: Series, stack: Stack | None = None) -> Scan:
    """Read how ``stack`` of ``series`` was scanned; without a stack (a refused series), its first image."""
    datasets = series.datasets if stack is None else stack.datasets
    if not datasets:
        return Scan(description=series.description)
    header = _Header(datasets[0], stack.frames[0] if stack is not None and stack.frames else 0)
    inversions = [ms for ms in (_number(v) for v in _list(header.get("InversionTimes", "InversionTime"))) if ms]
    return Scan(
        description=series.description or header.text("ProtocolName"),
        sequence_name=header.text("SequenceName", "PulseSequenceName"),
        body_part=header.text("BodyPartExamined").upper(),
        number=int(_number(header.get("SeriesNumber")) or 0),
        scanning_sequence=_scanning_sequence(header),
        sequence_variant=_sequence_variant(header),
        scan_options=header.words("ScanOptions"),
        image_type=header.words("ImageType") | header.words("FrameType") | header.words("ComplexImageComponent"),
        contrast=header.words("AcquisitionContrast") - {"UNKNOWN"},
        repetition_time=_positive(header.get("RepetitionTime")),
        echo_time=_positive(header.get("EffectiveEchoTime", "EchoTime")),
        inversion_time=min(inversions) if inversions else None,
        inversions=len(inversions),
        flip_angle=_positive(header.get("FlipAngle")),
        b_value=_number(header.get("DiffusionBValue")),
        slices=stack.grid.shape[2] if stack is not None else None,
        stacks=max(1, len(series.stacks)),
        agent=_agent(header),
        acquired=_acquired(datasets, stack.frames if stack is not None else None),
        plane=plane_of(stack.grid) if stack is not None else _plane(header.get("ImageOrientationPatient")),
        made_by_acuity=_made_by_acuity(datasets[0]),
    )


def plane_of(grid: Grid) -> str:
    """The anatomical plane nearest to the slices of ``grid``."""
    return _nearest_plane(grid.direction[:, 2])


class _Header:
    """The attributes of one image: a dataset's own, or those of one frame of an enhanced object."""

    def __init__(self, ds: Dataset, frame: int = 0) -> None:
        self._levels = list(_levels(ds, frame))

    def get(self, *keywords: str) -> object | None:
        """The first of ``keywords`` that has a value, looked up frame first, then shared, then the object."""
        for keyword in keywords:
            for level in self._levels:
                value = _value(level, keyword)
                if value is not None and value != "" and not (isinstance(value, MultiValue) and not value):
                    return value
        return None

    def text(self, *keywords: str) -> str:
        return str(self.get(*keywords) or "").strip()

    def words(self, keyword: str) -> frozenset[str]:
        return frozenset(str(v).strip().upper() for v in _list(self.get(keyword)) if str(v).strip())


def _value(ds: Dataset, keyword: str) -> object | None:
    """A value, or None where the bytes of a corrupt header do not convert to it."""
    try:
        return ds.get(keyword)
    except (ValueError, TypeError, OverflowError, NotImplementedError):
        return None


def _levels(ds: Dataset, frame: int) -> Iterator[Dataset]:
    """The macros of the frame's functional group, those of the shared group, and the dataset itself."""
    per_frame = ds.get("PerFrameFunctionalGroupsSequence") or []
    groups = [per_frame[frame]] if frame < len(per_frame) else []
    groups += list(ds.get("SharedFunctionalGroupsSequence") or [])[:1]
    for group in groups:
        for element in group:
            if element.VR == "SQ" and element.value:
                yield element.value[0]
    yield ds


def _scanning_sequence(header: _Header) -> frozenset[str]:
    """ScanningSequence, or the same words from the pulse sequence attributes of enhanced MR (C.8.13.4)."""
    words = set(header.words("ScanningSequence"))
    if words:
        return frozenset(words)
    echo = header.text("EchoPulseSequence").upper()
    words |= {"SE"} if echo in ("SPIN", "BOTH") else set()
    words |= {"GR"} if echo in ("GRADIENT", "BOTH") else set()
    words |= {"EP"} if header.text("EchoPlanarPulseSequence").upper() == "YES" else set()
    words |= {"IR"} if header.text("InversionRecovery").upper() == "YES" else set()
    return frozenset(words)


def _sequence_variant(header: _Header) -> frozenset[str]:
    """SequenceVariant, with TOF and PC added for angiography and SP, SS from enhanced MR."""
    words = set(header.words("SequenceVariant"))
    if header.text("AngioFlag").upper() == "Y" or header.text("TimeOfFlightContrast").upper() == "YES":
        words.add("TOF")
    if header.text("PhaseContrast").upper() == "YES":
        words.add("PC")
    if header.text("Spoiling").upper() not in ("", "NONE"):
        words.add("SP")
    if header.text("SteadyStatePulseSequence").upper() not in ("", "NONE"):
        words.add("SS")
    return frozenset(words)


def _agent(header: _Header) -> str:
    """The contrast agent as stated (PS3.3 C.7.6.4, C.7.6.4b); "" where none is, or where it says none."""
    administered = header.text("ContrastBolusAgentAdministered").upper()
    if administered == "NO":
        return ""
    agent = header.text("ContrastBolusAgent")
    if agent.lower() not in _NO_AGENT:
        return agent
    if agent:  # the header says in words that there was none
        return ""
    coded = header.get("ContrastBolusAgentSequence")
    if coded:
        return str(coded[0].get("CodeMeaning", "") or "a coded agent")  # type: ignore[index]
    if administered == "YES":
        return "an agent"
    if _positive(header.get("ContrastBolusVolume")):
        return f"{header.text('ContrastBolusVolume')} ml of an agent"
    return "an agent with a start time" if header.text("ContrastBolusStartTime") else ""


def _acquired(datasets: tuple[Dataset, ...], frames: tuple[int, ...] | None) -> float | None:
    """When the earliest image was acquired, in seconds since year 1."""
    if frames is not None:
        times = [_time_of(_Header(datasets[0], frame)) for frame in frames]
    else:
        times = [_time_of(_Header(ds)) for ds in datasets]
    known = [t for t in times if t is not None]
    return min(known) if known else None


def _time_of(header: _Header) -> float | None:
    moment = header.text("FrameAcquisitionDateTime", "FrameReferenceDateTime", "AcquisitionDateTime")
    if moment:
        return _seconds(moment[:8], moment[8:])
    date = header.text("AcquisitionDate", "SeriesDate", "ContentDate", "StudyDate")
    return _seconds(date, header.text("AcquisitionTime", "SeriesTime", "ContentTime"))


def _seconds(date: str, time: str) -> float | None:
    """DICOM date and time (PS3.5 6.2) to seconds; a missing date is day 1, a time that is no time None."""
    clock = time.split("+")[0].split("-")[0].replace(":", "")
    whole, _, fraction = clock.partition(".")
    if len(whole) < 4 or not whole.isdigit():
        return None
    try:
        moment = datetime.strptime((whole + "00")[:6], "%H%M%S")
        day = datetime.strptime(date, "%Y%m%d").toordinal() if date else 1
    except ValueError:
        return None
    part = float(f"0.{fraction}") if fraction.isdigit() else 0.0
    return day * 86400.0 + moment.hour * 3600 + moment.minute * 60 + moment.second + part


def _made_by_acuity(ds: Dataset) -> bool:
    """Whether Acuity computed the images: derived ones, with Acuity among the equipment (PS3.3 C.12.1.1.5)."""
    makers = [str(item.get("Manufacturer", "")) for item in ds.get("ContributingEquipmentSequence") or []]
    derived = "DERIVED" in (str(v) for v in _list(ds.get("ImageType")))
    return derived and any(maker.strip().lower() == MAKER for maker in makers)


def _plane(orientation: object | None) -> str:
    cosines = [_number(v) for v in _list(orientation)]
    if len(cosines) != 6 or any(c is None for c in cosines):
        return ""
    row, column = np.reshape(np.asarray(cosines, dtype=float), (2, 3))
    return _nearest_plane(np.cross(row, column))


def _nearest_plane(normal: NDArray[np.float64]) -> str:
    return _PLANES[int(np.argmax(np.abs(normal)))]


def _list(value: object | None) -> list[object]:
    if value is None:
        return []
    return list(value) if isinstance(value, (MultiValue, list, tuple)) else [value]


def _number(value: object | None) -> float | None:
    """A number, or None for what is no finite number (a corrupt header)."""
    try:
        number = float(str(_list(value)[0]))
    except (ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None


def _positive(value: object | None) -> float | None:
    number = _number(value)
    return number if number and number > 0 else None
