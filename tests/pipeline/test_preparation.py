from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from acuity.anatomy import Sequence
from acuity.imaging.resampling import mask_on_grid
from acuity.pipeline import preparation
from acuity.pipeline.preparation import prepare_volumes
from acuity.volume import Volume
from tests.study_phantom import image, oblique_grid


def volumes(**frames: str | None) -> dict[Sequence, Volume]:
    """The lesion's images on one grid; their frame of reference is "1.2" but for those named."""
    grid = oblique_grid()
    return {
        sequence: Volume(
            image(sequence, grid, parts=1).astype(np.float32), grid.affine, frames.get(sequence.value, "1.2")
        )
        for sequence in Sequence
    }


def test_stripped_series_of_one_frame_are_neither_registered_nor_stripped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "extract_brain", lambda volume: pytest.fail("the head was stripped already"))
    prepared = prepare_volumes(volumes())
    section = prepared.describe()["preparation"]
    assert set(section["registration"]) == {"T1", "T2", "FLAIR"}
    for entry in section["registration"].values():
        assert not entry["performed"]
        assert "share one frame of reference" in entry["reason"]
    assert section["brain"]["extracted"] is False and "skull-stripped" in section["brain"]["reason"]
    assert section["brain"]["volume_ml"] == pytest.approx(4 / 3 * np.pi * 42 * 52 * 46 / 1000, rel=0.05)
    assert prepared.summary() == "registration not needed; brain already extracted"
    assert prepared.frame_of_reference_uid == "1.2"


def test_a_series_without_frame_is_registered() -> None:
    prepared = prepare_volumes(volumes(T2=None))
    performed = {s.value for s, rigid in prepared.alignment.items() if rigid.performed}
    assert performed == {"T2"}
    # They do lie alike, as far as 5 mm voxels tell.
    np.testing.assert_allclose(prepared.alignment[Sequence.T2].matrix, np.eye(4), atol=1.5)
    assert prepared.summary().startswith("T2 registered to T1c")


def test_a_reference_without_frame_gets_one() -> None:
    prepared = prepare_volumes(volumes(T1c=None))
    assert prepared.frame_of_reference_uid.startswith("1.2.826.") or prepared.frame_of_reference_uid.startswith("2.25.")
    assert {s for s, rigid in prepared.alignment.items() if rigid.performed} == set(Sequence) - {Sequence.T1C}


def test_a_whole_head_is_stripped_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def extract(volume: Volume) -> Volume:
        calls.append(volume)
        return volume.with_array((volume.array > 0).astype(np.uint8))

    monkeypatch.setattr(preparation, "is_skull_stripped", lambda volume: False)
    monkeypatch.setattr(preparation, "extract_brain", extract)
    section = prepare_volumes(volumes()).describe()["preparation"]["brain"]
    assert len(calls) == 1
    assert section["extracted"] is True and "deepbet" in section["reason"]


def test_the_brain_follows_a_registered_series() -> None:
    """A series whose space is shifted by 20 mm gets the mask shifted by 20 mm."""
    prepared = prepare_volumes(volumes())
    shift = np.eye(4)
    shift[:3, 3] = [0.0, 20.0, 0.0]
    rigid = replace(prepared.alignment[Sequence.T2], matrix=shift, performed=True)
    moved = replace(prepared, alignment={**prepared.alignment, Sequence.T2: rigid})
    here = centroid(moved.brain_of(Sequence.T1))
    there = centroid(moved.brain_of(Sequence.T2))
    np.testing.assert_allclose(there - here, [0, 20, 0], atol=2.0)  # its far end leaves the field of view


def test_a_mask_keeps_its_place_on_another_grid() -> None:
    i, _, k = np.meshgrid(np.arange(40), np.arange(4), np.arange(8), indexing="ij")
    mask = Volume((i < 8 + 3 * k).astype(np.uint8), np.diag([1.0, 1.0, 6.0, 1.0]))
    fine = mask_on_grid(mask, mask.grid.with_spacing((1.0, 1.0, 1.0)))
    assert fine.array.dtype == np.uint8 and set(np.unique(fine.array)) == {0, 1}
    np.testing.assert_allclose(centroid(fine), centroid(mask), atol=0.5)
    assert mask_on_grid(mask, mask.grid) is mask


def centroid(mask: Volume) -> np.ndarray:
    return (mask.affine @ [*np.argwhere(mask.array).mean(axis=0), 1])[:3]
