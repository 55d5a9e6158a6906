"""The released application on a real tumor: one of the six test cases as a DICOM study at 2 mm."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from acuity.anatomy import Region, labels_to_regions
from acuity.dicom.reading.read_seg import read_segmentation
from acuity.imaging.resampling import resample
from acuity.pipeline.stages import SEGMENTATION_BUNDLE, SUPER_RESOLUTION_BUNDLE
from acuity.research.datasets.brats import read_labels, read_split
from acuity.research.metrics.overlap import dice

WHOLE_TUMOR_FLOOR = 0.70  # Dice; a wrong axis, sequence or scale falls far below, the networks lie above
MEMORY_BAR_MIB = 8 * 1024


@pytest.fixture(scope="module")
def case(shared_data: Path) -> Path:
    return shared_data / "brats" / read_split()["test"][0]


@pytest.fixture(scope="module")
def result(case: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The application's output folder."""
    bundles = (SUPER_RESOLUTION_BUNDLE, SEGMENTATION_BUNDLE)
    if not all((repository / "bundles" / name / "models" / "model.pt").is_file() for name in bundles):
        pytest.skip("the released weights are not in this clone")
    folder = tmp_path_factory.mktemp("brats")
    script = repository / "tools" / "brats_to_dicom.py"
    subprocess.run([sys.executable, script, case, folder / "study"], check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, repository / "app.py", "-i", folder / "study", "-o", folder / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "out"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["segmentation_sr", "segmentation_source"])
def test_the_whole_tumor_is_found(name: str, case: Path, result: Path) -> None:
    truth = read_labels(case)
    found = resample(read_segmentation(result / "seg" / f"{name}.dcm"), truth.grid, interpolation="nearest")
    whole = list(Region).index(Region.WT)
    score = dice(labels_to_regions(found.array)[whole], labels_to_regions(truth.array)[whole])
    assert score > WHOLE_TUMOR_FLOOR


@pytest.mark.slow
def test_the_manifest_says_so(case: Path, result: Path, repository: Path) -> None:
    manifest: dict[str, Any] = json.loads((result / "result.json").read_text())
    jsonschema.validate(manifest, json.loads((repository / "configs" / "result.schema.json").read_text()))
    assert not any(entry["performed"] for entry in manifest["preparation"]["registration"].values())
    assert manifest["preparation"]["brain"]["extracted"] is False
    assert manifest["super_resolution"]["spacing_mm"] == [1.0, 1.0, 1.0]
    assert manifest["peak_memory_mib"] < MEMORY_BAR_MIB
    truth = read_labels(case)
    true_ml = (truth.array > 0).sum() * truth.grid.voxel_volume
    assert manifest["measurements"]["WT"]["volume_ml"] == pytest.approx(true_ml, rel=0.5)
