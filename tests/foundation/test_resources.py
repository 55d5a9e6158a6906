"""Where the files that come with the package are found."""

from __future__ import annotations

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
