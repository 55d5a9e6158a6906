"""What `acuity exec` adds to the start of an application: it and the interpreter alone, in turn, on an empty program.

usage: python benchmarks/exec_overhead.py [--rounds 20]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def measure(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of one call.

    Raises
    ------
    RuntimeError
        When it fails.
    """
    before, started = os.times(), time.perf_counter()
    if subprocess.run(command, check=False).returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed")
    wall, after = time.perf_counter() - started, os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, spent


def main() -> None:
    """Run the rounds and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=20, help="times that each is run, in turn")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="acuity-benchmark-") as folder:
        program = Path(folder, "app.py")
        program.touch()
        options = ["-i", folder, "-o", folder, "-m", folder]
        commands = {
            "python": [sys.executable, str(program), *options],
            "acuity exec": [sys.executable, "-m", "acuity.cli", "exec", folder, *options],
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                found[name].append(measure(command))
    print(f"{rounds} rounds, load of the machine {os.getloadavg()[0]:.1f}")
    for index, kind in enumerate(("wall", "CPU")):
        alone, through = (statistics.median(pair[index] for pair in found[name]) for name in commands)
        print(f"{kind}: python {alone:.3f} s; acuity exec {through:.3f} s; added {through - alone:.3f} s")


if __name__ == "__main__":
    main()
