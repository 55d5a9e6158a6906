"""README.md says what is so: exit codes, commands, paths."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from acuity.errors import AcuityError
from tools.exit_codes import NOT_REFUSALS, refusals, table, with_table


def test_table_of_exit_codes_is_current(repository: Path) -> None:
    readme = (repository / "README.md").read_text()
    assert with_table(readme) == readme, "run python tools/exit_codes.py --write"


def test_every_refusal_has_codes_of_its_own() -> None:
    errors = refusals()
    assert len({error.exit_code for error in errors}) == len(errors)
    assert len({error.code for error in errors}) == len(errors)
    assert all(10 <= error.exit_code < 90 for error in errors)
    assert not {error.exit_code for error in errors} & set(NOT_REFUSALS)


def test_table_gives_code_and_meaning() -> None:
    assert "| 11 | `no-dicom` | The input holds no DICOM image that can be read |" in table().splitlines()
    assert AcuityError.code not in re.findall(r"`([a-z-]+)`", table())


def test_readme_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the table"):
        with_table("# Acuity\n")


def test_commands_are_targets_of_make_the_two_main_ones_first(repository: Path) -> None:
    makefile = (repository / "Makefile").read_text()
    commands = re.findall(r"^make ([\w-]+)", (repository / "README.md").read_text(), re.MULTILINE)
    assert commands[:2] == ["demo", "test"]
    assert all(re.search(rf"^{command}:", makefile, re.MULTILINE) for command in commands)


def test_links_lead_to_files(repository: Path) -> None:
    for document in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", (repository / document).read_text()):
            if not link.startswith("https://"):
                assert (repository / link).is_file(), f"{document} links to {link}"


def test_map_names_what_is_there(repository: Path) -> None:
    _, _, section = (repository / "README.md").read_text().partition("## Map\n")
    rows = re.findall(r"^\| (`.*?) \|", section.partition("\n## ")[0], re.MULTILINE)
    named = [path for row in rows for path in re.findall(r"`([^`]+)`", row)]
    folder = ""
    for path in named:
        # `acuity/networks`, `losses`: a bare name stands in the folder of the one before it
        full = path if "/" in path or (repository / path).exists() else f"{folder}/{path}"
        folder = str(Path(full).parent) if "/" in full.rstrip("/") else folder
        assert (repository / full).exists(), f"the map names {path}"
    assert {"app.py", "operators/", "bundles/", "configs/", "tools/", "tests/", "install/"} <= set(named)
