"""`python -m workbench up|down|status|add`: start, stop and look at the annotation workbench, and bring in studies."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from acuity.console import print_error
from acuity.errors import AcuityError
from acuity.signals import end_on_signals
from workbench.settings import Settings, read_settings

_NOT_RUNNING = 3  # exit code of `status`, as init scripts have it (LSB)


def main() -> int:
    """Run a command and return the exit code: 0, that of a refusal, or 3 from `status` where a server does not run."""
    end_on_signals()
    parser = build_parser()
    args = vars(parser.parse_args())
    command, config, folders, token = (args.pop(name) for name in ("command", "config", "folders", "token"))
    if (command == "add") != bool(folders):
        parser.error("add takes folders, the other commands none")
    try:
        settings = read_settings(config, args)
        return _add(folders, settings, token) if command == "add" else _run(command, settings)
    except AcuityError as error:
        print_error(error)
        return error.exit_code


def build_parser() -> argparse.ArgumentParser:
    """The command line; what is not given comes from the configuration file, or as workbench.settings says."""
    parser = argparse.ArgumentParser(prog="python -m workbench", description=str(__doc__).partition(": ")[2])
    add = parser.add_argument
    add("command", choices=("up", "down", "status", "add"))
    add("folders", nargs="*", type=Path, metavar="FOLDER", help="for add: studies to bring into the archive")
    add("--config", type=Path, metavar="FILE", help="YAML with the names of workbench/settings.py")
    state = "archive, models, token and logs (default: ~/.local/share/acuity/workbench)"
    add("--state", type=Path, metavar="DIR", help=state)
    add("--cache", type=Path, metavar="DIR", help="the viewer (default: ~/.cache/acuity)")
    add("--host", help="address that the gateway listens on (default: 127.0.0.1)")
    add("--port", type=int, help="of the gateway, which browsers open (default: 8470)")
    add("--orthanc-port", type=int, metavar="PORT", help="(default: 8471)")
    add("--label-port", type=int, metavar="PORT", help="of MONAI Label (default: 8472)")
    add("--bundles", type=Path, metavar="DIR", help="the models (default: the repository's)")
    add("--no-demo", dest="demo", action="store_const", const=False, help="without the demo study")
    add("--token", type=Path, metavar="FILE", help="for add: your bearer token (default: the workbench's own)")
    return parser


def _add(folders: list[Path], settings: Settings, token: Path | None) -> int:
    from workbench.add import add

    add(folders, settings, print, token)
    return 0


def _run(command: str, settings: Settings) -> int:
    from workbench.launcher import Workbench  # a wrong command line ends before this is imported

    workbench, say, logs = Workbench(settings), partial(print, flush=True), settings.state / "logs"
    if command == "up":
        print(f"Open {workbench.up(say)}")
        print(f"Token: {settings.token_file}\nLogs: {logs}\nStop: python -m workbench down")
    elif command == "down":
        if not workbench.down(say):
            print("The workbench did not run.")
    else:
        states = [(service, service.state()) for service in workbench.services]
        for service, state in states:
            print(f"{service.name:<12} port {service.port:<6} {state}")
        print(f"Logs: {logs}")
        return 0 if all(state == "running" for _, state in states) else _NOT_RUNNING
    return 0


if __name__ == "__main__":
    sys.exit(main())
