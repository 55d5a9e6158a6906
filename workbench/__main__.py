"""`python -m workbench up|down|status`: start, stop and look at the annotation workbench."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from acuity.console import print_error
from acuity.errors import AcuityError
from workbench.launcher import Workbench
from workbench.settings import read_settings

_NOT_RUNNING = 3  # exit code of `status`, as init scripts have it (LSB)


def main() -> int:
    """Run a command and return the exit code: 0, that of a refusal, or 3 from `status` where a server does not run."""
    args = vars(build_parser().parse_args())
    command, config = args.pop("command"), args.pop("config")
    try:
        workbench = Workbench(read_settings(config, args))
        if command == "up":
            address = workbench.up(_say)
            print(f"Open {address}")
            print(f"Token: {workbench.token_file()}\nLogs: {workbench.logs()}\nStop: python -m workbench down")
            return 0
        if command == "down":
            if not workbench.down(_say):
                print("The workbench did not run.")
            return 0
        states = workbench.status()
        for name, port, state in states:
            print(f"{name:<12} port {port:<6} {state}")
        print(f"Logs: {workbench.logs()}")
        return 0 if all(state == "running" for _, _, state in states) else _NOT_RUNNING
    except AcuityError as error:
        print_error(error)
        return error.exit_code


def build_parser() -> argparse.ArgumentParser:
    """The command line; what is not given comes from the configuration file, or as workbench.settings says."""
    parser = argparse.ArgumentParser(prog="python -m workbench", description=str(__doc__).partition(": ")[2])
    parser.add_argument("command", choices=("up", "down", "status"))
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML with the names of workbench/settings.py")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="archive, models, token and logs (default: ~/.local/share/acuity/workbench)",
    )
    parser.add_argument("--cache", type=Path, metavar="DIR", help="the viewer (default: ~/.cache/acuity)")
    parser.add_argument("--host", help="address that the gateway listens on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="of the gateway, which browsers open (default: 8470)")
    parser.add_argument("--orthanc-port", type=int, metavar="PORT", help="(default: 8471)")
    parser.add_argument("--label-port", type=int, metavar="PORT", help="of MONAI Label (default: 8472)")
    parser.add_argument("--bundles", type=Path, metavar="DIR", help="the models (default: the repository's)")
    parser.add_argument("--no-demo", dest="demo", action="store_const", const=False, help="without the demo study")
    return parser


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
