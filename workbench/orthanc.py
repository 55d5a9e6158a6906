"""Orthanc, the workbench's archive: its configuration and its command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from acuity.errors import WorkbenchError
from workbench.settings import Settings

_PLUGIN = "libOrthancDicomWeb.so"
_PLUGIN_FOLDERS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc/plugins")


def configuration(folder: Path, port: int, plugin: Path) -> dict[str, Any]:
    """Orthanc's configuration: DICOMweb for this computer alone, and no other way in.

    Parameters
    ----------
    folder : of the archive
    port : of its HTTP server, on the loopback interface
    """
    return {
        "Name": "Acuity workbench",
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "Plugins": [str(plugin)],
        "HttpPort": port,
        "HttpBindAddresses": ["127.0.0.1"],
        "RemoteAccessAllowed": False,  # what Debian's 1.10 goes by, which does not know the line above
        "AuthenticationEnabled": False,  # the gateway asks; nothing else reaches the port
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
    file.write_text(json.dumps(configuration(folder, settings.orthanc_port, plugin), indent=2))
    return [program, str(file)]
