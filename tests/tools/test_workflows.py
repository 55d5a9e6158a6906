"""The workflows of .github: correct by a linter, and the commands that they call exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

JUDGE = shutil.which("jactionlint", path=Path(sys.executable).parent)


@pytest.mark.skipif(JUDGE is None, reason="jactionlint is not installed (requirements-dev.txt)")
def test_the_linter_finds_nothing(repository: Path, tmp_path: Path) -> None:
    def findings(folder: Path) -> list[str]:
        files = sorted(folder.glob("*.yml"))
        # by hash only: the actions are GitHub's own, see the comments there
        command = [
            str(JUDGE),
            "--oneline",
            "--no-hints",
            "--strict-exit",
            "--ignore",
            "unpinned-uses",
            *map(str, files),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        return done.stdout.splitlines()

    workflows = repository / ".github" / "workflows"
    assert findings(workflows) == []
    (tmp_path / "faulty.yml").write_text((workflows / "tests.yml").read_text().replace("runs-on", "run-on"))
    assert any("run-on" in line for line in findings(tmp_path))


def test_workflows_call_targets_of_make(repository: Path) -> None:
    texts = [file.read_text() for file in (repository / ".github" / "workflows").glob("*.yml")]
    called = {target for text in texts for target in re.findall(r"\bmake ([\w-]+)", text)}
    targets = re.findall(r"^([\w-]+):", (repository / "Makefile").read_text(), re.MULTILINE)
    assert {"setup", "lint", "test", "package"} <= called <= {*targets}
