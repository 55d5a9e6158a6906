"""Whether a head is stripped, and where its brain is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nilearn import datasets

from acuity.anatomy import Sequence
from acuity.demo.classic_mr import degrade
from acuity.errors import BrainExtractionError
from acuity.imaging import brain
from acuity.imaging.brain import extract_brain, is_skull_stripped, stripped_mask
from acuity.research.metrics.overlap import dice
from acuity.research.synthetic.phantom import make_phantom
from acuity.volume import RAS_LPS, Volume


@pytest.mark.parametrize("slices", [slice(None), slice(14, 22)])
@pytest.mark.parametrize("sequence", list(Sequence))
def test_a_stripped_brain_and_a_slab_of_it_are_recognized(sequence: Sequence, slices: slice) -> None:
    volume = make_phantom(spacing_mm=4.0).volumes[sequence]
    assert is_skull_stripped(replace(volume, array=volume.array[:, :, slices]))


@pytest.mark.parametrize("sequence", list(Sequence))
def test_a_head_is_not_stripped_even_where_the_scanner_sets_its_air_to_zero(sequence: Sequence) -> None:
    volume = make_phantom(spacing_mm=4.0, head=True).volumes[sequence]
    assert not is_skull_stripped(volume)
    zeroed = volume.with_array(np.where(volume.array < 60.0, 0.0, volume.array).astype(np.float32))
    assert (zeroed.array == 0.0).mean() > 0.3
    assert not is_skull_stripped(zeroed)
    # A slab of it is no larger than a brain: the scalp and the skull must tell.
    slab = replace(zeroed, array=zeroed.array[:, :, 18:26])
    assert (slab.array > 0).sum() * slab.grid.voxel_volume < 2500.0
    assert not is_skull_stripped(slab)


def test_an_image_without_background_or_without_anything_is_not_stripped() -> None:
    noise = np.random.default_rng(0).random((20, 20, 10)).astype(np.float32)
    assert not is_skull_stripped(Volume(noise, np.eye(4)))
    assert not is_skull_stripped(Volume(np.zeros((20, 20, 10), dtype=np.float32), np.eye(4)))


def test_real_stripped_cases_are_recognized(shared_data: Path) -> None:
    case = shared_data / "brats" / "Brats18_CBICA_AOP_1"
    image = nib.load(case / f"{case.name}_t1ce.nii.gz")
    assert is_skull_stripped(Volume(np.asarray(image.dataobj, dtype=np.float32), RAS_LPS @ image.affine))


def test_the_mask_of_a_stripped_brain_is_the_brain() -> None:
    phantom = make_phantom(spacing_mm=4.0)
    mask = stripped_mask(phantom.volumes[Sequence.FLAIR])
    assert mask.array.dtype == np.uint8
    assert dice(mask.array > 0, phantom.brain.array > 0) > 0.995


@pytest.mark.parametrize("sequence", list(Sequence))
def test_the_mask_of_a_brain_that_was_shrunk_after_stripping_does_not_swell(sequence: Sequence) -> None:
    phantom = make_phantom(spacing_mm=3.0)
    mask = stripped_mask(degrade(phantom.volumes[sequence], (6.0, 6.0, 6.0)))
    truth = phantom.brain.array.sum() * phantom.brain.grid.voxel_volume
    assert mask.array.sum() * mask.grid.voxel_volume == pytest.approx(truth, rel=0.08)  # 25 % if the halo counted


def test_the_mask_fills_holes_and_leaves_specks_out() -> None:
    phantom = make_phantom(spacing_mm=4.0)
    volume = phantom.volumes[Sequence.T2]
    array = volume.array.copy()
    middle = tuple(n // 2 for n in array.shape)
    array[middle] = 0.0
    array[1, 1, 1] = 500.0
    assert phantom.brain.array[middle] and not phantom.brain.array[0:3, 0:3, 0:3].any()
    mask = stripped_mask(volume.with_array(array)).array
    assert mask[middle] == 1
    assert mask[1, 1, 1] == 0


def test_a_fragment_is_no_brain() -> None:
    volume = make_phantom(spacing_mm=8.0).volumes[Sequence.T1]
    with pytest.raises(BrainExtractionError, match=r"measures \d+ ml; plausible are 300 to 2500 ml"):
        stripped_mask(replace(volume, array=volume.array[:, :, :2]))


class FakeNetwork:
    """Answers like deepbet, with a mask by threshold; keeps the image that it was given."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.image: Any = None

    def run(self, image: Any) -> tuple[Any, Any, float]:
        self.image = image
        if self.threshold > 1e6:
            raise AssertionError("Not enough foreground to calculate bounding box")
        mask = (np.asarray(image.dataobj) > self.threshold).astype(np.uint8)
        return image, nib.Nifti1Image(mask, image.affine), 0.0


def test_extraction_hands_over_the_image_in_ras_and_returns_its_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNetwork(0.0)
    monkeypatch.setattr(brain, "_deepbet", lambda: fake)
    phantom = make_phantom(spacing_mm=8.0)
    volume = phantom.volumes[Sequence.T1]
    mask = extract_brain(volume)
    np.testing.assert_allclose(fake.image.affine @ [1, 2, 3, 1], RAS_LPS @ volume.affine @ [1, 2, 3, 1])
    np.testing.assert_array_equal(mask.array, phantom.brain.array)
    assert mask.grid.same_as(volume.grid)


@pytest.mark.parametrize(("threshold", "message"), [(-1.0, "measures"), (1e9, "No brain was found")])
def test_extraction_refuses_what_is_no_brain(monkeypatch: pytest.MonkeyPatch, threshold: float, message: str) -> None:
    monkeypatch.setattr(brain, "_deepbet", lambda: FakeNetwork(threshold))
    volume = make_phantom(spacing_mm=8.0, head=True).volumes[Sequence.T1]
    with pytest.raises(BrainExtractionError, match=message):
        extract_brain(volume)


@pytest.mark.slow
def test_deepbet_finds_the_template_s_brain() -> None:
    image = datasets.load_mni152_template(resolution=1)
    truth = np.asarray(datasets.load_mni152_brain_mask(resolution=1).dataobj) > 0
    volume = Volume(np.asarray(image.dataobj, dtype=np.float32), RAS_LPS @ image.affine)
    assert dice(extract_brain(volume).array > 0, truth) > 0.95


@pytest.mark.slow
def test_deepbet_finds_the_brain_in_a_head_whatever_the_axes() -> None:
    phantom = make_phantom(spacing_mm=2.0, head=True)
    volume, truth = phantom.volumes[Sequence.T1C], phantom.brain.array > 0
    # Sagittal slices: i to the back, j to the feet, k to the left.
    turned = np.zeros((4, 4))
    turned[2, 1], turned[1, 0], turned[0, 2], turned[3, 3] = -1.0, 1.0, 1.0, 1.0
    turned[2, 3] = volume.shape[2] - 1
    sagittal = Volume(np.ascontiguousarray(volume.array.transpose(1, 2, 0)[:, ::-1]), volume.affine @ turned)
    mask = extract_brain(sagittal).array > 0
    assert dice(mask, truth.transpose(1, 2, 0)[:, ::-1]) > 0.95
