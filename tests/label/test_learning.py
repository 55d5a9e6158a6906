"""Learning from corrections: the gate, scores, doubts and strategies."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from acuity.anatomy import Region, labels_to_regions
from acuity.errors import DataError
from acuity.models.uncertainty import Uncertainty
from acuity.research.training import cascade
from acuity.volume import Volume
from label.datastores.folder import FolderDatastore
from label.doubts import Doubts, doubt
from label.learning.cases import corrected_cases, training_case
from label.learning.patients import read_patients
from label.learning.scoring import OverlapScoring, mean_scores, score
from label.learning.strategies import NextCase, anyone, least_sure, oldest
from label.learning.training import PATIENTS, STATUS, FineTuning, Settings, no_worse
from label.status import Status, training_status
from label.versions import Versions, tumor_versions
from tests.label_cases import GRID, truth, write_case, write_label, write_trainable_bundles

QUICK = {"iterations": 60, "learning_rate": 0.01, "patch": [16, 16, 16], "run": "7"}


@pytest.fixture(scope="module")
def corrected(tmp_path_factory: pytest.TempPathFactory) -> FolderDatastore:
    root = tmp_path_factory.mktemp("studies")
    for number in range(3):
        write_case(root, f"case{number}", noise=number)
        write_label(root, f"case{number}", truth())
    return FolderDatastore(root)


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    return tumor_versions(tmp_path / "models", write_trainable_bundles(tmp_path / "bundles"))


@pytest.fixture
def task(versions: Versions, tmp_path: Path) -> FineTuning:
    return FineTuning(versions, tmp_path / "models")


def status(versions: Versions, state: str) -> Status:
    return training_status(versions.folder / STATUS, "7", state)


@pytest.mark.slow
def test_a_case_is_shown_to_networks_at_1_mm_with_its_labels(corrected: FolderDatastore) -> None:
    case = training_case(corrected_cases(corrected.datalist())[0], "case 1")
    assert case.name == "case 1"
    drawn = labels_to_regions(truth()).sum(axis=(1, 2, 3)) * GRID.voxel_volume
    shown = case.regions.numpy().sum(axis=(1, 2, 3)) / 1000
    np.testing.assert_allclose(shown, drawn, rtol=0.03)
    inside = (case.image != 0).any(dim=0).numpy()
    assert inside.sum() / 1000 == pytest.approx(420, rel=0.06)  # ml of the phantom's brain
    flair = case.image[3].float().numpy()
    assert flair[case.regions[2].bool().numpy()].mean() > flair[inside].mean() + 1


@pytest.mark.slow
def test_a_training_that_helps_is_served_and_the_lists_stay(
    corrected: FolderDatastore, versions: Versions, task: FineTuning, tmp_path: Path
) -> None:
    blind_to_edema(versions)
    task(QUICK, corrected)
    (made,) = versions.candidates()
    assert made.figures["candidate"]["dice"] > made.figures["served"]["dice"]
    assert made.served and versions.served == 1
    assert made.training["cases"] + made.training["validation_cases"] == 3
    assert status(versions, "DONE") == Status("train", 120, 120, "fine", made.reason)
    patients = read_patients(tmp_path / "models" / PATIENTS)
    assert not list((versions.folder / "work").iterdir())
    task({**QUICK, "iterations": 1}, corrected)
    assert read_patients(tmp_path / "models" / PATIENTS) == patients


def blind_to_edema(versions: Versions) -> None:
    """Let the first model ask for more FLAIR signal than edema has, by weights so small that a few steps mend it."""
    path = versions.weights(0)
    state = torch.load(path, weights_only=True)
    for stage in ("coarse", "fine"):
        state[f"{stage}.weight"][2, 3] = 0.2
        state[f"{stage}.bias"][2] = -0.8
    torch.save(state, path)


@pytest.mark.slow
def test_a_training_that_harms_is_kept_aside(
    corrected: FolderDatastore, versions: Versions, task: FineTuning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def harmed(*_: Any, **__: Any) -> Path:
        state = torch.load(versions.weights(0), weights_only=True)
        torch.save({name: -value for name, value in state.items()}, tmp_path / "harmed.pt")
        return tmp_path / "harmed.pt"

    monkeypatch.setattr(cascade, "train", harmed)
    task(QUICK, corrected)
    (made,) = versions.candidates()
    assert not made.served and versions.served == 0
    assert made.reason.startswith("Kept aside: mean Dice 0.")


def test_a_refused_training_says_why(
    corrected: FolderDatastore, versions: Versions, task: FineTuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = corrected.datalist()[:1]
    monkeypatch.setattr(corrected, "datalist", lambda: one)
    with pytest.raises(DataError, match="Correct cases of more patients"):
        task(QUICK, corrected)
    said = status(versions, "ERROR")
    assert said.failed and str(said.outcome).endswith("to validate on. Correct cases of more patients.")


def test_the_gate_lets_pass_what_is_no_worse() -> None:
    served = {"dice": 0.8, "cases": 2}
    assert [no_worse({"dice": value, "cases": 2}, served)[0] for value in (0.8, 0.81, 0.7999)] == [True, True, False]


@pytest.mark.parametrize(
    ("request_", "found", "rule"),
    [
        ({"iterations": 0}, "request.iterations", "greater than or equal to 1"),
        ({"iterations": "many"}, "request.iterations", "valid integer"),
        ({"learning_rate": 1}, "request.learning_rate", "less than or equal to 0.01"),
        ({"patch": [16, 16]}, "request.patch.2", "required"),
        ({"patch": [16, 16, 17]}, "request.patch.2", "multiple of 16"),
        ({"rollback": "x"}, "rollback", "valid integer"),
    ],
)
def test_settings_out_of_range_are_refused(
    task: FineTuning, corrected: FolderDatastore, request_: dict[str, Any], found: str, rule: str
) -> None:
    with pytest.raises(DataError) as refusal:
        task(request_, corrected)
    assert refusal.value.found == f"{found} is not valid." and rule in refusal.value.rule


def test_what_viewers_add_to_a_request_does_not_matter() -> None:
    request = {"max_epochs": 50, "name": "train_01", "device": "cuda", "val_split": 0.2}
    assert Settings.model_validate(request) == Settings()


def test_the_way_back_by_a_request(versions: Versions, task: FineTuning, corrected: FolderDatastore) -> None:
    versions.add(versions.weights(0), parent=0, passed=True, reason="", figures={}, training={})
    assert task({"rollback": "previous", "run": "7"}, corrected)["served"] == 0
    assert status(versions, "DONE").outcome == "Version 0 is served."
    assert task({"rollback": 1}, corrected)["served"] == 1


def test_scores_by_region() -> None:
    labels = truth()
    right = Volume(labels, GRID.affine)
    wrong = right.with_array(np.where(labels == 4, 1, labels).astype(np.uint8))
    found = score(wrong, right)
    assert found[Region.WT].dsc == 1 and found[Region.WT].hd95_mm == 0
    assert found[Region.ET].dsc == 0
    means = mean_scores([found, score(right, right)])
    assert means["cases"] == 2 and means["ET"]["dsc"] == 0.5 and means["dice"] == pytest.approx(2.5 / 3)
    with pytest.raises(DataError, match="different voxels"):
        score(right, Volume(labels[1:], GRID.affine))


def test_masks_of_the_model_are_scored_where_they_were_corrected(corrected: FolderDatastore) -> None:
    with pytest.raises(DataError, match="No case has a label 'final' and one 'original'"):
        OverlapScoring()({}, corrected)
    write_label(Path(corrected.get_image_uri("case1")).parents[1], "case1", truth(), tag="original")
    result = OverlapScoring()({}, corrected)
    assert list(result["cases"]) == ["case1"]
    assert result["mean"]["dice"] == 1
    assert corrected.get_label_info("case1", "original")["scores"]["overlap"]["WT"]["iou"] == 1


def sureness(*expected: float) -> dict[Region, Uncertainty]:
    return {region: Uncertainty(value, 1, 2) for region, value in zip(Region, expected, strict=True)}


def test_doubts(tmp_path: Path) -> None:
    assert doubt(sureness(0.9, 0.9, 0.9)) == pytest.approx(0.1)
    assert doubt(sureness(math.nan, 0.5, 0.9)) == pytest.approx(0.3)
    assert doubt(sureness(math.nan, math.nan, math.nan)) == 1
    kept = Doubts(tmp_path / "doubts.json")
    kept.note("case/one", "a", sureness(0.9, 0.9, 0.9))
    kept.note("case/two", "a", sureness(0.5, 0.5, 0.5))
    assert Doubts(tmp_path / "doubts.json").of("case/one", "a") == pytest.approx(0.1)
    assert kept.of("case/one", "b") is None
    assert "case" not in (tmp_path / "doubts.json").read_text()
    kept.note("case/one", "b", sureness(0.9, 0.9, 0.9))  # another model: the doubts of the first are forgotten
    assert kept.of("case/two", "a") is None
    (tmp_path / "doubts.json").write_text("{")
    assert kept.of("case/one", "b") is None


class Waiting:
    """The questions that strategies ask of a datastore."""

    def __init__(self, shown: dict[str, int]) -> None:
        self.shown = shown

    def get_unlabeled_images(self) -> list[str]:
        return list(self.shown)

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        ts = self.shown[image_id]
        return {"strategy": {"random": {"ts": ts}}} if ts else {}

    def get_image_uri(self, image_id: str) -> str:
        return __file__


def test_strategies() -> None:
    store: Any = Waiting({"a": 5, "b": 0, "c": 3})
    assert NextCase("", oldest)({}, store) == {"id": "b"}
    assert {anyone(store.get_unlabeled_images(), store) for _ in range(60)} == {"a", "b", "c"}
    doubts = {"a": 0.2, "b": None, "c": 0.4}
    looked = []

    def look(image_id: str) -> float:
        looked.append(image_id)
        raise DataError("bad")

    assert NextCase("", least_sure(doubts.get, look))({}, store) == {"id": "c"}
    assert looked == ["b"]
    assert NextCase("", anyone)({}, Waiting({})) is None
