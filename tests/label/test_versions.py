"""Versions: what is served is what passed, what was measured, and what one can go back from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from acuity.errors import BundleError, DataError
from label.versions import TUMOR, Versions, main, tumor_versions
from tests.label_cases import write_trainable_bundles

FIGURES = {"candidate": {"dice": 0.9}, "served": {"dice": 0.8}}


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    return tumor_versions(tmp_path / "models", write_trainable_bundles(tmp_path / "bundles"))


def trained(versions: Versions, tmp_path: Path, value: float, *, passed: bool) -> int:
    state = torch.load(versions.weights(0), weights_only=True)
    state["coarse.bias"] += value
    torch.save(state, tmp_path / "trained.pt")
    return versions.add(
        tmp_path / "trained.pt", parent=versions.served, passed=passed, reason="", figures=FIGURES, training={}
    ).number


def bias(versions: Versions) -> float:
    return float(versions.bundle().network.state_dict()["coarse.bias"][0])


def test_the_released_bundle_is_served_at_first(versions: Versions) -> None:
    assert versions.served == 0
    assert versions.bundle().version == "0.0.1"
    assert not versions.folder.exists()


def test_what_passed_is_served_and_what_did_not_is_kept_aside(versions: Versions, tmp_path: Path) -> None:
    released = bias(versions)
    assert trained(versions, tmp_path, 1.0, passed=True) == 1
    assert trained(versions, tmp_path, 2.0, passed=False) == 2
    assert versions.served == 1
    assert versions.bundle().version == "0.0.1+1"
    assert bias(versions) == pytest.approx(released + 1)
    assert [(one.number, one.parent, one.served) for one in versions.candidates()] == [(1, 0, True), (2, 1, False)]
    # Another process sees the same.
    assert Versions(versions.folder, versions.bundles, versions.name).served == 1


def test_there_is_a_way_back(versions: Versions, tmp_path: Path) -> None:
    released = bias(versions)
    trained(versions, tmp_path, 1.0, passed=True)
    trained(versions, tmp_path, 2.0, passed=True)
    assert versions.back() == 1
    assert bias(versions) == pytest.approx(released + 1)
    assert versions.back() == 0
    assert bias(versions) == pytest.approx(released)
    with pytest.raises(DataError, match="the first one"):
        versions.back()
    versions.serve(2)
    assert versions.served == 2


def test_weights_that_changed_are_not_served(versions: Versions, tmp_path: Path) -> None:
    trained(versions, tmp_path, 1.0, passed=False)
    trained(versions, tmp_path, 5.0, passed=False)
    versions.weights(1).write_bytes(versions.weights(2).read_bytes())
    with pytest.raises(BundleError, match="a file that changed since is not served"):
        versions.serve(1)
    assert versions.served == 0


def test_damage_is_told(versions: Versions, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Version 7"):
        versions.serve(7)
    trained(versions, tmp_path, 1.0, passed=True)
    (versions.folder / "served.json").write_text("{}")
    with pytest.raises(DataError, match="delete it to serve the released bundle"):
        versions.bundle()


def test_the_command_shows_and_changes_what_is_served(
    versions: Versions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(versions, tmp_path, 1.0, passed=True)
    places = ["--models", str(tmp_path / "models"), "--bundles", str(tmp_path / "bundles")]
    assert main(["back", *places]) == 0
    assert json.loads(capsys.readouterr().out)["served"] == 0
    assert main(["serve", "1", *places]) == 0
    assert main(["serve", "9", *places]) == 70
    assert "Version 9" in capsys.readouterr().err
    assert versions.folder == tmp_path / "models" / TUMOR
