"""OHIF's built distribution: fetched once from the npm registry, checked, and kept in the cache folder."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import httpx2

from acuity.errors import WorkbenchError

VERSION = "3.13.2"
_ARCHIVE = f"app-{VERSION}.tgz"
# As the registry publishes it; whatever mirror the archive comes from, this is what it must be.
_SHA512 = "WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
_REGISTRY = "https://registry.npmjs.org"
_SECONDS = 600


def distribution(cache: Path) -> Path:
    """The folder with OHIF's ``index.html``, fetched where it is not there yet (50 MB, 75 MB unpacked).

    Raises
    ------
    WorkbenchError
        Where it cannot be fetched, or is not what it must be.
    """
    folder = cache / f"ohif-{VERSION}"
    if (folder / "index.html").is_file():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".ohif-") as scratch:
        archive = _fetch(Path(scratch))
        found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != _SHA512:
            raise WorkbenchError(
                f"The archive of OHIF {VERSION} has the SHA-512 {found[:16]}...",
                rule=f"It must have {_SHA512[:16]}...: another one is not what was tested.",
                remedy="Look whether a proxy or mirror changes what is fetched.",
            )
        unpack(archive, Path(scratch) / "dist")
        os.replace(Path(scratch) / "dist", folder)
    return folder


def unpack(archive: Path, folder: Path) -> None:
    """Unpack what browsers need: ``package/dist`` without source maps."""
    with tarfile.open(archive) as tar:
        for member in tar:
            top, _, rest = member.name.partition("package/dist/")
            if not top and rest and member.isfile() and not rest.endswith(".map"):
                member.name = rest
                tar.extract(member, folder, filter="data")


def _fetch(folder: Path) -> Path:
    """By npm where it is installed, for it knows the registry and proxy of this computer; else by https."""
    npm = shutil.which("npm")
    if npm:
        command = [npm, "pack", f"@ohif/app@{VERSION}", "--silent", "--pack-destination", str(folder)]
        subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=_SECONDS)
        found = next(folder.glob("*.tgz"), None)
        if found is not None:
            return found
    registry = os.environ.get("NPM_CONFIG_REGISTRY", _REGISTRY).rstrip("/")
    target = folder / _ARCHIVE
    try:
        with httpx2.stream("GET", f"{registry}/@ohif/app/-/{_ARCHIVE}", timeout=60, follow_redirects=True) as answer:
            answer.raise_for_status()
            with target.open("wb") as file:
                for chunk in answer.iter_bytes():
                    file.write(chunk)
    except httpx2.HTTPError as error:
        raise WorkbenchError(
            f"OHIF {VERSION} could not be fetched from {registry}: {type(error).__name__}",
            rule="The viewer is fetched once, by npm or by https.",
            remedy=f"Connect to the network once, or unpack {_ARCHIVE}'s package/dist to the cache's ohif-{VERSION}.",
        ) from error
    return target
