"""A real tumor given as NIfTI and as DICOM to the released models: one mask."""

from __future__ import annotations

from pathlib import Path

import pytest

import acuity
from acuity.anatomy import Region, labels_to_regions
from acuity.demo.classic_mr import degrade
from acuity.pipeline.nifti import write_image
from acuity.research.datasets.brats import FILE_SUFFIX, read_case, read_split
from acuity.research.metrics.overlap import dice
from acuity.resources import released_bundles
from tools.brats_to_dicom import convert


@pytest.mark.slow
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0)], ids=["1 mm", "2 mm"])
def test_nifti_and_dicom_give_one_mask(spacing: tuple[float, float, float], shared_data: Path, tmp_path: Path) -> None:
    case = shared_data / "brats" / read_split()["test"][0]
    if not (released_bundles() / "brain_tumor_segmentation" / "models" / "model.pt").is_file():
        pytest.skip("the released weights are not in this clone")
    convert(case, tmp_path / "study", spacing)
    for sequence, volume in read_case(case).items():
        write_image(degrade(volume, spacing), tmp_path / "case" / f"case_{FILE_SUFFIX[sequence]}.nii.gz")
    dicom = acuity.run(tmp_path / "study")
    nifti = acuity.run(tmp_path / "case")
    for one, other in ((dicom.labels, nifti.labels), (dicom.source_labels, nifti.source_labels)):
        assert one is not None and other is not None and one.grid.same_as(other.grid)
        for region, a, b in zip(Region, labels_to_regions(one.array), labels_to_regions(other.array), strict=True):
            assert a.any() and dice(a, b) >= 0.99, region
