"""Files that come with the package."""

from __future__ import annotations

from pathlib import Path


def config_file(name: str) -> Path:
    """A file or folder of ``configs/``: beside the package in a checkout and in a MAP, inside it in a wheel."""
    package = Path(__file__).parent
    inside = package / "configs" / name
    return inside if inside.exists() else package.parent / "configs" / name
