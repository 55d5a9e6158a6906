"""A study as hospitals send them, tiny: planning, diffusion, several T1s, and no word of the contrast agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.dicom_builder import Array, axial_affine, phantom, uid, write_mr_series

SHAPE = (24, 20, 12)
SPIN_ECHO: dict[str, Any] = {"ScanningSequence": "SE", "SequenceVariant": "SK"}
GRADIENT_ECHO: dict[str, Any] = {"ScanningSequence": "GR", "SequenceVariant": "SP"}
MPRAGE: dict[str, Any] = {
    "ScanningSequence": ["GR", "IR"],
    "SequenceVariant": ["SK", "SP", "MP"],
    "RepetitionTime": 2000,
    "EchoTime": 2.5,
    "InversionTime": 900,
    "FlipAngle": 8,
}
T1_SE: dict[str, Any] = {**SPIN_ECHO, "RepetitionTime": 550, "EchoTime": 11}
T2_TSE: dict[str, Any] = {**SPIN_ECHO, "RepetitionTime": 4500, "EchoTime": 99}
FLAIR_3D: dict[str, Any] = {
    "ScanningSequence": ["SE", "IR"],
    "SequenceVariant": ["SK", "SP", "MP"],
    "RepetitionTime": 5000,
    "EchoTime": 388,
    "InversionTime": 1800,
}
FLAIR_2D: dict[str, Any] = {
    "ScanningSequence": ["SE", "IR"],
    "RepetitionTime": 9000,
    "EchoTime": 120,
    "InversionTime": 2500,
}
SAGITTAL = np.array([[0, 0, -3.0, 18], [1, 0, 0, -12], [0, -1, 0, 12], [0, 0, 0, 1.0]])  # i to the back, j down


@dataclass
class SeriesSpec:
    """One series to write: its name, number, header, array and what ``write_mr_series`` takes besides."""

    name: str
    number: int
    header: dict[str, Any]
    array: Array = field(default_factory=lambda: phantom(SHAPE))
    affine: Array = field(default_factory=axial_affine)
    time: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def uid(self) -> str:
        return str(uid("hospital", self.name, self.number))


def write_study(folder: Path, specs: list[SeriesSpec]) -> Path:
    """Write the series, each in its own folder; by default they are acquired in the order of their numbers."""
    for spec in specs:
        time = spec.time or f"10{spec.number:02d}00"
        write_mr_series(
            folder / f"series{spec.number:02d}",
            spec.array,
            spec.affine,
            name=spec.name,
            prefix="image",
            series_number=spec.number,
            series_uid=spec.uid,
            **spec.options,
            **{"AcquisitionTime": time, "SeriesTime": time, **spec.header},
        )
    return folder


def brain(*, enhanced: bool = False, gain: float = 1.0, seed: int = 0, noise: float = 15.0) -> Array:
    """(24, 20, 12) of a T1-weighted head; ``enhanced`` has a bright tumor rim and sinus, some 4 % of the head."""
    rng = np.random.default_rng(seed)
    i, j, k = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    radius = (i / 0.85) ** 2 + (j / 0.85) ** 2 + (k / 0.95) ** 2
    volume = np.where(radius < 1, 500.0, 0.0)  # gray matter
    volume[radius < 0.55] = 800.0  # white matter
    volume[(i / 0.25) ** 2 + (j / 0.4) ** 2 + (k / 0.5) ** 2 < 1] = 200.0  # ventricles
    tumor = np.sqrt((i - 0.4) ** 2 + (j + 0.2) ** 2 + (k - 0.1) ** 2)
    volume[tumor < 0.32] = 350.0
    if enhanced:
        volume[(tumor > 0.12) & (tumor < 0.32)] = 1500.0
        volume[(radius < 1) & (radius > 0.7) & (np.abs(i) < 0.12) & (j > 0)] = 1600.0
    return np.clip(np.round(gain * volume + rng.normal(0, noise * gain, SHAPE)), 0, 4000).astype(np.uint16)


def hospital_series() -> list[SeriesSpec]:
    """A protocol in the order of acquisition; the post-contrast series 9 says nothing of its agent."""
    diffusion = {"ScanningSequence": ["EP", "SE"], "RepetitionTime": 5000, "EchoTime": 90}
    return [
        SeriesSpec(
            "localizer",
            1,
            {
                **GRADIENT_ECHO,
                "RepetitionTime": 8,
                "EchoTime": 4,
                "FlipAngle": 20,
                "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"],
            },
        ),
        SeriesSpec("AX T1", 2, T1_SE, brain(seed=1)),
        SeriesSpec("SAG T1", 3, T1_SE, brain(seed=2), SAGITTAL),
        SeriesSpec("ep2d_diff_3scan", 4, {**diffusion, "DiffusionBValue": 1000.0}),
        SeriesSpec("ep2d_diff_ADC", 5, {**diffusion, "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}),
        SeriesSpec("AX T2", 6, T2_TSE),
        SeriesSpec("SWI", 7, {**GRADIENT_ECHO, "RepetitionTime": 28, "EchoTime": 20, "FlipAngle": 15}),
        SeriesSpec("t2_space_dark-fluid_sag", 8, FLAIR_3D, affine=axial_affine((1.0, 1.0, 1.0))),
        SeriesSpec("AX T1", 9, T1_SE, brain(seed=3, enhanced=True, gain=1.6)),
        SeriesSpec("AX T1 SUB", 10, {**T1_SE, "ImageType": ["DERIVED", "SECONDARY", "SUBTRACTION"]}),
    ]
