"""``acuity exec``, on plain programs that tell what they were given and on a second application of the Deploy SDK."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from acuity.commands.exec import LOG_LEVELS
from acuity.pipeline.options import parse_options

# Prints what it was given; ends with the code in $CODE.
TELL = """
import json, os, sys
given = {key: value for key, value in os.environ.items() if key.startswith("HOLOSCAN_")}
print(json.dumps({"argv": sys.argv, "given": given, "path": sys.path[0], "pid": os.getpid()}))
sys.exit(int(os.environ.get("CODE", 0)))
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(TELL)
    return path


def clean(**variables: str) -> dict[str, str]:
    """The environment without what a user may have set for Acuity, plus ``variables``."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("HOLOSCAN_", "ACUITY_"))}
    return {**inherited, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), **variables}


def start(*arguments: object, folder: Path, **variables: str) -> subprocess.Popen[str]:
    """`acuity exec` as a user starts it, in ``folder``."""
    command = [sys.executable, "-m", "acuity.cli", "exec", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=folder, env=clean(**variables), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def execute(*arguments: object, folder: Path, **variables: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `acuity exec`."""
    process = start(*arguments, folder=folder, **variables)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def test_everything_reaches_the_application(program: Path, tmp_path: Path) -> None:
    words = shlex.split("program.py -i in -o 'out put' -m models -l debug -w a/b -- --spacing 2 -- -i")
    code, out, err = execute(*words, folder=tmp_path)
    assert code == 0, err
    told = json.loads(out)
    assert told["argv"] == shlex.split("program.py -i in -o 'out put' -m models -l DEBUG --spacing 2 -- -i")
    assert told["given"] == {"HOLOSCAN_WORKDIR": str(tmp_path / "a" / "b")}
    assert (tmp_path / "a" / "b").is_dir()
    assert Path(told["path"]).resolve() == program.parent.resolve()  # its own modules are found, not acuity's


def test_options_may_stand_before_the_application_too(program: Path, tmp_path: Path) -> None:
    _, out, _ = execute("-i", "before", "-m", "models", "program.py", "-i", "behind", folder=tmp_path)
    assert json.loads(out)["argv"] == ["program.py", "-i", "behind", "-m", "models"]


def test_variables_are_handed_on_where_there_are_no_options(program: Path, tmp_path: Path) -> None:
    given = {f"HOLOSCAN_{name}": f"/{name}" for name in ("INPUT_PATH", "OUTPUT_PATH", "MODEL_PATH", "WORKDIR")}
    told = json.loads(execute("program.py", folder=tmp_path, **given)[1])
    assert (told["argv"], told["given"]) == (["program.py"], given)
    told = json.loads(execute("program.py", "-w", "mine", folder=tmp_path, **given)[1])
    assert told["given"]["HOLOSCAN_WORKDIR"] == str(tmp_path / "mine")


@pytest.mark.parametrize("files", [("__main__.py",), ("app.py",), ("__main__.py", "app.py")])
def test_a_folder_is_run_by_its_main_file(files: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for file in files:
        (tmp_path / "folder" / file).write_text("print(__file__)")
    code, out, err = execute("folder", folder=tmp_path)
    assert code == 0, err
    assert Path(out.strip()).name == files[0]


@pytest.mark.parametrize("code", [0, 1, 22])
def test_the_process_becomes_the_application(code: int, program: Path, tmp_path: Path) -> None:
    process = start(program, folder=tmp_path, CODE=str(code))
    out, _ = process.communicate(timeout=60)
    assert json.loads(out)["pid"] == process.pid  # nothing stays between the caller's signals and the application
    assert process.returncode == code


@pytest.mark.parametrize(
    ("handler", "expected"), [("signal.signal(15, lambda *_: sys.exit(143))", 143), ("pass", -signal.SIGTERM)]
)
def test_a_signal_reaches_the_application(handler: str, expected: int, tmp_path: Path) -> None:
    text = f"import signal, sys, time\n{handler}\nprint('ready', flush=True)\ntime.sleep(60)\n"
    (tmp_path / "waits.py").write_text(text)
    process = start("waits.py", folder=tmp_path)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "required: APP"),
        (("absent.py",), "'absent.py' does not exist; name the application's Python file, or the folder of one"),
        (("empty",), "'empty' has neither __main__.py nor app.py"),
        (("program.py", "-l", "loud"), "invalid choice: 'LOUD'"),
        (("program.py", "-w", "program.py/x"), "'program.py/x' cannot be a folder: Not a directory"),
        (("program.py", "--spacing", "2"), "unrecognized arguments: --spacing 2; the application's own come after --"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_runs_nothing(
    arguments: tuple[str, ...], message: str, program: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    code, out, err = execute(*arguments, folder=tmp_path)
    assert (code, out) == (2, "")
    assert message in err


def test_nothing_heavy_is_loaded_on_the_way(program: Path, tmp_path: Path) -> None:
    """The command adds 0.15 s to the start of an application, as measured; torch alone would take seconds."""
    look = (
        "import os, sys; os.execve = lambda *_: print(*{m.partition('.')[0] for m in sys.modules}); "
        "from acuity.cli import main; main(['exec', sys.argv[1]])"
    )
    command = [sys.executable, "-c", look, str(program)]
    done = subprocess.run(command, env=clean(), capture_output=True, text=True, timeout=60, check=False)
    modules = set(done.stdout.split())
    assert "acuity" in modules, done.stderr
    assert {"numpy", "torch", "monai", "holoscan", "pydicom", "rich", "yaml"}.isdisjoint(modules)


def test_acuity_s_own_application_takes_each_level() -> None:
    verbosity = [parse_options(["-l", level.lower()], environ={}).verbosity for level in LOG_LEVELS]
    assert verbosity == [2, 1, 0, -1, -1]
    with pytest.raises(SystemExit):
        parse_options(["-l", "INFO", "-q"], environ={})


@pytest.fixture(scope="module")
def tiny() -> Path:
    return Path(__file__).resolve().parents[1] / "tiny_application"


@pytest.mark.slow
@pytest.mark.parametrize("code", [0, 1, 7])
def test_another_sdk_application_runs(code: int, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "code").write_text(str(code))
    (tmp_path / "models").mkdir()
    ended, _, err = execute(tiny, "-i", "in", "-o", "out", "-m", "models", "-l", "WARN", "-w", "work", folder=tmp_path)
    assert ended == code, err
    counted = json.loads((tmp_path / "out" / "count.json").read_text())
    counted.pop("pid")
    assert counted == {
        "files": 1,
        "model": str(tmp_path / "models"),
        "workdir": str(tmp_path / "work"),
        "log_level": "WARNING",
    }


@pytest.mark.slow
def test_another_sdk_application_obeys_the_variables(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "code").write_text("0")
    folders = {"INPUT_PATH": "in", "OUTPUT_PATH": "out", "MODEL_PATH": "in", "WORKDIR": "work"}
    variables = {f"HOLOSCAN_{name}": str(tmp_path / folder) for name, folder in folders.items()}
    code, _, err = execute(tiny / "app.py", folder=tmp_path, **variables)
    assert code == 0, err
    counted = json.loads((tmp_path / "out" / "count.json").read_text())
    assert (counted["files"], counted["workdir"]) == (1, str(tmp_path / "work"))


@pytest.mark.slow
@pytest.mark.parametrize(("which", "expected", "message"), [("tiny", 2, "No such file/folder"), ("ours", 10, "input-")])
def test_an_application_refuses_through_it_with_its_own_code(
    which: str, expected: int, message: str, tiny: Path, repository: Path, tmp_path: Path
) -> None:
    application = tiny if which == "tiny" else repository
    code, _, err = execute(application, "-i", "absent", "-o", "out", folder=tmp_path)
    assert code == expected
    assert message in err
