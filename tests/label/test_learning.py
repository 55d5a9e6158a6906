"""Learning from corrections: the gate, scores, doubts, strategies, simulated clicks and the study."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from acuity.anatomy import Region, labels_to_regions
from acuity.errors import DataError
from acuity.imaging.refinement import refined
from acuity.models.uncertainty import Uncertainty
from acuity.research.sampling.patches import PreparedCase
from acuity.volume import Volume
from label.datastores.folder import FolderDatastore
from label.doubts import Doubts, doubt
from label.experiments.clicks import clicks_to_reach, next_click, simulate
from label.learning import study, training
from label.learning.cases import corrected_cases, training_case
from label.learning.patients import read_lists
from label.learning.scoring import OverlapScoring, mean_scores, score
from label.learning.strategies import NextCase, anyone, least_sure, oldest
from label.learning.study_figure import draw
from label.learning.training import FineTuning, Settings, fine_tune, no_worse
from label.versions import Versions, tumor_versions
from tests.label_cases import GRID, truth, write_case, write_label, write_trainable_bundles

QUICK = Settings(iterations=60, learning_rate=0.01, patch=(16, 16, 16))


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
    corrected: FolderDatastore, versions: Versions, tmp_path: Path
) -> None:
    blind_to_edema(versions)
    cases = corrected_cases(corrected.datalist())
    made = fine_tune(versions, tmp_path / "models", cases, QUICK)
    figures = made.figures
    assert figures["candidate"]["dice"] > figures["served"]["dice"]
    assert made.served and versions.served == 1
    assert made.training["cases"] + made.training["validation_cases"] == 3
    lists = read_lists(tmp_path / "models" / training.LISTS)
    assert not list((versions.folder / "work").iterdir())
    fine_tune(versions, tmp_path / "models", cases, Settings(iterations=1, patch=(16, 16, 16)))
    assert read_lists(tmp_path / "models" / training.LISTS) == lists


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
    corrected: FolderDatastore, versions: Versions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def harm(*_: Any, **__: Any) -> Path:
        state = torch.load(versions.weights(0), weights_only=True)
        torch.save({name: -value for name, value in state.items()}, tmp_path / "harmed.pt")
        return tmp_path / "harmed.pt"

    monkeypatch.setattr(training, "_trained", lambda *_: harm())
    made = fine_tune(versions, tmp_path / "models", corrected_cases(corrected.datalist()), QUICK)
    assert not made.served and versions.served == 0
    assert made.reason.startswith("Kept aside: mean Dice 0.")


def test_one_patient_is_not_enough(corrected: FolderDatastore, versions: Versions, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Correct cases of more patients"):
        fine_tune(versions, tmp_path / "models", corrected_cases(corrected.datalist()[:1]), QUICK)


def test_the_gate_lets_pass_what_is_no_worse() -> None:
    served = {"dice": 0.8, "cases": 2}
    assert [no_worse({"dice": value, "cases": 2}, served)[0] for value in (0.8, 0.81, 0.7999)] == [True, True, False]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"iterations": 0}, "0 iterations"),
        ({"iterations": "many"}, "whole number"),
        ({"learning_rate": 1}, "rate is 1"),
        ({"patch": [16, 16]}, "three sizes"),
        ({"patch": [16, 16, 17]}, "multiples of 16"),
    ],
)
def test_settings_out_of_range_are_refused(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_settings(request_)


def test_what_viewers_add_to_a_request_does_not_matter() -> None:
    assert read_settings({"max_epochs": 50, "name": "train_01", "device": "cuda", "val_split": 0.2}) == Settings()


def test_the_way_back_by_a_request(versions: Versions, tmp_path: Path, corrected: FolderDatastore) -> None:
    task = FineTuning(versions, tmp_path / "models")
    versions.add(versions.weights(0), parent=0, passed=True, reason="", figures={}, training={})
    assert task({"rollback": "previous"}, corrected)["served"] == 0
    assert task({"rollback": 1}, corrected)["served"] == 1
    with pytest.raises(DataError, match="rollback is 'x'"):
        task({"rollback": "x"}, corrected)


def test_scores_by_region(corrected: FolderDatastore, tmp_path: Path) -> None:
    labels = truth()
    right = Volume(labels, GRID.affine)
    wrong = right.with_array(np.where(labels == 4, 1, labels).astype(np.uint8))
    found = score(wrong, right)
    assert found[Region.WT].dsc == 1 and found[Region.WT].hd95_mm == 0
    assert found[Region.ET].dsc == 0
    means = mean_scores([found, score(right, right)])
    assert means["cases"] == 2 and means["ET"]["dsc"] == 0.5 and means["dice"] == pytest.approx(2.5 / 3)


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
    kept.note("case/one", "b", sureness(0.9, 0.9, 0.9))  # another model: what the first doubted is forgotten
    assert kept.of("case/two", "a") is None


class Waiting:
    """What strategies ask of a datastore."""

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
        if image_id == "b":
            raise DataError("bad")
        return 0.9

    assert NextCase("", least_sure(doubts.get, look))({}, store) == {"id": "c"}
    assert looked == ["b"]
    assert NextCase("", anyone)({}, Waiting({})) is None


def test_the_annotator_clicks_into_the_middle_of_the_largest_error() -> None:
    target = np.zeros((20, 20, 20), np.uint8)
    target[2:5, 2:5, 2:5] = 4
    target[8:17, 8:15, 8:13] = 2
    click = next_click(np.zeros_like(target), target)
    assert click is not None and click[1] == 2
    assert all(low <= n <= high for n, low, high in zip(click[0], (10, 10, 10), (14, 12, 10), strict=True))
    labels = np.where(target == 2, 2, 0).astype(np.uint8)
    labels[0:5, 18:, 18:] = 1
    assert next_click(labels, target) == ((3, 3, 3), 4)
    assert next_click(target, target) is None


def test_clicks_are_counted() -> None:
    assert clicks_to_reach([0.5, 0.85, 0.91, 0.89], 0.9) == 2
    assert clicks_to_reach([0.5, 0.6], 0.9) is None


def test_a_simulated_annotator_corrects_the_phantom() -> None:
    target = truth()
    image = np.stack([(target > 0) * 3.0, (target == 4) * 3.0 - (target == 1) * 3.0]).astype(np.float32)
    start = np.where(target == 4, 0, target).astype(np.uint8)
    spacing = GRID.spacing.tolist()
    scores = simulate(start, target, lambda clicks: refined(start, image, clicks, spacing=spacing), most=10)
    means = [float(np.mean(list(one.values()))) for one in scores]
    assert means[0] < 0.7
    reached = clicks_to_reach(means, 0.9)
    assert reached is not None and reached <= 8


def bright(name: str) -> PreparedCase:
    rng = np.random.default_rng(len(name) + ord(name[-1]))
    image = rng.normal(0, 0.3, (4, 32, 32, 32)).astype(np.float32)
    regions = np.zeros((3, 32, 32, 32), np.uint8)
    for region, margin in enumerate((12, 10, 8)):
        regions[region, margin:-margin, margin:-margin, margin:-margin] = 1
        image[region + 1] += 4 * regions[region]
    return PreparedCase(name, torch.from_numpy(image).half(), torch.from_numpy(regions))


@pytest.mark.slow
@pytest.mark.parametrize(("gains", "verdict"), [((0.1, 0.1), "real"), ((0.3, -0.1), "may be chance")])
def test_a_difference_is_real_where_every_seed_agrees(gains: tuple[float, float], verdict: str) -> None:
    """Over the cases alone, both gains are as sure as can be."""
    rows = [
        {
            "seed": str(seed),
            "arm": arm,
            "case": f"case {case}",
            "region": "WT",
            "dice": str(0.5 + 0.001 * case + (gain if arm == study.UNCERTAINTY else 0.0)),
        }
        for seed, gain in enumerate(gains)
        for arm in study.ARMS
        for case in range(6)
    ]
    lines = study.summary(rows).splitlines()
    (line,) = (line for line in lines if line.startswith("| uncertainty - random |"))
    assert line.endswith(f"| {gains[0]:+.3f}, {gains[1]:+.3f} | {verdict} |")


def test_the_study_runs_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    pool = {case.name: case for case in map(bright, ("a", "b", "c", "d", "e"))}
    data = study.Data(pool, bright("shown"), [bright(f"test {n}") for n in range(2)])
    plan = study.Plan(cases=2, corrections=2, seeds=1, iterations=2, tuning=1, patch=(16, 16, 16))
    rows = study.read_table(study.run(data, plan, tmp_path, "cpu"))
    assert {row["arm"] for row in rows} == set(study.ARMS)
    assert len(rows) == 4 * 2 * 3
    before = (tmp_path / study.TABLE).read_text()
    study.run(data, plan, tmp_path, "cpu")
    assert (tmp_path / study.TABLE).read_text() == before
    chosen = json.loads((tmp_path / "seed_0" / "corrections.json").read_text())
    known = set(json.loads((tmp_path / "seed_0" / "first" / "settings.json").read_text())["cases"])
    for names in chosen.values():
        assert len(set(names)) == 2 and not known & set(names)
    with pytest.raises(DataError, match="another plan"):
        study.run(data, study.Plan(cases=3, corrections=2, seeds=1), tmp_path, "cpu")
    with pytest.raises(DataError, match="5 cases are there"):
        study.run(data, study.Plan(), tmp_path / "other", "cpu")
    assert "| uncertainty - random |" in study.summary(rows)
    draw(study.means(rows), study.ARMS, tmp_path / "study.png")
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG")
