"""The demo study's outputs are those of the first release, whatever is rearranged inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acuity import cli
from tests.characterization.fingerprint import fingerprint

TOLERANCE = 1e-3  # relative: CPUs round differently, and a voxel at a border may fall to the other side


@pytest.mark.slow
def test_the_demo_gives_what_the_first_release_gave(tmp_path: Path, repository: Path) -> None:
    assert cli.main(["demo", "--out", str(tmp_path / "demo"), "-m", str(repository / "bundles")]) == 0
    stored = json.loads(Path(__file__).with_name("demo.json").read_text())
    assert_alike(json.loads(json.dumps(fingerprint(tmp_path / "demo" / "result"))), stored)


def assert_alike(found: Any, stored: Any, place: str = "") -> None:
    """Numbers within TOLERANCE, all else the same."""
    if isinstance(stored, dict):
        assert sorted(found) == sorted(stored), place
        for key, value in stored.items():
            assert_alike(found[key], value, f"{place}/{key}")
    elif isinstance(stored, list):
        assert len(found) == len(stored), place
        for n, (one, other) in enumerate(zip(found, stored, strict=True)):
            assert_alike(one, other, f"{place}/{n}")
    elif isinstance(stored, float):
        assert found == pytest.approx(stored, rel=TOLERANCE, abs=TOLERANCE), place
    else:
        assert found == stored, place


def test_a_difference_is_noticed() -> None:
    stored = {"objects": {"MR 9001": {"sum": 1000.0, "frames": 3}}}
    assert_alike({"objects": {"MR 9001": {"sum": 1000.5, "frames": 3}}}, stored)
    for found in ({"sum": 1002.0, "frames": 3}, {"sum": 1000.0, "frames": 4}, {"sum": 1000.0}):
        with pytest.raises(AssertionError):
            assert_alike({"objects": {"MR 9001": found}}, stored)
