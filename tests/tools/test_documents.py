"""The documents say what is so: exit codes are unique and listed, links lead somewhere, commands exist."""

from __future__ import annotations

import re
from pathlib import Path

from tools.exit_codes import NOT_REFUSALS, PAGE, refusals, with_table


def test_table_of_exit_codes_is_current() -> None:
    page = PAGE.read_text()
    assert with_table(page) == page, "run python tools/exit_codes.py --write"


def test_every_refusal_has_codes_of_its_own() -> None:
    errors = refusals()
    assert len({error.exit_code for error in errors}) == len(errors)
    assert len({error.code for error in errors}) == len(errors)
    assert all(10 <= error.exit_code < 90 for error in errors)
    assert not {error.exit_code for error in errors} & set(NOT_REFUSALS)


def test_commands_are_targets_of_make(repository: Path) -> None:
    targets = re.findall(r"^([\w-]+):", (repository / "Makefile").read_text(), re.MULTILINE)
    commands = re.findall(r"^make ([\w-]+)", (repository / "README.md").read_text(), re.MULTILINE)
    assert {"demo", "test"} <= set(commands) <= set(targets)


def test_links_lead_to_files(repository: Path) -> None:
    for document in [*repository.glob("*.md"), *repository.glob("docs/*.md"), *repository.glob("deploy/**/*.md")]:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
            assert link.startswith("http") or (document.parent / link).exists(), f"{document.name} links to {link}"
