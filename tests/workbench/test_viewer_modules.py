"""The viewer's JavaScript modules: their own tests, and where they must agree with Python."""

from __future__ import annotations

from pathlib import Path

from tests.node import node, through
from tests.study_phantom import HEADERS


def test_the_modules_pass_their_own_tests() -> None:
    node("--test", *map(str, sorted((Path(__file__).parent / "js").glob("*.test.mjs"))))


def test_the_screen_shows_a_series_as_the_library_chooses_it() -> None:
    """The phantom's headers, which name no sequence in words; ``tests.study_phantom`` has the library choose."""
    series = [{"Modality": "MR", "instances": [header]} for header in HEADERS.values()]
    assert through("sequences.js", "m.sequenceOf(value)", series) == [sequence.value for sequence in HEADERS]
