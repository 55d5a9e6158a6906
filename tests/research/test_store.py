"""Results that say what they were made from."""

from __future__ import annotations

import json
import math

import nibabel as nib
import numpy as np
import pytest

from acuity.errors import OutputError
from acuity.research.store import Store, file_mark, read_arrays, save_arrays, save_volume

KEY = ("0012", "a")


def store(folder) -> Store:
    return Store(folder / "new", ["case", "method"], ["scores", "bins"])


def test_a_result_is_held_while_all_of_it_has_the_mark(tmp_path):
    first = store(tmp_path)
    files = [tmp_path / "a.npz", tmp_path / "labels.nii.gz"]
    save_arrays({"image": np.ones((2, 3), np.float32)}, files[0], "12e4567890ab")
    save_volume(np.ones((2, 2, 2), np.uint8), np.eye(4), files[1], "12e4567890ab")
    first.keep(KEY, "12e4567890ab", scores=[{"psnr": 31.234567, "count": 1234567}], bins=[{"n": 0}, {"n": 1}])
    first.keep(("b", "a"), "x", scores=[{"psnr": math.nan, "count": 2}], bins=[])
    first.write()
    for found in (first, store(tmp_path)):  # and as it is read again
        assert found.holds(KEY, "12e4567890ab", files)
        assert not found.holds(KEY, "another", files) and not found.holds(("0012", "b"), "12e4567890ab")
        assert not found.holds(KEY, "12e4567890ab", [*files, tmp_path / "absent.npz"])
        assert not found.holds(("b", "a"), "x")  # without rows in one of the tables
    assert first.path("scores").read_text() == (
        "case,method,psnr,count,made_from\n0012,a,31.2346,1234567,12e4567890ab\nb,a,,2,x\n"
    )
    assert read_arrays(files[0])["image"].shape == (2, 3)
    assert nib.load(files[1]).get_data_dtype() == np.uint8 and file_mark(tmp_path / "absent.npz") is None


def test_rows_are_replaced_where_they_stand(tmp_path):
    kept = store(tmp_path)
    for case in ("a", "b", "a"):
        kept.keep((case, "m"), "1", scores=[{"psnr": float(len(case))}], bins=[{"n": 0}])
    kept.write()
    again = store(tmp_path)
    again.keep(("a", "m"), "2", scores=[{"psnr": 7.0}], bins=[{"n": 3}])
    again.write()
    assert again.read("scores")[["case", "psnr", "made_from"]].values.tolist() == [["a", 7.0, "2"], ["b", 1.0, "1"]]


def test_settings_of_earlier_runs_are_united(tmp_path):
    for name in ("a", "b"):
        found = store(tmp_path).write_settings({"methods": {name: 1}, "software": name}, united=["methods"])
    assert found == json.loads((tmp_path / "new" / "settings.json").read_text())
    assert found == {"methods": {"a": 1, "b": 1}, "software": "b"}


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "new").touch()
    with pytest.raises(OutputError, match="cannot be made a folder"):
        store(tmp_path)
