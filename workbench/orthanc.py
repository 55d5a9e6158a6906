"""Orthanc, the workbench's archive: its configuration and its command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from acuity.errors import WorkbenchError
from label.door import ARCHIVE_USER, read_or_make_secret
from workbench.settings import Settings, write_private

_PLUGIN = "libOrthancDicomWeb.so"
_PLUGIN_FOLDERS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc/plugins")


def configuration(folder: Path, port: int, plugin: Path, password: str) -> dict[str, Any]:
    """Orthanc's configuration: DICOMweb for this computer and who knows the password, and no other way in.

    Orthanc 1.10 (Debian 12) listens on all interfaces, whatever the configuration says. It answers other computers
    with 403, and requests of this computer without the password with 401.

    Parameters
    ----------
    folder : of the archive
    port : of its HTTP server
    """
    return {
        "Name": "Acuity workbench",
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "Plugins": [str(plugin)],
        "HttpPort": port,
        "HttpBindAddresses": ["127.0.0.1"],
        "RemoteAccessAllowed": False,  # what Debian's 1.10 goes by, which does not know the line above
        # Every account and program of this computer reaches the port, and web pages by way of its browsers.
        "AuthenticationEnabled": True,
        "RegisteredUsers": {ARCHIVE_USER: password},
        "OrthancExplorerEnabled": False,
        "ExecuteLuaEnabled": False,
        "DicomServerEnabled": False,
        "DicomModalities": {},
        "OrthancPeers": {},
        "HttpDescribeErrors": True,
        "HttpVerbose": False,
        "OverwriteInstances": False,  # an image in an archive never changes under its UID
        "StorageCompression": False,
        "SynchronousStorage": True,
        "StableAge": 5,
        "LimitFindResults": 0,
        "LimitFindInstances": 0,
        "DicomWeb": {
            "Enable": True,
            "Root": "/dicom-web/",
            "EnableWado": False,
            "Ssl": False,
            "QidoCaseSensitive": False,
            "StudiesMetadata": "Full",
            "SeriesMetadata": "Full",
        },
    }


def prepare(settings: Settings) -> list[str]:
    """Write the configuration into the state folder and return the command that runs Orthanc with it.

    Raises
    ------
    WorkbenchError
        Where Orthanc or its DICOMweb plugin is not installed.
    """
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
    plugin = next((p for f in _PLUGIN_FOLDERS if (p := Path(f) / _PLUGIN).is_file()), None)
    if program is None or plugin is None:
        raise WorkbenchError(
            "Orthanc is not installed." if program is None else "Orthanc's DICOMweb plugin is not installed.",
            rule="The workbench's archive is Orthanc with its DICOMweb plugin.",
            remedy="Debian and Ubuntu: sudo apt-get install orthanc orthanc-dicomweb",
        )
    folder, file = settings.state / "archive", settings.state / "orthanc.json"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    password = read_or_make_secret(settings.archive_password)
    text = json.dumps(configuration(folder, settings.orthanc_port, plugin, password), indent=2)
    write_private(file, text.encode())
    return [program, str(file)]
