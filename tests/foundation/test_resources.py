"""Where the files that come with the package are found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from acuity import resources


def test_configs_inside_an_installed_package_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "acuity"
    (package / "configs").mkdir(parents=True)
    (tmp_path / "configs").mkdir()
    monkeypatch.setattr(resources, "__file__", str(package / "resources.py"))
    assert resources.config_file("x.yaml") == tmp_path / "configs" / "x.yaml"
    (package / "configs" / "x.yaml").touch()
    assert resources.config_file("x.yaml") == package / "configs" / "x.yaml"


def test_what_no_one_else_can_write_is_told_from_what_others_can(tmp_path: Path) -> None:
    file = tmp_path / "models" / "small" / "inference.json"
    file.parent.mkdir(parents=True)
    file.touch()
    assert resources.changeable_by_others(file) is None  # though /tmp is open to all: its files are their owners'
    for place in (file, file.parent, file.parent.parent):
        mode = place.stat().st_mode
        place.chmod(mode | 0o002)
        assert resources.changeable_by_others(file) == place
        place.chmod(mode)
    file.parent.chmod(0o1777)
    assert resources.changeable_by_others(file) is None
    link = tmp_path / "link"
    link.symlink_to(file.parent)
    file.parent.chmod(0o777)
    assert resources.changeable_by_others(link / file.name) == file.parent


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_a_folder_of_another_account_can_be_changed_by_it(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 0)
    assert resources.changeable_by_others(tmp_path) == tmp_path
    os.chown(tmp_path, 0, 65534)
    tmp_path.chmod(0o770)
    assert resources.changeable_by_others(tmp_path) == tmp_path
