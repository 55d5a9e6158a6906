"""What a host must grant the application: memory, CPU time, wall time and disk of whole runs, side by side.

Each run is ``python app.py`` in a process of its own, on as many CPUs as it has threads, the configurations in turn.
Memory is the most that the process ever had resident, and its children theirs, added up: a limit must leave room
above it. Disk is what the output folder holds at most while the run goes on (staged files included) and at its end,
and the most that lies in the temporary folder, which is also the run's home.

usage: python benchmarks/application.py [STUDY ...] [--spacing 2 2 2]... [--threads 1 2] [--rounds 3] [--models bundles]

Without a study, the demo study is made, at each spacing. Wall times mean something on an idle machine only; memory,
disk and, within a few per cent, CPU time also on a busy one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from acuity.demo.study import write_demo_study

APPLICATION = Path(__file__).resolve().parent.parent / "app.py"
SAMPLING_S = 0.05
_UNITS = {"wall": "s", "cpu": "s", "memory": "MiB", "outputs": "MiB", "staged": "MiB", "temporary": "MiB"}


@dataclass(frozen=True)
class Usage:
    """What one run took: seconds and MiB."""

    wall: float
    cpu: float
    memory: float
    outputs: float
    staged: float
    temporary: float


def measure(study: Path, models: Path, threads: int) -> Usage:
    """Run the application once.

    Raises
    ------
    RuntimeError
        When it ends with another exit code than 0; its messages are on stderr then.
    """
    with tempfile.TemporaryDirectory(prefix="acuity-benchmark-") as folder:
        output, temporary = Path(folder, "out"), Path(folder, "tmp")
        temporary.mkdir()
        command = [sys.executable, str(APPLICATION), "-i", str(study), "-o", str(output), "-m", str(models), "-q"]
        number = str(threads)
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": number,
            "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": number,
            "TMPDIR": str(temporary),
            "HOME": str(temporary),
        }
        allowed = sorted(os.sched_getaffinity(0))[:threads]
        started = time.perf_counter()
        process = subprocess.Popen(command, env=environment)
        os.sched_setaffinity(process.pid, allowed)
        memory = staged = spilt = 0.0
        looked = 0.0
        while True:
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            memory = max(memory, peak_mib(process.pid))
            if time.perf_counter() - looked > 1:  # walking folders costs more than reading /proc
                staged, spilt = max(staged, disk_mib(output)), max(spilt, disk_mib(temporary))
                looked = time.perf_counter()
            time.sleep(SAMPLING_S)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"the application ended with {process.returncode} on {study}")
        return Usage(
            wall=wall,
            cpu=used.ru_utime + used.ru_stime,
            memory=memory,
            outputs=disk_mib(output),
            staged=max(staged, disk_mib(output)),
            temporary=max(spilt, disk_mib(temporary)),
        )


def peak_mib(pid: int) -> float:
    """The most MiB that a process has had in memory so far, plus the same of each of its living descendants.

    Not getrusage's figure, which begins with what the parent held at the time of the fork.
    """
    total, waiting = 0, [pid]
    while waiting:
        one = Path("/proc", str(waiting.pop()))
        try:
            lines = (one / "status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
            for task in (one / "task").iterdir():
                waiting.extend(int(child) for child in (task / "children").read_text().split())
        except OSError:  # it has ended
            continue
    return total / 1024


def disk_mib(folder: Path) -> float:
    """MiB of the files in a folder, at all depths; files may come and go meanwhile."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                continue
    return total / 2**20


def main() -> None:
    """Run the rounds and print medians with their ranges, and all runs as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("studies", nargs="*", type=Path, metavar="STUDY", help="folder of one DICOM study")
    parser.add_argument(
        "--spacing",
        nargs=3,
        type=float,
        action="append",
        metavar="MM",
        help="of a demo study, along left, back and head; may be repeated (default: 2)",
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="numbers of threads, side by side")
    parser.add_argument("--rounds", type=int, default=3, help="times that each is run, in turn")
    parser.add_argument("--models", type=Path, default=Path("bundles"), help="folder of the bundles")
    arguments = parser.parse_args()
    cpus = len(os.sched_getaffinity(0))
    if max(arguments.threads) > cpus:
        parser.error(f"argument --threads: {max(arguments.threads)} is more than the {cpus} CPUs of this machine")
    with tempfile.TemporaryDirectory(prefix="acuity-benchmark-") as folder:
        studies = {path.name: path for path in arguments.studies}
        spacings = arguments.spacing or ([] if arguments.studies else [[2.0, 2.0, 2.0]])
        for i, j, k in spacings:
            name = f"demo {i:g} x {j:g} x {k:g} mm"
            studies[name] = Path(folder, name)
            write_demo_study(studies[name], spacing=(i, j, k), phantom_spacing_mm=min(1.0, i, j, k))
        runs: dict[tuple[str, int], list[Usage]] = {}
        for _ in range(arguments.rounds):
            for name, study in studies.items():
                for threads in arguments.threads:
                    usage = measure(study, arguments.models.resolve(), threads)
                    runs.setdefault((name, threads), []).append(usage)
                    print(json.dumps({"study": name, "threads": threads, **asdict(usage)}), file=sys.stderr, flush=True)
    load = os.getloadavg()[0]
    print(f"{arguments.rounds} rounds, {cpus} CPUs; load of the machine at the end {load:.1f}")
    for (name, threads), found in runs.items():
        print(f"{name}, {threads} {'thread' if threads == 1 else 'threads'}")
        for key, unit in _UNITS.items():
            values = [getattr(usage, key) for usage in found]
            print(f"  {key:<10}{statistics.median(values):9.1f} {unit}  ({min(values):.1f} to {max(values):.1f})")


if __name__ == "__main__":
    main()
