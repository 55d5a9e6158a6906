"""The command that makes the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.package import main


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for docker, which writes down what it is asked; its `build` fails where a file `fail` lies beside."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "docker").write_text(
        f'#!/bin/sh\necho "$@" >> {folder}/calls\n[ "$1" != build ] || [ ! -e {folder}/fail ]\n'
    )
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


@pytest.fixture
def no_docker(docker: Path) -> None:
    (docker / "docker").write_text("#!/bin/sh\nexit 1\n")


@pytest.mark.usefixtures("no_docker")
def test_without_an_engine_the_contexts_are_left_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--output", str(tmp_path / "out"), "--tag", "example.org/acuity:1"]) == 0
    said = capsys.readouterr().out
    for flavour in ("cpu", "sdk"):
        context = tmp_path / "out" / flavour
        assert f"docker build --tag example.org/acuity:1-{flavour} {context}" in said
        assert (context / "Dockerfile").is_file()
    assert "models/brain_tumor_segmentation" in said  # the table of sizes
    assert "sha256" in said


def test_with_an_engine_the_image_is_built(tmp_path: Path, docker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--flavour", "cpu", "--output", str(tmp_path / "out"), "--tag", "acuity:1"]) == 0
    call = f"build --platform linux/amd64 --tag acuity:1-cpu {tmp_path}/out/cpu"
    assert (docker / "calls").read_text().splitlines() == ["info", call]
    assert "image: acuity:1-cpu" in capsys.readouterr().out


def test_a_build_that_fails_is_told(tmp_path: Path, docker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (docker / "fail").touch()
    assert main(["--flavour", "cpu", "--output", str(tmp_path / "out")]) == 70
    assert "could not be built" in capsys.readouterr().err


@pytest.mark.usefixtures("no_docker")
def test_an_earlier_context_is_replaced_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--flavour", "cpu", "--output", str(tmp_path)]
    assert main(arguments) == 0
    (tmp_path / "cpu" / "app" / "old.py").touch()
    assert main(arguments) == 0
    assert not (tmp_path / "cpu" / "app" / "old.py").exists()
    (tmp_path / "sdk").mkdir()
    (tmp_path / "sdk" / "thesis.txt").touch()
    assert main(["--flavour", "sdk", "--output", str(tmp_path)]) == 60
    assert "holds other files" in capsys.readouterr().err
    assert (tmp_path / "sdk" / "thesis.txt").exists()


@pytest.mark.parametrize("tag", ["acuity", "Acuity:1", "acuity:1 --privileged", ":1", "acuity:"])
def test_a_wrong_tag_is_refused(tag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--tag", tag])
    assert ended.value.code == 2
    assert "is no name of an image with a tag" in capsys.readouterr().err
