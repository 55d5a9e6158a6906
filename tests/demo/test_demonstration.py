from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acuity import cli
from acuity.anatomy import Region, Sequence
from acuity.demo import demonstration
from acuity.errors import OutputError
from acuity.research.synthetic.phantom import Phantom
from acuity.volume import Volume
from tests.study_phantom import write_bundles


@pytest.fixture
def truth() -> Phantom:
    """A cube of edema with an enhancing cube in it, 2 mm voxels."""
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[4:14, 4:14, 4:14] = 2
    labels[6:10, 6:10, 6:10] = 4
    volume = Volume(labels, np.diag([2.0, 2.0, 2.0, 1.0]))
    return Phantom(dict.fromkeys(Sequence, volume), volume, volume)


def found(monkeypatch: pytest.MonkeyPatch, labels: Volume) -> None:
    monkeypatch.setattr(demonstration, "read_segmentation", lambda path: labels)


def test_the_truth_itself_scores_1(truth: Phantom, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found(monkeypatch, truth.labels)
    outcomes = {o.region: o for o in demonstration.compare(tmp_path, truth)}
    assert [o.dice for o in outcomes.values()] == [1.0, 1.0, 1.0]
    assert outcomes[Region.ET].true_ml == outcomes[Region.ET].found_ml == pytest.approx(4**3 * 0.008)
    assert outcomes[Region.WT].true_ml == pytest.approx(10**3 * 0.008)


def test_a_segmentation_at_another_place_scores_less(
    truth: Phantom, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Moved by 10 mm, half of a 20 mm cube still overlaps; its volume stays."""
    shift = np.eye(4)
    shift[0, 3] = 10.0
    found(monkeypatch, replace(truth.labels, affine=shift @ truth.labels.affine))
    whole = demonstration.compare(tmp_path, truth)[list(Region).index(Region.WT)]
    assert whole.dice == pytest.approx(0.5)
    assert whole.found_ml == pytest.approx(whole.true_ml)


def test_another_folder_s_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "mine.dcm").write_text("precious")
    with pytest.raises(OutputError, match=r"holds other files.*--out"):
        demonstration.demonstrate(tmp_path)
    assert (tmp_path / "study" / "mine.dcm").read_text() == "precious"


def test_a_refusal_s_code_is_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, truth: Phantom) -> None:
    monkeypatch.setattr(demonstration, "write_demo_study", lambda *_, **__: truth)
    monkeypatch.setattr(demonstration, "_run_application", lambda *_, **__: 22)
    assert cli.main(["demo", "--out", str(tmp_path / "new")]) == 22
    assert not (tmp_path / "new" / demonstration.PICTURE).exists()


@pytest.mark.slow
def test_the_whole_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With thresholds for a network, twice: an earlier demo is replaced."""
    bundles = write_bundles(tmp_path / "bundles")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / ".acuity-demo").touch()
    (tmp_path / "demo" / "result").mkdir()
    (tmp_path / "demo" / "result" / "old.dcm").touch()
    assert cli.main(["demo", "--out", str(tmp_path / "demo"), "-m", str(bundles), "--spacing", "4", "4", "4"]) == 0
    said = capsys.readouterr().out
    for word in ("Whole tumor", "true ml", "found ml", "Dice", "segment", "peak memory", "overlay.png"):
        assert word in said
    assert not (tmp_path / "demo" / "result" / "old.dcm").exists()
    picture = np.asarray(Image.open(tmp_path / "demo" / "overlay.png").convert("RGB")).astype(float)
    columns = np.array_split(picture, 3, axis=1)
    assert all(column.std() > 20 for column in columns)  # an image in each
    colorful = [np.ptp(column, axis=2).max() for column in columns]
    assert colorful[1] > 100 and colorful[2] > 100  # outlines on what was found and on the truth
    top_left = columns[0][: len(picture) // 2]
    assert np.ptp(top_left, axis=2).max() == 0  # none on the input
