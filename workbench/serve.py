"""The gateway's process: `python -m workbench.serve FILE`, with the settings that the launcher wrote."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import uvicorn

from workbench.gateway import GatewaySettings, create_app
from workbench.oidc import OidcSettings


def write(file: Path, settings: GatewaySettings, listen: dict[str, Any]) -> list[str]:
    """Write the settings, secrets among them, for their owner alone; returns the command that serves with them.

    Parameters
    ----------
    listen : arguments of ``uvicorn.run``: host, port, ssl_certfile, ssl_keyfile
    """
    file.unlink(missing_ok=True)
    content = {"gateway": {**dataclasses.asdict(settings), "viewer": str(settings.viewer)}, "listen": listen}
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as target:
        json.dump(content, target)
    return [sys.executable, "-m", "workbench.serve", str(file)]


def main() -> None:
    """Serve until the process is told to end."""
    content = json.loads(Path(sys.argv[1]).read_text())
    gateway = content["gateway"]
    gateway["viewer"] = Path(gateway["viewer"])
    gateway["oidc"] = gateway["oidc"] and OidcSettings(**gateway["oidc"])
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("workbench").setLevel(logging.INFO)
    # No access log: addresses hold the ids of studies. A proxy's headers count for nothing: `public_url` is known.
    uvicorn.run(
        create_app(GatewaySettings(**gateway)),
        **content["listen"],
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=10,
    )


if __name__ == "__main__":
    main()
