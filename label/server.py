"""The label server as a process: MONAI Label's settings, and ``label.web`` on loopback.

``python -m label.server --studies FOLDER_OR_DICOMWEB_ADDRESS``
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence as Seq
from pathlib import Path

APP = Path(__file__).resolve().parent
_HOME = Path.home() / ".local" / "share" / "acuity"


def main(argv: Seq[str] | None = None) -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="python -m label.server", description=__doc__)
    parser.add_argument(
        "--studies", required=True, metavar="PLACE", help="folder of cases, or http(s) address of a DICOMweb service"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; others than loopback only behind a gateway that authenticates (%(default)s)",
    )
    parser.add_argument("--port", type=int, default=8000, help="(%(default)s)")
    parser.add_argument(
        "--bundles",
        type=Path,
        default=APP.parent / "bundles",
        metavar="FOLDER",
        help="released bundles (default: those that came with the application)",
    )
    parser.add_argument(
        "--models",
        type=Path,
        default=_HOME / "models",
        metavar="FOLDER",
        help="all that is learned: versions, lists of patients (%(default)s)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=_HOME / "cache",
        metavar="FOLDER",
        help="images fetched from an archive (%(default)s)",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log progress of tasks and trainings")
    args = parser.parse_args(argv)
    os.environ.update(environment(args))

    import uvicorn

    set_up_logging(args.verbose)
    # A log of requests would hold ids of images; uvicorn's own configuration of logging would undo ours.
    uvicorn.run("label.web:app", host=args.host, port=args.port, log_level="warning", access_log=False, log_config=None)


def environment(args: argparse.Namespace) -> dict[str, str]:
    """MONAI Label's settings; the processes that it starts for training read them too.

    Scoring after each request for a case would queue without end; tracking and the default of CT are not for us.
    """
    remote = args.studies.startswith(("http://", "https://"))
    paths = [str(APP.parent), os.environ.get("PYTHONPATH", "")]
    conf = {"bundles": str(args.bundles.resolve()), "models": str(args.models.resolve())}
    return {
        "MONAI_LABEL_APP_DIR": str(APP),
        "MONAI_LABEL_STUDIES": args.studies if remote else str(Path(args.studies).resolve()),
        "MONAI_LABEL_APP_CONF": json.dumps(conf),
        "MONAI_LABEL_SERVER_PORT": str(args.port),
        "MONAI_LABEL_DATASTORE_CACHE_PATH": str(args.cache.resolve()),
        "MONAI_LABEL_SESSION_PATH": str(args.cache.resolve() / "sessions"),
        "MONAI_LABEL_INFER_CONCURRENCY": "1",
        "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
        "MONAI_LABEL_TRACKING_ENABLED": "false",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def set_up_logging(verbose: bool) -> None:
    """Acuity's log on standard error; of MONAI Label only warnings: its details hold ids and whole requests."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    for name in ("acuity", "label", "main", "task_train"):
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.WARNING)


if __name__ == "__main__":
    main()
