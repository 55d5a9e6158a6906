"""Cases without a tumor, as BraTS's: mirrored halves, and phantoms."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from acuity.anatomy import Sequence
from acuity.cli import main
from acuity.errors import DataError
from acuity.research.datasets import brats
from acuity.research.derived import tumor_free as brats_tumor_free
from acuity.research.derived.tumor_free import make_phantoms
from acuity.research.synthetic.phantom import make_phantom
from tests.research.cases import write_case

SHAPE = (60, 20, 16)
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS


def add_case(folder: Path, name: str, *, last: int, labeled: bool = True) -> None:
    """A brain symmetric about i = 26 but for a gradient, with tumor in the columns 8 to ``last``."""
    i, j, k = np.indices(SHAPE)
    brain = ((i - 26) / 22) ** 2 + ((j - 9.5) / 9) ** 2 + ((k - 7.5) / 7) ** 2 < 1
    image = np.where(brain, 300 + 80 * np.cos(np.abs(i - 26) / 2) * np.sin(j / 3) + i, 0).astype(np.float32)
    labels = np.zeros(SHAPE, np.uint8)
    labels[8 : last + 1, 7:12, 5:9] = 2
    images = {sequence: image * n for n, sequence in enumerate(Sequence, 1)}
    write_case(folder, name, images, labels if labeled else None, AFFINE)


def test_the_free_half_is_mirrored_and_other_cases_are_left_out(tmp_path, capsys):
    data, out = tmp_path / "data", tmp_path / "out"
    add_case(data, "one", last=16)
    add_case(data, "both", last=40)
    command = ["dataset", "mirrored", "--data", str(data), "--output", str(out)]
    assert main(command) == 0
    assert "both is left out: its tumor reaches into both halves" in capsys.readouterr().err
    described = json.loads((out / "dataset.json").read_text())
    voxels = 9 * 5 * 4
    assert described["cases"] == {"one": {"tumor_ml": voxels / 1000, "tumor_ml_here": 0.0}}
    assert described["made"]["kind"] == "mirrored" and not (out / "both").exists()
    before, after = brats.read_case(data / "one"), brats.read_case(out / "one")
    for sequence, volume in after.items():
        assert volume.grid.same_as(before[sequence].grid)
        np.testing.assert_array_equal(volume.array[:53], volume.array[52::-1])
        np.testing.assert_array_equal(volume.array[26:], before[sequence].array[26:])
    assert not brats.read_labels(out / "one").array.any()
    # A case whose truth is another one now does not stay.
    add = data / "one" / "one_seg.nii.gz"
    nib.save(nib.Nifti1Image(brats.read_labels(data / "both").array, AFFINE), add)
    assert main(command) == 0
    assert not list(out.rglob("*.nii.gz")) and json.loads((out / "dataset.json").read_text())["cases"] == {}


def test_without_labels_no_half_is_known_to_be_free(tmp_path, capsys):
    add_case(tmp_path / "data", "blind", last=16, labeled=False)
    assert main(["dataset", "mirrored", "--data", str(tmp_path / "data"), "--output", str(tmp_path / "out")]) == 70
    assert "blind has no labels" in capsys.readouterr().err


@pytest.mark.parametrize("tumor", [True, False])
def test_phantoms_are_laid_out_as_cases(tumor, tmp_path, monkeypatch):
    made = []

    def coarse(**options):
        made.append(options["seed"])
        return make_phantom(**options, spacing_mm=8.0)

    monkeypatch.setattr(brats_tumor_free, "make_phantom", coarse)
    command = ["dataset", "phantoms", "--output", str(tmp_path), *([] if tumor else ["--no-tumor"])]
    assert main([*command, "--count", "1"]) == 0
    assert main([*command, "--count", "2"]) == 0
    assert made == [0, 1]  # the first one was there
    described = json.loads((tmp_path / "dataset.json").read_text())
    assert list(described["cases"]) == ["phantom_000", "phantom_001"]
    assert described["made"]["kind"] == "phantoms" and described["made"]["tumor"] is tumor
    assert described["command"] == " ".join(
        ["acuity", "dataset", "phantoms", "--output", str(tmp_path), "--count", "2", *([] if tumor else ["--no-tumor"])]
    )
    phantom = make_phantom(seed=1, tumor=tumor, spacing_mm=8.0)
    found = brats.read_case(tmp_path / "phantom_001")
    for sequence, volume in phantom.volumes.items():
        np.testing.assert_array_equal(found[sequence].array, volume.array)
        assert found[sequence].grid.same_as(volume.grid)
    labels = brats.read_labels(tmp_path / "phantom_001")
    np.testing.assert_array_equal(labels.array, phantom.labels.array)
    assert labels.array.any() == tumor == (described["cases"]["phantom_001"]["tumor_ml"] > 0)


def test_phantoms_to_train_on_are_none_to_judge_by(tmp_path):
    with pytest.raises(DataError, match="trained on phantoms from number 1000"):
        make_phantoms(tmp_path, 1001, tumor=False, command="")
    with pytest.raises(SystemExit):
        main(["dataset", "phantoms", "--output", str(tmp_path), "--count", "0"])
