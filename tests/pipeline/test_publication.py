from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from acuity.errors import OutputError
from acuity.pipeline.publication import Staging, write_result


def visible(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def fill(staging: Staging) -> None:
    (staging.path / "seg").mkdir()
    (staging.path / "seg" / "a.dcm").write_bytes(b"a")
    write_result({"status": "success"}, staging.path)


def test_nothing_is_visible_before_publishing_and_the_result_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the result of an earlier run: a reader must not take it for that of the files beside it."""
    (tmp_path / "out").mkdir()
    write_result({"status": "failed"}, tmp_path / "out")
    staging = Staging(tmp_path / "out")
    fill(staging)
    for name in ("series", "overview"):
        (staging.path / name).mkdir()
    assert [name for name in os.listdir(staging.output) if not name.startswith(".")] == ["result.json"]
    rename, seen = Path.rename, []

    def watched(self: Path, target: Path) -> Path:
        seen.append([name for name in sorted(os.listdir(staging.output)) if not name.startswith(".")])
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", watched)
    staging.publish()
    assert seen == [[], ["overview"], ["overview", "seg"], ["overview", "seg", "series"]]
    staging.discard()
    assert visible(staging.output) == ["result.json", "seg/a.dcm"]
    assert sorted(os.listdir(staging.output)) == ["overview", "result.json", "seg", "series"]


def test_a_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    assert Staging(tmp_path / "new" / "out").path.parent == tmp_path / "new" / "out"


def test_a_result_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="No space left"):
        write_result({"status": "failed"}, tmp_path)
    assert os.listdir(tmp_path) == []


def test_discarding_leaves_what_was_there(tmp_path: Path) -> None:
    """A disk's own folder and hidden files do not make a folder foreign."""
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".hidden").touch()
    staging = Staging(tmp_path)
    fill(staging)
    staging.discard()
    assert sorted(os.listdir(tmp_path)) == [".hidden", "lost+found"]


def test_a_failing_rename_takes_back_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staging = Staging(tmp_path)
    fill(staging)
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.parent == staging.path and self.name == "result.json":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OutputError, match="No space left on device"):
        staging.publish()
    assert visible(staging.path) == ["result.json", "seg/a.dcm"]
    staging.discard()
    assert os.listdir(tmp_path) == []


def test_an_earlier_result_stays(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    fill(staging)
    staging.publish()
    staging.discard()
    before = visible(tmp_path)
    with pytest.raises(OutputError, match=r"holds an earlier result.*Name another output folder") as info:
        Staging(tmp_path)
    assert (info.value.code, info.value.exit_code) == ("output", 60)
    assert visible(tmp_path) == before
    assert json.loads((tmp_path / "result.json").read_text()) == {"status": "success"}


def test_foreign_files_are_not_mixed_with_results(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds 1 other files or folders"):
        Staging(tmp_path)
    write_result({"status": "failed"}, tmp_path)
    with pytest.raises(OutputError, match="holds an earlier result"):
        Staging(tmp_path)


@pytest.mark.parametrize("status", ["refused", "failed"])
def test_the_result_of_a_run_without_success_is_replaced(tmp_path: Path, status: str) -> None:
    write_result({"status": status}, tmp_path)
    staging = Staging(tmp_path)
    fill(staging)
    staging.publish()
    assert json.loads((tmp_path / "result.json").read_text()) == {"status": "success"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"status": "success"}', "\x00"])
def test_a_result_that_says_no_failure_counts_as_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(OutputError, match="earlier result"):
        Staging(tmp_path)


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written to"):
        Staging(tmp_path / "file" / "out")
    with pytest.raises(OutputError, match="cannot be written to"):
        Staging(tmp_path / "file")


def test_published_files_are_as_readable_as_any_other(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    expected = stat.S_IMODE(plain.stat().st_mode)
    plain.unlink()
    staging = Staging(tmp_path)
    fill(staging)
    staging.publish()
    for name in ("result.json", "seg/a.dcm"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == expected
