"""The fuzzer: ``python -m tests.fuzz --count 1000`` mutates studies and prints what became of each kind.

A study is read in a process of its own, which may use 4 GiB of memory and 20 s of processor time. It is read right, or
refused with a code; anything else is a fault, and the exit code is then 1. ``--case N`` repeats one study alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.fuzz import studies
from tests.fuzz.judge import judge
from tests.fuzz.mutations import MUTATIONS, Mutate, Mutation, Random

MEMORY, SECONDS = 4 << 30, 20
_WALL = 300  # s, for what waits and uses no time of the processor


@dataclass(frozen=True)
class Outcome:
    """What became of one mutated study; ``result`` is "right", a refusal's code, or "FAULT"."""

    case: int
    kind: str
    layout: str
    result: str
    seconds: float
    mebibytes: int
    text: str = ""


def run_case(kind: Mutation, case: int, seed: int, sound: Path, scratch: Path, *, writes: bool) -> Outcome:
    """Mutate one study and judge it in another process."""
    rng = np.random.default_rng([seed, case])
    layout = kind.layouts[int(rng.integers(len(kind.layouts)))]
    if not (sound / layout).exists():
        studies.write(sound / layout, layout)
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        os.close(reader)
        _child(kind.mutate, rng, sound / layout, scratch, writes, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read()
    _, status, usage = os.wait4(pid, 0)
    shutil.rmtree(scratch, ignore_errors=True)
    if answer:
        told = json.loads(answer)
    else:
        code = os.waitstatus_to_exitcode(status)
        text = {-signal.SIGXCPU: f"more than {SECONDS} s", -signal.SIGALRM: f"waited {_WALL} s"}.get(
            code, f"ended with {code}"
        )
        told = {"result": "FAULT", "text": text, "seconds": float(SECONDS)}
    return Outcome(case, kind.name, layout, mebibytes=usage.ru_maxrss >> 10, **told)


def _child(mutate: Mutate, rng: Random, sound: Path, scratch: Path, writes: bool, writer: int) -> None:
    """Mutate a copy of a sound study, judge it, tell the parent, and end."""
    signal.alarm(_WALL)
    shutil.copytree(sound, scratch / "study")
    differ = bool(mutate(scratch / "study", rng))
    used = time.process_time()
    virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (virtual + MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + SECONDS + 1, resource.RLIM_INFINITY))
    result, text = "FAULT", ""
    try:
        result = judge(scratch / "study", scratch / "out" if writes else None, differ)
    except BaseException as error:
        text = "".join(traceback.format_exception(error, limit=-6))
    answer = {"result": result, "text": text, "seconds": round(time.process_time() - used, 2)}
    with os.fdopen(writer, "w") as stream:
        json.dump(answer, stream)
    os._exit(0)


def main() -> int:
    """Run the cases, print each fault, and a table at the end."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Mutates studies and judges the reader.")
    parser.add_argument("--count", type=int, default=1000, help="number of mutated studies (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations (default: %(default)s)")
    parser.add_argument("--case", type=int, nargs="+", help="repeat these studies alone")
    parser.add_argument("--quick", action="store_true", help="write nothing, and leave out kinds that take seconds")
    args = parser.parse_args()
    kinds = [kind for kind in MUTATIONS if not (args.quick and kind.slow)]
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        sound, scratch = Path(temporary) / "sound", Path(temporary) / "scratch"
        with suppress(KeyboardInterrupt):  # then the table is that of the studies so far
            for case in args.case or range(args.count):
                outcome = run_case(kinds[case % len(kinds)], case, args.seed, sound, scratch, writes=not args.quick)
                outcomes.append(outcome)
                if outcome.result == "FAULT" or args.case:
                    print(
                        f"case {case} ({outcome.kind}, {outcome.layout}): {outcome.result} {outcome.text}", flush=True
                    )
    print_table(outcomes)
    return int(any(outcome.result == "FAULT" for outcome in outcomes))


def print_table(outcomes: list[Outcome]) -> None:
    """One line a kind: its most time and memory, and how many were right, refused with which codes, or faults."""
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.kind == kind]
        counts = ", ".join(f"{n} {result}" for result, n in Counter(o.result for o in own).most_common())
        most = f"{max(o.seconds for o in own):5.1f} s {max(o.mebibytes for o in own):5d} MiB"
        print(f"{kind:<50} {most}  {counts}")
    total = Counter("FAULT" if o.result == "FAULT" else "right" if o.result == "right" else "refused" for o in outcomes)
    print(
        f"{len(outcomes)} studies: {total['right']} read right, {total['refused']} refused, {total['FAULT']} faults; "
        f"at most {max(o.seconds for o in outcomes):.1f} s, {max(o.mebibytes for o in outcomes)} MiB"
    )


if __name__ == "__main__":
    sys.exit(main())
