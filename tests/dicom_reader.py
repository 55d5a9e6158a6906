"""A folder of one series, as Acuity and as SimpleITK read it."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from acuity.dicom.reading.read import load_stack, read_study
from acuity.dicom.reading.study import Series
from acuity.volume import Volume


def only_series(path: Path) -> Series:
    (series,) = read_study(path).series
    return series


def only_volume(path: Path) -> Volume:
    series = only_series(path)
    assert series.verdict == "ok", series.reason
    (stack,) = series.stacks
    return load_stack(stack)


def sitk_series(folder: Path) -> sitk.Image:
    """The series as SimpleITK reads it, classic images only."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()
