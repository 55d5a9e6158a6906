"""All derived objects of one study, before judges that did not write them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from tests.derived import Derived, derive
from tests.judges import dcentvfy_errors, dciodvfy_errors

OBJECTS = (
    "series/0001.dcm",
    "series/0030.dcm",
    "seg/sr.dcm",
    "seg/source.dcm",
    "report/regions.dcm",
    "report/report.dcm",
    "overview/overview.dcm",
)


@pytest.mark.parametrize("name", OBJECTS)
def test_dciodvfy_finds_no_error(derived: Derived, name: str) -> None:
    assert dciodvfy_errors(derived.folder / name) == []


def test_dcentvfy_finds_no_error_in_the_derived_objects(derived: Derived) -> None:
    assert dcentvfy_errors(p for p in derived.paths if "source" not in p.parent.name) == []


def test_dcentvfy_finds_no_error_together_with_the_source(derived: Derived) -> None:
    assert dcentvfy_errors(derived.paths) == []


def test_the_judges_would_find_an_error(oblique: Derived, tmp_path: Path) -> None:
    broken = deepcopy(oblique.series[0])
    del broken.ImageType
    broken.PatientBirthDate = "19010101"
    broken.save_as(tmp_path / "broken.dcm", enforce_file_format=True)
    assert any("ImageType" in line for line in dciodvfy_errors(tmp_path / "broken.dcm"))
    together = dcentvfy_errors([tmp_path / "broken.dcm", oblique.folder / "series" / "0002.dcm"])
    assert any("PatientBirthDate" in line for line in together)


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (None, "Bono"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 192", "Иванов"),
    ],
)
def test_names_of_the_world_are_kept_and_never_printed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, character_set: str | list[str] | None, name: str
) -> None:
    # a warning would raise here, and does say the name where highdicom gives it
    header = {"SpecificCharacterSet": character_set, "PatientName": name, "PatientBirthDate": None}
    derived = derive(tmp_path, header=header)
    for path in derived.paths:
        ds = pydicom.dcmread(path)
        assert str(ds.PatientName) == name, path.name
    assert {str(ds.PatientName) for ds in derived.source.source_images} == {name}
    assert not dciodvfy_errors(derived.folder / "series" / "0001.dcm")
    assert name.split("^")[0] not in caplog.text


EMPTY = ("PatientName", "PatientSex", "PatientBirthDate", "AccessionNumber", "StudyTime")


def test_what_an_anonymized_export_lacks_is_empty_in_all_that_is_derived(derive_once: Callable[[str], Derived]) -> None:
    derived = derive_once("anonymized")
    for path in derived.paths:
        if path.parent.name != "source":
            ds = pydicom.dcmread(path)
            assert not any(ds[k].value for k in EMPTY), path.name
            assert "PatientAge" not in ds
    assert "AccessionNumber" not in derived.source.source_images[0]


def test_both_files_of_the_overview_hold_the_same_picture(oblique: Derived) -> None:
    folder = oblique.folder / "overview"
    image = pydicom.dcmread(folder / "overview.dcm")
    np.testing.assert_array_equal(image.pixel_array, np.asarray(Image.open(folder / "overview.png")))
    assert (image.BurnedInAnnotation, image.PatientOrientation) == ("NO", "")
    assert image.StudyInstanceUID == oblique.source.source_images[0].StudyInstanceUID
    assert "Not for primary diagnosis" in image.ImageComments
