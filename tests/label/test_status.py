"""How far a task is: the server writes it, the viewer's panel reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from fastapi import HTTPException

from acuity.errors import AcuityError, ArchiveError, InputNotFoundError, MissingSequenceError, MissingSliceError
from label.status import CaseStatus, Running, Status, TrainingStatus, case_status, training_status
from tests.node import through


def test_an_inference_is_watched_and_stopped() -> None:
    running = Running()
    assert running.status() is None and running.stop() is False
    running.begin("sharpen")
    running.report(0.25)
    running.report(0.2)  # never backwards
    assert running.status() == Status("sharpen", 25, 100)
    assert running.stop() is True
    with pytest.raises(HTTPException, match="was stopped"):
        running.report(0.5)
    running.end()
    assert running.status() is None


def test_a_training_tells_its_steps_and_its_end_to_another_process(tmp_path: Path) -> None:
    path = tmp_path / "models" / "training.json"
    assert training_status(path, "1", "SUBMITTED") == Status("train")
    training = TrainingStatus(path, "1")
    training.report(1, 300, "coarse")
    training.report(2, 300, "coarse")  # within a second: not written
    assert training_status(path, "1", "RUNNING") == Status("train", 1, 300, "coarse")
    training.end("Served: mean Dice 0.9.")
    assert training_status(path, "1", "RUNNING").outcome is None
    assert training_status(path, "1", "DONE") == Status("train", 2, 300, "coarse", "Served: mean Dice 0.9.")
    assert training_status(path, "2", "RUNNING") == Status("train")  # the next one has told nothing yet


@pytest.mark.parametrize(
    ("state", "noted", "outcome", "failed"),
    [
        ("DONE", None, "The training is done.", False),
        ("STOPPED", None, "The training was stopped.", False),
        ("ERROR", None, "The training failed. Its log says why.", True),
        ("ERROR", "Correct more cases.", "The training failed. Correct more cases.", True),
    ],
)
def test_every_end_has_a_sentence(tmp_path: Path, state: str, noted: str | None, outcome: str, failed: bool) -> None:
    if noted:
        TrainingStatus(tmp_path / "training.json", "1").end(noted)
    assert training_status(tmp_path / "training.json", "1", state) == Status("train", 0, 0, None, outcome, failed)


def test_a_damaged_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text("{")
    assert training_status(tmp_path / "training.json", "1", "RUNNING") == Status("train")


def test_the_viewer_shows_what_the_server_writes(tmp_path: Path) -> None:
    """Producer and reader of one text: a field that is renamed on one side fails here."""
    training = TrainingStatus(tmp_path / "training.json", "1")
    found = [asdict(training_status(tmp_path / "training.json", "1", "SUBMITTED"))]
    training.report(200, 300, "fine")
    found.append(asdict(training_status(tmp_path / "training.json", "1", "RUNNING")))
    training.end("Kept aside: mean Dice 0.8.")
    found += [asdict(training_status(tmp_path / "training.json", "1", state)) for state in ("DONE", "ERROR")]
    running = Running()
    for task in ("find", "sharpen", "correct"):
        running.begin(task)
        running.report(0.5)
        status = running.status()
        assert status is not None
        found.append(asdict(status))
    shown = through(
        "status.js", "m.goesOn(value) ? m.progressOf(value) : m.outcomeOf(value)", json.loads(json.dumps(found))
    )
    assert shown == [
        {"text": "Training ..."},
        {"text": "Training the fine network: step 200 of 300", "done": pytest.approx(2 / 3)},
        {"text": "Kept aside: mean Dice 0.8.", "state": "done"},
        {"text": "The training failed. Kept aside: mean Dice 0.8.", "state": "failed"},
        {"text": "Looking for tumor: step 50 of 100", "done": 0.5},
        {"text": "Sharpening: step 50 of 100", "done": 0.5},
        {"text": "Correcting: step 50 of 100", "done": 0.5},
    ]


@pytest.mark.parametrize(
    ("names", "message"), [(("FLAIR",), "FLAIR is missing."), (("T1", "T2"), "T1 and T2 are missing.")]
)
def test_a_missing_sequence_is_said_in_an_annotators_words(names: tuple[str, ...], message: str) -> None:
    def find() -> None:
        error = MissingSequenceError("FLAIR was not found among 3 series: 'AX T1' is T1 (SE, TR 500 ms) ...")
        error.missing = names
        raise error

    status = case_status(find)
    assert (status.ready, status.message, status.missing) == (False, message, names)
    assert "AX T1" not in status.message + status.remedy


def test_other_refusals_of_a_case_keep_their_text_and_unknown_cases_stay_errors() -> None:
    def raising(error: AcuityError) -> Callable[[], None]:
        def find() -> None:
            raise error

        return find

    refused = case_status(raising(MissingSliceError("A slice is missing.", remedy="Send it.")))
    assert refused == CaseStatus(False, "A slice is missing.", (), "Send it.")
    assert case_status(lambda: None) == CaseStatus(True)
    for error in (InputNotFoundError("none"), ArchiveError("away")):
        with pytest.raises(type(error)):
            case_status(raising(error))
