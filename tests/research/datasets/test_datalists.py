"""MONAI's data lists name the same images in every layout."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from monai.transforms import LoadImage

from acuity.anatomy import Sequence
from acuity.errors import DataError
from acuity.models.transforms import ChannelsOrderedd
from acuity.research.datasets.brats import read_case
from acuity.research.datasets.datalists import case_datalist, image_datalist
from tests.research.layouts import LAYOUTS, made_up, write_layout, write_one


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_listed_in_the_networks_order(tmp_path: Path, layout: str) -> None:
    names = write_layout(layout, tmp_path)
    listed = case_datalist(tmp_path)
    assert [entry["case"] for entry in listed] == names
    for name, entry in zip(names, listed, strict=True):
        loaded = LoadImage(ensure_channel_first=True)(entry["image"])
        ordered = ChannelsOrderedd("image")({"channels": entry["channels"], "image": loaded})["image"].numpy()
        expected = read_case(tmp_path / name)
        for channel, sequence in zip(ordered, Sequence, strict=True):
            np.testing.assert_allclose(np.sort(channel, axis=None), np.sort(expected[sequence].array, axis=None))
            assert abs(np.corrcoef(channel.ravel(), expected[sequence].array.ravel())[0, 1]) > 0.99


def test_an_incomplete_case_and_a_folder_without_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no case"):
        case_datalist(tmp_path)
    write_one("2021", tmp_path, "whole", *made_up(0))
    write_one("2021", tmp_path, "partial", *made_up(1))
    for file in (tmp_path / "partial").glob("*_t2.nii*"):
        file.unlink()
    with pytest.raises(DataError, match=r"partial has no T2"):
        case_datalist(tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_truths_are_no_images(tmp_path: Path, layout: str) -> None:
    write_layout(layout, tmp_path)
    listed = [Path(str(entry["image"])).name for entry in image_datalist(tmp_path)]
    assert listed and not [name for name in listed if "seg" in name.lower()]
    assert not any("labelsTr" in str(entry["image"]) for entry in image_datalist(tmp_path))
    shutil.rmtree(tmp_path)
    with pytest.raises(DataError, match="holds no NIfTI image"):
        image_datalist(tmp_path)
