"""The gateway's process: `python -m workbench.serve FILE`, with the settings that the launcher wrote."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import uvicorn

from workbench import viewer_build
from workbench.gateway import create_app
from workbench.identity import read_or_make_token
from workbench.settings import load_settings


def main() -> None:
    """Serve until the process is told to end."""
    settings = load_settings(Path(sys.argv[1]))
    token, _ = read_or_make_token(settings.token_file)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("workbench").setLevel(logging.INFO)
    # No access log: addresses hold the ids of studies. A proxy's headers count for nothing: `public_url` is known.
    uvicorn.run(
        create_app(settings, viewer_build.distribution(settings.cache), token),
        host=settings.host,
        port=settings.port,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=10,
    )


if __name__ == "__main__":
    main()
