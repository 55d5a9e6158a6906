"""The second opinion on the chosen series: pixels that contradict a header refuse the study, with both reasons."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from acuity.anatomy import Sequence
from acuity.cli import main
from acuity.demo.classic_mr import write_study
from acuity.dicom.selection.select import Selection, examine
from acuity.errors import AmbiguousSequenceError
from acuity.pipeline.confirmation import confirmed
from acuity.pipeline.preparation import prepare
from acuity.pipeline.study import read_dicom
from acuity.research.synthetic.phantom import make_phantom
from acuity.volume import Volume

T1, T1C, T2, FLAIR = Sequence.T1, Sequence.T1C, Sequence.T2, Sequence.FLAIR


@pytest.fixture(scope="module")
def volumes() -> dict[Sequence, Volume]:
    return make_phantom(seed=4, spacing_mm=3.0).volumes


def written(volumes: Mapping[Sequence, Volume], folder: Path) -> Path:
    write_study(volumes, folder, identity=folder.name, patient_name="PHANTOM^ONE", description="")
    return folder


def selection_of(folder: Path) -> Selection:
    return examine(read_dicom(folder))


def test_pixels_that_agree_are_said_in_the_result(volumes: Mapping[Sequence, Volume], tmp_path: Path) -> None:
    selection = selection_of(written(volumes, tmp_path))
    pixels = confirmed(prepare(selection), selection).describe()["preparation"]["pixels"]
    assert {name: opinion["verdict"] for name, opinion in pixels.items()} == dict.fromkeys(
        ("T1", "T1c", "T2", "FLAIR"), "agrees"
    )
    assert "its pixels look like T2 (" in pixels["T2"]["reason"]
    assert "T1c is enhanced against T1 (" in pixels["T1c"]["reason"]


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (T1, T2, "T1 was chosen for this: Series 2 'AX T1': SE, TR 550.* But its pixels look like T2 .*, not like T1 "),
        (T2, FLAIR, "But its pixels look like"),
        (T1, T1C, "T1 is enhanced against T1c, not T1c against T1"),
    ],
)
def test_exchanged_pixels_are_refused_with_both_reasons(
    volumes: Mapping[Sequence, Volume], tmp_path: Path, one: Sequence, other: Sequence, message: str
) -> None:
    selection = selection_of(written({**volumes, one: volumes[other], other: volumes[one]}, tmp_path))
    prepared = prepare(selection)
    with pytest.raises(AmbiguousSequenceError, match=message):
        confirmed(prepared, selection)
    # Whoever named the series has the last word; the result says what the pixels show.
    named = {s: replace(c, evidence="user") for s, c in selection.choices.items()}
    opinions = confirmed(prepared, replace(selection, choices=named)).opinions
    assert "contradicts" in {opinions[one].verdict, opinions[other].verdict}


def test_inspect_says_what_pixels_show(
    volumes: Mapping[Sequence, Volume], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = written(volumes, tmp_path / "good")
    assert main(["inspect", "--pixels", str(good)]) == 0
    out = capsys.readouterr().out
    assert "Pixels: agrees; its pixels look like T2" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80
    bad = written({**volumes, T1: volumes[T2], T2: volumes[T1]}, tmp_path / "bad")
    assert main(["inspect", "--json", str(bad)]) == 0  # headers are consistent
    capsys.readouterr()
    assert main(["inspect", "--json", "--pixels", str(bad)]) == 31
    out, err = capsys.readouterr()
    content = json.loads(out)
    assert content["selection"]["T1"]["pixels"]["verdict"] == "contradicts"
    assert content["run"]["exit_code"] == 31
    assert "acuity: ambiguous-sequence: T1 was chosen for this: " in err
