"""The steps of bundles' pipelines do what the application does."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from acuity.anatomy import Label
from acuity.imaging.regions import Postprocessing
from acuity.models.transforms import ChannelsOrderedd, RegionsToLabelsd, output_name


@pytest.mark.parametrize(("spacing", "labels"), [(1.0, {0}), (1.2, {0, Label.ENHANCING})])
def test_logits_become_labels_by_the_bundle_s_postprocessing_and_the_voxels_volume(spacing, labels):
    """64 voxels, too few for a tumor at 1 mm: 0.064 and 0.111 ml."""
    logits = torch.full((3, 12, 10, 8), -4.0)
    logits[:, 2:6, 2:6, 2:6] = 4
    image = MetaTensor(logits, affine=torch.diag(torch.tensor([-spacing, spacing, spacing, 1])))
    made = RegionsToLabelsd("pred", Postprocessing(smallest_part_ml=0.1, least_enhancing_ml=0))({"pred": image})["pred"]
    assert made.shape == (1, 12, 10, 8) and made.dtype == torch.uint8
    assert set(np.unique(made.numpy())) == labels
    plain = RegionsToLabelsd("pred", Postprocessing(smallest_part_ml=0, least_enhancing_ml=0))({"pred": image})[
        "pred"
    ].numpy()[0]
    np.testing.assert_array_equal(plain == Label.ENHANCING, (logits > 0)[0].numpy())


def test_thresholds_are_of_calibrated_probabilities():
    logits = MetaTensor(torch.full((3, 4, 4, 4), 1.0), affine=torch.eye(4))  # 0.73, and 0.55 at a temperature of 5
    for temperature, found in ((1.0, Label.ENHANCING), (5.0, 0)):
        postprocessing = Postprocessing(
            temperatures=(temperature,) * 3, thresholds=(0.6,) * 3, smallest_part_ml=0, least_enhancing_ml=0
        )
        assert set(np.unique(RegionsToLabelsd("pred", postprocessing)({"pred": logits})["pred"].numpy())) == {found}


@pytest.mark.parametrize(
    ("file", "case"),
    [
        ("HGG/Brats18_X_1/Brats18_X_1_t1.nii.gz", "Brats18_X_1"),
        ("BraTS-GLI-00005-001-t1n.nii.gz", "BraTS-GLI-00005-001"),
        ("W39_1998.09.19_t1.nii", "W39_1998.09.19"),
        ("BRATS_001.nii.gz", "BRATS_001"),
        ("own_t2.nii.gz", "own_t2"),  # a single image, which is no whole case
    ],
)
def test_outputs_are_named_after_the_case(file: str, case: str) -> None:
    assert output_name({"filename_or_obj": file}, None) == {"subject": f"{case}.nii.gz"}


def test_channels_are_ordered_as_the_list_of_data_says() -> None:
    image = torch.arange(4.0)[:, None, None, None].expand(4, 2, 2, 2)
    ordered = ChannelsOrderedd("image")({"image": image, "channels": [1, 2, 3, 0]})["image"]
    assert ordered[:, 0, 0, 0].tolist() == [1, 2, 3, 0]
    assert ChannelsOrderedd("image")({"image": image})["image"] is image
