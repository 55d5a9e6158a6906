"""Data sets of BraTS cases: that nothing moves, which labels low resolution has, and that a cut run goes on."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from nibabel.affines import apply_affine
from scipy import ndimage
from skimage.measure import block_reduce

from acuity.anatomy import Sequence, labels_to_regions
from acuity.cli import main
from acuity.errors import DataError
from acuity.research.datasets import brats
from acuity.research.datasets.brats import FILE_SUFFIX
from acuity.research.degradations.volumes import low_resolution
from acuity.research.derived.low_resolution import shrunk_labels
from acuity.research.derived.sets import chosen_cases
from acuity.volume import sitk_affine
from tests.research.cases import write_case
from tests.research.evaluation.bundles import add_bundle

SHAPE = (27, 30, 20)
# Turned by 20 degrees and anisotropic, as RAS in the file.
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = [
    [-0.9 * np.cos(0.35), 1.2 * np.sin(0.35), 0],
    [-0.9 * np.sin(0.35), -1.2 * np.cos(0.35), 0],
    [0, 0, 1.5],
]
OBLIQUE[:3, 3] = [31.0, -12.0, 7.0]
LANDMARK = (16, 10, 12)  # voxels; off the middle on all axes


def add_case(folder: Path, name: str, *, affine: np.ndarray = OBLIQUE, labeled: bool = True) -> None:
    """A smooth brain with a bright spot at LANDMARK, and a tumor about it."""
    index = np.indices(SHAPE)
    middle = [(n - 1) / 2 for n in SHAPE]
    brain = sum(((g - c) / (0.42 * n)) ** 2 for g, c, n in zip(index, middle, SHAPE, strict=True)) < 1
    distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(index, LANDMARK, strict=True)))
    image = np.where(brain, 100 + index[0] + 400 * np.exp(-((distance / 3) ** 2)), 0).astype(np.float32)
    labels = np.select([distance < 1.6, distance < 2.6, distance < 4.5], [1, 4, 2], 0).astype(np.uint8)
    images = {sequence: image * n for n, sequence in enumerate(Sequence, 1)}
    write_case(folder, name, images, labels if labeled else None, affine)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("first", "second"):
        add_case(tmp_path / "data", name)
    return tmp_path / "data"


def make(kind: str, data: Path, output: Path, *options: str) -> int:
    return main(["dataset", kind, "--data", str(data), "--output", str(output), *options])


def load(folder: Path, suffix: str, case: str = "first") -> nib.Nifti1Image:
    return nib.load(folder / case / f"{case}_{suffix}.nii.gz")


def centroid(image: nib.Nifti1Image, weights: np.ndarray) -> np.ndarray:
    """In mm, by the file's affine."""
    return apply_affine(image.affine, ndimage.center_of_mass(weights))


def spot(image: nib.Nifti1Image) -> np.ndarray:
    """Where the bright spot is, in mm."""
    return centroid(image, np.clip(image.get_fdata() - 2 * 250, 0, None))  # of T1c: twice the values


def tumor(image: nib.Nifti1Image) -> np.ndarray:
    return centroid(image, np.asarray(image.dataobj) > 0)


def test_low_resolution_keeps_every_place(data, tmp_path, capsys):
    assert make("lr", data, tmp_path / "lr") == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(tmp_path / "lr" / "dataset.json") and "lr: 100%" in said.err
    before, after = load(data, "t1ce"), load(tmp_path / "lr", "t1ce")
    assert after.shape == (14, 15, 10)  # ceil
    np.testing.assert_allclose(after.header.get_zooms(), 2 * np.array(before.header.get_zooms()), rtol=1e-5)
    face = [-0.5, -0.5, -0.5]
    np.testing.assert_allclose(apply_affine(after.affine, face), apply_affine(before.affine, face), atol=1e-4)
    np.testing.assert_allclose(spot(after), spot(before), atol=0.15)
    labels = load(tmp_path / "lr", "seg")
    np.testing.assert_allclose(labels.affine, after.affine)
    np.testing.assert_allclose(tumor(labels), tumor(load(data, "seg")), atol=0.3)
    assert labels.get_data_dtype() == np.uint8 and set(np.unique(labels.dataobj)) == {0, 1, 2, 4}
    expected = low_resolution(brats.read_case(data / "first")[Sequence.T1C])
    np.testing.assert_array_equal(after.get_fdata(dtype=np.float32), expected.array)
    # Any BraTS reader takes it.
    assert brats.read_case(tmp_path / "lr" / "second").keys() == FILE_SUFFIX.keys()


@pytest.mark.parametrize(("thickness", "count"), [("4.5", 3), ("6", 4), ("9", 6)])
def test_thick_slices_are_means_that_lie_where_simpleitk_puts_them(thickness, count, data, tmp_path):
    """20 slices of 1.5 mm: no multiple of 3 and of 6, so that the last is repeated."""
    assert make("lr", data, tmp_path / "lr", "--slice-thickness", thickness, "--case", "first") == 0
    case = brats.read_case(data / "first")
    thick = brats.read_case(tmp_path / "lr" / "first")
    for sequence in Sequence:
        padded = sitk.ZeroFluxNeumannPad(case[sequence].to_sitk(), [0, 0, 0], [0, 0, -20 % count])
        expected = sitk.BinShrink(padded, [1, 1, count])
        found = thick[sequence]
        assert found.shape == expected.GetSize() == (27, 30, -(-20 // count))
        np.testing.assert_allclose(found.array.transpose(2, 1, 0), sitk.GetArrayFromImage(expected), rtol=1e-5)
        np.testing.assert_allclose(found.affine, sitk_affine(expected), atol=1e-4)
    labels = load(tmp_path / "lr", "seg")
    np.testing.assert_allclose(labels.affine, load(tmp_path / "lr", "t1").affine)
    np.testing.assert_allclose(tumor(labels), tumor(load(data, "seg")), atol=0.4 * float(thickness))
    described = json.loads((tmp_path / "lr" / "dataset.json").read_text())
    assert described["made"]["kind"] == "lr" and described["made"]["slice_thickness_mm"] == float(thickness)
    assert f"axial slices of {thickness} mm" in described["made"]["images"] and "scale" not in described["made"]
    assert described["command"].endswith(f"--slice-thickness {thickness} --case first")


def test_how_sets_by_scale_are_described_does_not_change(data, tmp_path):
    """Else those that are there would no longer be current."""
    for kind in ("lr", "interpolated"):
        assert make(kind, data, tmp_path / kind, "--case", "first") == 0
    made = {kind: json.loads((tmp_path / kind / "dataset.json").read_text())["made"] for kind in ("lr", "interpolated")}
    for recipe in made.values():
        recipe.pop("acuity")
    assert made == {
        "lr": {
            "kind": "lr",
            "scale": 2.0,
            "images": "shrunk by antialiased cubic interpolation (a = -0.5); ceil(size / scale) voxels, the outer "
            "faces of the first ones where they were",
            "labels": "a voxel belongs to ET, TC or WT where that region fills half of it or more",
            "source": None,
        },
        "interpolated": {
            "kind": "interpolated",
            "scale": 2.0,
            "images": "shrunk as LRBraTS is, brought back to the case's own grid; 0 where all its sequences are",
            "labels": "the case's own",
            "method": {"interpolation": "cubic, a = -0.5"},
            "source": None,
        },
    }


@pytest.mark.parametrize(("option", "axis"), [(("--scale", "2"), 0), (("--slice-thickness", "4.5"), 2)])
@pytest.mark.parametrize("kind", ["interpolated", "sr"])
def test_what_is_brought_back_lies_where_the_case_does(kind, option, axis, data, tmp_path):
    add_bundle(tmp_path / "models", "ours")
    options = ["--bundle", "ours", "--models", str(tmp_path / "models")] if kind == "sr" else []
    assert make(kind, data, tmp_path / "out", "--case", "first", *option, *options) == 0
    assert not (tmp_path / "out" / "second").exists()
    before, after = load(data, "t1ce"), load(tmp_path / "out", "t1ce")
    assert after.shape == SHAPE
    np.testing.assert_allclose(after.affine, before.affine, atol=1e-5)
    truth, found = before.get_fdata(), after.get_fdata()
    # The brain was extracted and stays so; within it something was lost, and nothing was shifted.
    assert not found[truth == 0].any()
    errors = {shift: np.abs(np.roll(found, shift, axis=axis) - truth).mean() for shift in (-1, 0, 1)}
    assert min(errors, key=lambda shift: errors[shift]) == 0 and errors[0] > 0
    np.testing.assert_array_equal(load(tmp_path / "out", "seg").dataobj, load(data, "seg").dataobj)
    described = json.loads((tmp_path / "out" / "dataset.json").read_text())
    made = described["made"]
    assert made["kind"] == kind and "own grid" in made["images"] and list(described["cases"]) == ["first"]
    if option[0] == "--scale":
        np.testing.assert_allclose(spot(after), spot(before), atol=0.15)
        assert made["scale"] == 2
    else:
        assert "4.5 mm" in made["images"]
    if kind == "sr":
        assert made["method"]["bundle"] == "ours" and len(made["method"]["sha256"]) == 64
        assert described["command"].endswith(f"{' '.join(option)} {' '.join(options)} --case first")
    if (kind, axis) == ("sr", 2):
        # What was measured nearly holds within the brain, as far as so few slices tell their profile.
        inside = truth[:, :, 9:12].min(axis=2) > 0
        ours, measured = (image[:, :, 9:12].mean(axis=2)[inside] for image in (found, truth))
        assert np.abs(ours - measured).mean() < 0.02 * truth.max()


def test_a_crop_is_the_middle_and_keeps_every_place(data, tmp_path):
    assert make("crop", data, tmp_path / "out", "--size", "12") == 0
    for suffix in ("t1ce", "seg"):
        before, after = load(data, suffix), load(tmp_path / "out", suffix)
        middle = before.slicer[7:19, 9:21, 4:16]  # nibabel's own cut: affine and all
        np.testing.assert_allclose(after.affine, middle.affine, atol=1e-5)
        np.testing.assert_array_equal(after.dataobj, middle.dataobj)
    # What is cut off of the tumor is said, and what the crop is of.
    assert make("lr", tmp_path / "out", tmp_path / "lr") == 0
    made = json.loads((tmp_path / "lr" / "dataset.json").read_text())["made"]
    assert made["kind"] == "lr" and made["source"]["kind"] == "crop" and made["source"]["source"] is None
    case = json.loads((tmp_path / "out" / "dataset.json").read_text())["cases"]["first"]
    assert 0 < case["tumor_ml_here"] < case["tumor_ml"]
    voxel = 0.9 * 1.2 * 1.5 / 1000
    assert case["tumor_ml"] == pytest.approx((np.asarray(load(data, "seg").dataobj) > 0).sum() * voxel, abs=1e-3)


def test_low_labels_are_of_regions_that_fill_half():
    """scikit-image's block means are the judge."""
    labels = np.random.default_rng(0).choice(np.array([0, 1, 2, 4], np.uint8), (8, 12, 10), p=[0.4, 0.2, 0.2, 0.2])
    low = shrunk_labels(labels, (2, 2, 2))
    means = [block_reduce(region.astype(float), (2, 2, 2), np.mean) for region in labels_to_regions(labels)]
    np.testing.assert_array_equal(labels_to_regions(low), np.stack(means) >= 0.5)
    # Three healthy voxels, two necrotic and three enhancing: core, since five of the eight are.
    assert shrunk_labels(np.array([0, 0, 0, 1, 1, 4, 4, 4], np.uint8).reshape(2, 2, 2), (2, 2, 2)).item() == 1
    # A sheet of one voxel fills half, and stays.
    sheet = np.zeros((8, 8, 8), np.uint8)
    sheet[3] = 4
    low = shrunk_labels(sheet, (2, 2, 2))
    assert (low[1] == 4).all() and not low[[0, 2, 3]].any()
    # Along one axis alone a sheet of a third of a slice is lost, one of two thirds fills it.
    assert not shrunk_labels(sheet, (3, 1, 1)).any()
    sheet[4] = 2
    thick = shrunk_labels(sheet, (3, 1, 1))
    assert thick.shape == (3, 8, 8) and (thick[1] == 2).all() and not thick[[0, 2]].any()
    # The rest beyond an odd end is as the last voxel.
    assert shrunk_labels(np.full((3, 3, 3), 2, np.uint8), (2, 2, 2)).tolist() == np.full((2, 2, 2), 2).tolist()


def test_what_is_there_is_kept(data, tmp_path):
    out = tmp_path / "lr"

    def made() -> set[str]:
        """The cases that a run writes."""
        before = {path: path.stat().st_mtime_ns for path in out.rglob("*.nii.gz")}
        assert make("lr", data, out) == 0
        after = {path: path.stat().st_mtime_ns for path in out.rglob("*.nii.gz")}
        assert len(after) == 2 * 5
        return {path.parent.name for path in after if before.get(path) != after[path]}

    assert made() == {"first", "second"}
    assert made() == set()
    (out / "second" / "second_seg.nii.gz").unlink()
    assert made() == {"second"}
    image = load(data, "flair")
    nib.save(
        nib.Nifti1Image(image.get_fdata(dtype=np.float32) + 1, image.affine), data / "first" / "first_flair.nii.gz"
    )
    assert made() == {"first"}


def test_a_cut_leaves_no_half_file(data, tmp_path, monkeypatch):
    out, left = tmp_path / "lr", [7]

    def cut(image, path) -> None:
        left[0] -= 1
        if left[0] < 0:
            Path(path).write_bytes(b"half")
            raise KeyboardInterrupt
        saved(image, path)

    saved = nib.save
    with monkeypatch.context() as patch:
        patch.setattr(nib, "save", cut)
        with pytest.raises(KeyboardInterrupt):
            make("lr", data, out)
    for file in out.rglob("[!p]*.nii.gz"):
        nib.load(file).get_fdata()
    assert list(json.loads((out / "dataset.json").read_text())["cases"]) == ["first"]
    assert make("lr", data, out) == 0
    assert not list(out.rglob("partial-*"))
    assert len(list(out.rglob("*.nii.gz"))) == 2 * 5


def test_a_case_without_truth_gives_one_without(tmp_path):
    add_case(tmp_path / "data", "blind", labeled=False)
    assert make("lr", tmp_path / "data", tmp_path / "lr") == 0
    assert sorted(path.name for path in (tmp_path / "lr" / "blind").iterdir()) == [
        f"blind_{suffix}.nii.gz" for suffix in ("flair", "t1", "t1ce", "t2")
    ]
    described = json.loads((tmp_path / "lr" / "dataset.json").read_text())
    assert described["cases"]["blind"] == {"tumor_ml": None, "tumor_ml_here": None}


def test_refusals_say_what_is_wrong(data, tmp_path, capsys):
    out = tmp_path / "out"
    assert make("lr", data, out, "--case", "first") == 0
    sr = ("--bundle", "none", "--models", str(tmp_path))
    for code, kind, output, options, message in (
        (60, "lr", out, ("--scale", "4"), "made in another way: it differs in scale"),
        (60, "interpolated", out, (), "kind"),
        (60, "lr", data, (), "holds the cases that the data set is made from"),
        (70, "lr", out, ("--case", "third"), "holds no case third"),
        (70, "crop", tmp_path / "crop", ("--size", "21"), "27 x 30 x 20 voxels"),
        (50, "sr", tmp_path / "sr", sr, "none"),
        (70, "lr", tmp_path / "thick", ("--slice-thickness", "4"), "20 slices of 1.5 mm make no slice of 4 mm"),
    ):
        assert make(kind, data, output, *options) == code
        assert message in capsys.readouterr().err
    for options, message in (
        (("--scale", "1"), "1 does not shrink"),
        (("--scale", "half"), "invalid"),
        (("--slice-thickness", "-3"), "is no thickness"),
        (("--slice-thickness", "3", "--scale", "2"), "not allowed"),
    ):
        with pytest.raises(SystemExit) as stop:
            make("lr", data, out, *options)
        assert stop.value.code == 2 and message in capsys.readouterr().err


def test_cases_by_a_split(data, tmp_path):
    split = tmp_path / "mine.json"
    split.write_text('{"train": ["second", "absent"], "validation": [], "test": []}')
    assert chosen_cases(data) == ["first", "second"]
    assert chosen_cases(data, part="train", split=split) == ["second"]
    assert chosen_cases(data, part="train") + chosen_cases(data, part="validation") in (
        ["first", "second"],
        ["second", "first"],
    )
    assert chosen_cases(data, names=["first"]) == ["first"]
    with pytest.raises(DataError, match="holds no case for test"):
        chosen_cases(data, part="test", split=split)
