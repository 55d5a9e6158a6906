"""Recipes: YAML files that say what makes a method, built by MONAI's config parser."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from acuity.errors import AcuityError, DataError
from acuity.resources import changeable_by_others

_log = logging.getLogger(__name__)


def recipe_names(folder: Path) -> list[str]:
    """The recipes of a folder of YAML files."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_entry(path: Path, entry: str = "recipe", **values: object) -> Any:
    """What an entry of a recipe builds.

    Parameters
    ----------
    path : the YAML file
    entry : "recipe" for all of it, "recipe#network" for a part
    values : what the file may refer to as @name

    Raises
    ------
    DataError : the file is absent, or what it builds does not take its arguments or lacks something
    """
    if not path.is_file():
        raise DataError(
            f"There is no recipe {path.stem}.",
            rule=f"Recipes are the YAML files of {path.parent}.",
            remedy=f"Take one of {', '.join(recipe_names(path.parent)) or 'them'}.",
        )
    place = changeable_by_others(path)
    if place is not None:
        _log.warning("recipes are code, and other accounts of this computer can change %s", place)
    from monai.bundle import ConfigParser  # takes seconds, which listing the recipes' names should not

    parser = ConfigParser()
    parser.read_config(path)
    parser.update(values)
    try:
        return parser.get_parsed_content(entry)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
            if isinstance(cause, AcuityError):  # it says what is missing, and how to get it
                raise cause from error
        raise DataError(
            f"The recipe {path.stem} cannot be used: {cause}.",
            rule=f"Its entry `{entry}` gives the arguments of the class that it names.",
            remedy="Compare it with another recipe of ours.",
        ) from error
