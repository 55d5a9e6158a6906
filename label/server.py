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

from acuity.console import print_error
from acuity.errors import InputNotFoundError, OutputError
from acuity.signals import end_on_signals

APP = Path(__file__).resolve().parent
_HOME = Path.home() / ".local" / "share" / "acuity"


def main(argv: Seq[str] | None = None) -> int:
    """Serve until stopped; returns the exit code. A wrong line is refused before anything slow is imported."""
    end_on_signals()
    args = parse(argv)
    if not is_address(args.studies) and not Path(args.studies).is_dir():
        error = InputNotFoundError(
            f"The folder of studies, {args.studies}, does not exist.",
            remedy="Name with --studies a folder that does, or the http(s) address of a DICOMweb service.",
        )
        print_error(error)
        return error.exit_code
    import uvicorn

    from label.door import LOOPBACK, MOST_REQUESTS, Door, Protocol, read_or_make_secret

    try:
        os.environ.update(environment(args))
        secret = read_or_make_secret(args.secret)
    except OutputError as error:
        print_error(error)
        return error.exit_code
    print(_greeting(args, secret), flush=True)
    from label.web import app

    set_up_logging(args.verbose)
    # A log of requests would hold ids of images; uvicorn's own configuration of logging would undo ours.
    uvicorn.run(
        Door(app, secret, (*LOOPBACK, args.host, *args.name)),
        host=args.host,
        port=args.port,
        log_level="warning",
        access_log=False,
        log_config=None,
        http=Protocol,
        ws="none",
        limit_concurrency=MOST_REQUESTS,
        server_header=False,
    )
    return 0


def parse(argv: Seq[str] | None = None) -> argparse.Namespace:
    """The settings of a command line."""
    parser = argparse.ArgumentParser(prog="python -m label.server", description=__doc__)
    add = parser.add_argument
    add("--studies", required=True, metavar="PLACE", help="folder of cases, or http(s) address of a DICOMweb service")
    add(
        "--host",
        default="127.0.0.1",
        help="others than loopback only behind a gateway that authenticates (%(default)s)",
    )
    add("--port", type=int, default=8000, help="(%(default)s)")
    add(
        "--name",
        action="append",
        default=[],
        metavar="HOST",
        help="a further name that clients call the server by, beside --host and loopback",
    )
    add(
        "--secret",
        type=Path,
        default=_HOME / "label-secret",
        metavar="FILE",
        help="the secret that addresses begin with; made where it is absent (%(default)s)",
    )
    add(
        "--archive-password",
        type=Path,
        metavar="FILE",
        help="the password of the archive's user acuity, in a file of its owner alone",
    )
    folders = {
        "bundles": (APP.parent / "bundles", "released bundles"),
        "models": (_HOME / "models", "versions that training makes, and lists of patients"),
        "cache": (_HOME / "cache", "images fetched from an archive"),
    }
    for name, (default, text) in folders.items():
        add(f"--{name}", type=Path, default=default, metavar="FOLDER", help=f"{text} (%(default)s)")
    add("-v", "--verbose", action="store_true", help="log progress of tasks and trainings")
    return parser.parse_args(argv)


def _greeting(args: argparse.Namespace, secret: str) -> str:
    """The address for clients; a log, which this may go to, does not hold the secret."""
    shown = secret if sys.stdout.isatty() else f"SECRET, which is in {args.secret}"
    return (
        f"Server address for 3D Slicer: http://{args.host}:{args.port}/{shown}\n"
        "Whoever knows the secret can read and change all studies. Loopback is no protection on a shared computer: "
        "every account and program there reaches the port."
    )


def is_address(studies: str) -> bool:
    """Whether the studies are in an archive, not in a folder."""
    return studies.startswith(("http://", "https://"))


def environment(args: argparse.Namespace) -> dict[str, str]:
    """MONAI Label's settings; the processes that it starts for training read them too.

    Scoring after each request for a case would queue without end, and tracking needs a server that we do not have.
    """
    from label.door import ARCHIVE_USER, read_or_make_secret  # a wrong line ends before this is imported

    paths = [str(APP.parent), os.environ.get("PYTHONPATH", "")]
    login = {}
    if args.archive_password is not None:
        login["MONAI_LABEL_DATASTORE_USERNAME"] = ARCHIVE_USER
        login["MONAI_LABEL_DATASTORE_PASSWORD"] = read_or_make_secret(args.archive_password)
    conf = {"bundles": str(args.bundles.resolve()), "models": str(args.models.resolve())}
    return {
        "MONAI_LABEL_APP_DIR": str(APP),
        "MONAI_LABEL_STUDIES": args.studies if is_address(args.studies) else str(Path(args.studies).resolve()),
        "MONAI_LABEL_APP_CONF": json.dumps(conf),
        "MONAI_LABEL_SERVER_PORT": str(args.port),
        "MONAI_LABEL_DATASTORE_CACHE_PATH": str(args.cache.resolve()),
        "MONAI_LABEL_SESSION_PATH": str(args.cache.resolve() / "sessions"),
        "MONAI_LABEL_INFER_CONCURRENCY": "1",
        "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
        "MONAI_LABEL_TRACKING_ENABLED": "false",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    } | login


def set_up_logging(verbose: bool) -> None:
    """Acuity's log on standard error; of MONAI Label only warnings: its details hold ids and whole requests."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("pydicom").setLevel(logging.ERROR)  # its remarks on values quote them
    for name in ("acuity", "label", "main", "task_train"):
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.WARNING)


if __name__ == "__main__":
    sys.exit(main())
