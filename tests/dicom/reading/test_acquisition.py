"""How a series was acquired, as classic, enhanced and converted headers say it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from acuity.dicom.reading.acquisition import acquisition_type
from acuity.dicom.reading.read import load_stack, read_study
from tests import dicom_builder

ARRAY = np.arange(6 * 5 * 4, dtype=np.float32).reshape(6, 5, 4)


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize(("value", "expected"), [("2D", "2D"), ("3D", "3D"), ("", ""), (None, "")])
def test_what_the_header_says_is_what_the_volume_s_source_says(
    enhanced: bool, value: str | None, expected: str, tmp_path: Path
) -> None:
    affine = dicom_builder.axial_affine()
    if enhanced:
        dicom_builder.write_enhanced_mr(tmp_path / "mr.dcm", [ARRAY], affine, MRAcquisitionType=value)
    else:
        dicom_builder.write_mr_series(tmp_path, ARRAY, affine, MRAcquisitionType=value)
    (series,) = read_study(tmp_path).series
    volume = load_stack(series.stacks[0])
    assert acquisition_type(volume.source_images[0]) == expected


@pytest.mark.parametrize("scope", ["Shared", "PerFrame"])
def test_a_converted_image_has_it_where_the_conversion_left_it(scope: str) -> None:
    left = dicom_builder.dataset(MRAcquisitionType="2D")
    group = dicom_builder.dataset(**{f"Unassigned{scope}ConvertedAttributesSequence": [left]})
    source = dicom_builder.dataset(
        SharedFunctionalGroupsSequence=[group if scope == "Shared" else Dataset()],
        PerFrameFunctionalGroupsSequence=[group if scope == "PerFrame" else Dataset() for _ in range(3)],
    )
    assert acquisition_type(source) == "2D"
    delattr(left, "MRAcquisitionType")
    assert acquisition_type(source) == ""
