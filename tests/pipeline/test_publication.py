from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from acuity.errors import OutputError
from acuity.pipeline.options import Options
from acuity.pipeline.publication import FOLDERS, Staging, concerns_output, write_result
from acuity.pipeline.run import Run


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


# A whole publication; the first argument is the output folder. The process dies, as of SIGKILL or a power cut, before
# its nth call of the kernel that changes a folder; it ends with 0 where it makes fewer. n of 0 never dies.
PUBLISH = """
import json, os, signal, sys
from pathlib import Path
from acuity.pipeline.options import Options
from acuity.pipeline.publication import FOLDERS, write_result
from acuity.pipeline.run import Run

output, n, count = Path(sys.argv[1]), int(sys.argv[2]), 0
run = Run(Options(input=output, output=output, models=output, verbosity=-1))
run.open()

def write():
    for name in FOLDERS:
        (run.folder / name).mkdir()
        (run.folder / name / "a.dcm").write_bytes(name.encode())
    return run.options.models

class Done:
    def summary(self): return ""

run.perform("write", lambda: write() and Done())

def watch(event, arguments):
    global count
    if event in ("os.rename", "os.remove", "os.rmdir", "shutil.rmtree"):
        count += 1
        if count == n:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
sys.exit(run.finish())
"""


def publish(output: Path, n: int = 0) -> int:
    return subprocess.run([sys.executable, "-c", PUBLISH, str(output), str(n)], check=False).returncode


def assert_no_false_success(output: Path) -> None:
    """Where a success is reported, every output is there, whole."""
    if not (output / "result.json").exists():
        return
    result = json.loads((output / "result.json").read_text())
    if result["status"] == "success":
        assert sorted(entry["path"] for entry in result["outputs"]) == sorted(f"{name}/a.dcm" for name in FOLDERS)
        for name in FOLDERS:
            assert (output / name / "a.dcm").read_bytes() == name.encode()


@pytest.mark.parametrize("earlier", [False, True], ids=["empty", "after a failure"])
def test_killed_at_any_rename_there_is_no_success_without_all_outputs(tmp_path: Path, earlier: bool) -> None:
    for n in range(1, 30):
        output = tmp_path / str(n)
        output.mkdir()
        if earlier:
            write_result({"status": "failed"}, output)
        code = publish(output, n)
        assert_no_false_success(output)
        if code == 0:
            break
        assert code == -9
    assert code == 0 and n > len(FOLDERS) + 1  # every rename was tried, and the last try went through
    assert json.loads((output / "result.json").read_text())["status"] == "success"


@pytest.mark.parametrize("number", range(1, 8))
def test_a_call_that_fails_leaves_all_outputs_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Whichever rename or flush of a folder it is: the disk may fill up at any of them."""
    run = Run(Options(input=tmp_path, output=tmp_path / "out", models=tmp_path, verbosity=-1))
    run.open()
    for name in FOLDERS:
        (run.folder / name).mkdir()
        (run.folder / name / "a.dcm").write_bytes(name.encode())
    calls, rename = 0, Path.rename

    def failing(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == number:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    code = run.finish()
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    if number <= len(FOLDERS) + 1:
        assert (code, result["status"], result["error"]["code"]) == (60, "refused", "output")
        assert os.listdir(tmp_path / "out") == ["result.json"]
    else:
        assert (code, result["status"]) == (0, "success")


def test_everything_is_on_the_disk_before_the_result_is_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = Staging(tmp_path)
    fill(staging)
    flushed: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(
        os, "fsync", lambda fd: flushed.append((os.readlink(f"/proc/self/fd/{fd}"), sorted(os.listdir(tmp_path))))
    )
    staging.publish()
    before = [path for path, visible_then in flushed if "result.json" not in visible_then]
    hidden = str(staging.path)
    assert {f"{hidden}/seg/a.dcm", f"{hidden}/seg", f"{hidden}/result.json", hidden, str(tmp_path)} <= set(before)
    assert flushed[-1][0] == str(tmp_path) and "result.json" in flushed[-1][1]


def test_a_second_run_is_refused_before_it_touches_anything(tmp_path: Path) -> None:
    write_result({"status": "failed"}, tmp_path)
    first = Staging(tmp_path)
    fill(first)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    assert publish(tmp_path) == 60
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before
    assert json.loads((tmp_path / "result.json").read_text()) == {"status": "failed"}
    first.publish()
    assert json.loads((tmp_path / "result.json").read_text()) == {"status": "success"}


def test_where_folders_cannot_be_locked_the_first_to_publish_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unknown(*arguments: object) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr("fcntl.flock", unknown)
    runs = [Run(Options(input=tmp_path, output=tmp_path / "out", models=tmp_path, verbosity=-1)) for _ in range(2)]
    for run in runs:
        run.open()
        (run.folder / "seg").mkdir()
        (run.folder / "seg" / "a.dcm").write_bytes(b"a")
    assert [run.finish() for run in runs] == [0, 60]
    assert "earlier result" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "result.json").read_text())["status"] == "success"
    assert sorted(os.listdir(tmp_path / "out")) == ["result.json", "seg"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_want_of_room_concerns_the_output_whichever_file_it_is(tmp_path: Path, number: int) -> None:
    assert concerns_output(OSError(number, "no room"))
    assert concerns_output(OSError(errno.EIO, "broken", str(tmp_path / "a")), tmp_path)
    assert not concerns_output(OSError(errno.EIO, "broken", "/elsewhere"), tmp_path)
    assert not concerns_output(ValueError("no room"))
