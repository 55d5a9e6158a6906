"""The gateway's process: `python -m workbench.serve FILE`, with the settings that the launcher wrote."""

from __future__ import annotations

import logging
import resource
import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from label.door import Protocol
from workbench import viewer_build
from workbench.gateway import create_app
from workbench.identity import read_or_make_token
from workbench.settings import Settings, load_settings

_MOST_CONNECTIONS = 1000  # more are answered with 503; each takes a file, and another for the server behind


def main() -> None:
    """Serve until the process is told to end."""
    files, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(files, min(4 * _MOST_CONNECTIONS, most_files)), most_files))
    settings = load_settings(Path(sys.argv[1]))
    token, _ = read_or_make_token(settings.token_file)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("workbench").setLevel(logging.INFO)
    app = create_app(settings, viewer_build.distribution(settings.cache), token)
    uvicorn.Server(configure(app, settings)).run()


def configure(app: Starlette, settings: Settings) -> uvicorn.Config:
    """How the gateway is served: with bounds of time and number for clients that nobody knows yet.

    There is no access log: addresses hold the ids of studies. A proxy's headers count for nothing: ``public_url`` is
    known.
    """
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        http=Protocol,
        ws="none",
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=10,
    )


if __name__ == "__main__":
    main()
