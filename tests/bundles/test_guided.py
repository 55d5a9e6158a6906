"""The super-resolution bundle's guided training and its patches on tumors, tiny, from files laid out as BraTS's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from acuity.networks.srrescycgan import SRResCycGAN
from acuity.research.training.guided import read_segmenter
from acuity.research.training.guided_patches import read_cases
from acuity.research.training.super_resolution import SETTINGS, read_tumors, read_volumes
from tests.bundles.conftest import CASES, REPOSITORY, run

SUPER_RESOLUTION = "brain_mri_super_resolution"


def test_cases_have_the_intensities_of_the_volumes_and_tumors_are_theirs(tiny_brats: Path) -> None:
    cases, volumes = read_cases(tiny_brats, CASES), read_volumes(tiny_brats, CASES)
    tumors = read_tumors(tiny_brats, CASES)
    images = [channel.numpy() for case in cases for channel in case.image]
    regions = [case.regions[2].numpy().astype(bool) for case in cases for _ in case.image]
    assert len(images) == len(volumes) == len(tumors) == 8
    for image, volume, region, tumor in zip(images, volumes, regions, tumors, strict=True):
        np.testing.assert_allclose(image, volume, atol=1e-3)
        np.testing.assert_array_equal(region, tumor)
        assert tumor.sum() == 7 * 7 * 6


def test_the_released_segmenter_guides() -> None:
    fine = read_segmenter(REPOSITORY / "bundles" / "brain_tumor_segmentation")
    with torch.inference_mode():
        assert fine(torch.zeros(1, 4, 16, 16, 16)).shape == (1, 3, 16, 16, 16)
    assert not fine.training and not any(parameter.requires_grad for parameter in fine.parameters())


@pytest.mark.slow
def test_it_trains_guided_and_resumes(tiny_brats: Path, tmp_path: Path) -> None:
    torch.save(SRResCycGAN(features=8).state_dict(), tmp_path / "start.pt")
    arguments = {
        "run_id": "guided",
        "dataset_dir": str(tiny_brats),
        "output_dir": str(tmp_path),
        "device": "cpu",
        "split": {"train": [CASES[0]], "validation": [CASES[1]]},
        "segmenter": nn.Conv3d(4, 3, 1),
        "train_guided#patch": [8, 8, 8],
        "train_guided#guidance#agreement": 0.1,
        "network_def#features": 8,
        "train_guided#initial_weights": str(tmp_path / "start.pt"),
    }
    for iterations in (1, 2):
        run(SUPER_RESOLUTION, "train", **arguments, **{"train_guided#iterations": iterations})
    assert torch.load(tmp_path / "guided" / "checkpoint.pt", weights_only=True)["iteration"] == 2
    settings = json.loads((tmp_path / "guided" / SETTINGS).read_text())
    assert settings["guidance"]["agreement"] == 0.1 and settings["cases"] == [CASES[0]]
    assert settings["initial_weights"]["file"] == "start.pt"
    SRResCycGAN(features=8).load_state_dict(torch.load(tmp_path / "guided" / "best.pt", weights_only=True))


@pytest.mark.slow
def test_the_pixel_stage_takes_patches_on_tumors(tiny_brats: Path, tmp_path: Path) -> None:
    run(
        SUPER_RESOLUTION,
        "train",
        dataset_dir=str(tiny_brats),
        output_dir=str(tmp_path),
        device="cpu",
        tumor_share=1.0,
        split={"train": [CASES[0]], "validation": [CASES[1]]},
        run=["$@pixel()"],
        **{"pixel#iterations": 1, "pixel#batch": 2, "network_def#features": 8},
    )
    assert (tmp_path / "pixel" / "best.pt").is_file()
