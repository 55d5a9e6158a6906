"""How far a task is: the server writes it, the viewer's panel reads it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from fastapi import HTTPException

from label.status import Running, Status, TrainingStatus, training_status
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
