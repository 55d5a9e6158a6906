#!/usr/bin/env python3
"""Entry point of the CPU image: runs the application, or shows and extracts what the package holds.

Nothing but the standard library is imported: the verbs answer at once.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

# What the MAP specification (1.0.0) gives as defaults; the variables may say otherwise.
APP_MANIFEST = "HOLOSCAN_APP_MANIFEST_PATH", "/etc/holoscan/app.json"
PKG_MANIFEST = "HOLOSCAN_PKG_MANIFEST_PATH", "/etc/holoscan/pkg.json"
CONFIG = "HOLOSCAN_CONFIG_PATH", "/var/holoscan/app.yaml"
FOLDERS = {
    "app": ("HOLOSCAN_APPLICATION", "/opt/holoscan/app/"),
    "models": ("HOLOSCAN_MODEL_PATH", "/opt/holoscan/models/"),
    "docs": ("HOLOSCAN_DOCS_PATH", "/opt/holoscan/docs/"),
}
EXPORT = Path("/var/run/holoscan/export")
# Where libraries would write that a read-only image and a user without a home folder do not let them.
SCRATCH = {"HOME": "", "MPLCONFIGDIR": "matplotlib", "XDG_CACHE_HOME": "cache", "XDG_CONFIG_HOME": "config"}

HELP = """\
Run the application:    IMAGE [OPTION...]     options of the application; --help lists them
Show the manifests:     IMAGE show [app|pkg]
Extract the content:    IMAGE extract         into what is mounted at /var/run/holoscan/export, or at
                                              app, config, models or docs in it
This text:              IMAGE help

The study is mounted at /var/holoscan/input, an empty folder for the results at /var/holoscan/output.
The exit code is the application's; result.json in the output says what happened.
"""


class Refusal(Exception):  # noqa: N818 - the verbs are refused, nothing failed
    """What keeps a verb from being carried out: what was found, and what to do about it."""


def main(arguments: Sequence[str], environ: Mapping[str, str] = os.environ, export: Path = EXPORT) -> int:
    """Carry out the verb; returns its exit code, unless the application took the place of this process.

    Parameters
    ----------
    arguments : without the program's name; what is no verb goes to the application
    environ : environment variables
    export : folder for ``extract``
    """
    verb, *rest = arguments or [""]
    try:
        if verb == "help":
            print(HELP, end="")
        elif verb == "show":
            print(show(rest, environ))
        elif verb == "extract":
            for target in extract(environ, export):
                print(f"extracted {target}")
        else:
            run(arguments, environ)
    except (Refusal, OSError, ValueError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if verb in ("show", "extract", "help") else 1
    return 0


def show(names: Sequence[str], environ: Mapping[str, str]) -> str:
    """The manifests as they are: both, one after the other, or the one that is named.

    Raises
    ------
    Refusal
        When the name is neither "app" nor "pkg".
    """
    manifests = {"app": APP_MANIFEST, "pkg": PKG_MANIFEST}
    for name in names:
        if name not in manifests:
            raise Refusal(f"{name!r} is no manifest. Write `show app`, `show pkg` or `show`.")
    paths = [_path(manifests[name], environ) for name in names or manifests]
    return "\n".join(path.read_text(encoding="utf-8").rstrip() for path in paths)


def extract(environ: Mapping[str, str], export: Path) -> list[Path]:
    """Copy what the package holds to where the caller mounted a folder for it.

    Returns
    -------
    The folders that were filled: those of app, config, models and docs that exist below ``export``; all four where
    none does.

    Raises
    ------
    Refusal
        When nothing is mounted.
    """
    if not export.is_dir():
        raise Refusal(f"Nothing is mounted at {export}. Mount a folder there that this user may write to.")
    names = ("app", "config", "models", "docs")
    targets = [export / name for name in names if (export / name).is_dir()] or [export / name for name in names]
    for target in targets:
        target.mkdir(exist_ok=True)
        if target.name == "config":
            for source in (CONFIG, APP_MANIFEST, PKG_MANIFEST):
                shutil.copyfile(_path(source, environ), target / _path(source, environ).name)
        else:
            # contents only: the copies get the caller's own permissions, not the image's
            shutil.copytree(
                _path(FOLDERS[target.name], environ),
                target,
                copy_function=shutil.copyfile,
                ignore=shutil.ignore_patterns("__pycache__"),
                dirs_exist_ok=True,
            )
    return targets


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Replace this process by the manifest's command, so that its exit code and its signals are the container's.

    Raises
    ------
    Refusal
        When there is no manifest, or no folder for temporary files.
    """
    path = _path(APP_MANIFEST, environ)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        command = manifest["command"]
    except (OSError, ValueError, KeyError) as error:
        raise Refusal(f"The application manifest {path} cannot be used ({type(error).__name__}).") from None
    try:
        scratch = tempfile.mkdtemp(prefix="acuity-")
    except OSError:
        raise Refusal(
            "No folder for temporary files can be written to. With a read-only root, mount one: --tmpfs /tmp."
        ) from None
    environment = {**manifest.get("environment", {}), **environ}  # what the host says comes before the manifest
    environment |= {name: os.path.join(scratch, folder) for name, folder in SCRATCH.items()}
    os.chdir(manifest.get("workingDirectory", "/var/holoscan/"))
    # The shell gets the arguments as they are: none of them is ever read as a command.
    os.execve("/bin/sh", ["sh", "-c", f'{command} "$@"', "acuity", *arguments], environment)


def _path(place: tuple[str, str], environ: Mapping[str, str]) -> Path:
    variable, default = place
    return Path(environ.get(variable) or default)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
