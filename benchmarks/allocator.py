"""What keeping freed memory saves: super-resolving a block of slices with and without it, in turn.

Each run is a process of its own, for the choice cannot be taken back. Prints medians of wall and CPU time, their
ratio, and the peak memory.

usage: python benchmarks/allocator.py [--models bundles] [--rounds 3] [--threads N]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import torch

from acuity.models.bundle import load_bundle
from acuity.models.super_resolution import super_resolve
from acuity.volume import Volume

SHAPE = (80, 100, 16)  # voxels of a slab at 2 mm; both passes of the generator run


def measure(models: Path, threads: int, keep: bool) -> dict[str, float]:
    """Seconds and GiB of one super-resolution in this process."""
    torch.set_num_threads(threads)
    if keep:
        bundle = load_bundle(models, "brain_mri_super_resolution")
    else:
        with patch("acuity.models.bundle.keep_freed_memory"):
            bundle = load_bundle(models, "brain_mri_super_resolution")
    generator = torch.Generator().manual_seed(0)
    affine = torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0])).double().numpy()
    volume = Volume(100 + 20 * torch.rand(SHAPE, generator=generator).numpy(), affine)
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    super_resolve(volume, bundle.network)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    return {
        "wall": wall,
        "user": after.ru_utime - before.ru_utime,
        "system": after.ru_stime - before.ru_stime,
        "peak": after.ru_maxrss / 2**20,
    }


def main() -> None:
    """Run the rounds and print, or, as the child of a round, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", type=Path, default=Path("bundles"), help="folder of the bundles")
    parser.add_argument("--rounds", type=int, default=3, help="times that each is run, in turn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument("--child", choices=["kept", "given back"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.models, arguments.threads, arguments.child == "kept")))
        return
    results: dict[str, list[dict[str, float]]] = {"kept": [], "given back": []}
    common = ["--models", str(arguments.models), "--threads", str(arguments.threads)]
    for _ in range(arguments.rounds):
        for kind, found in results.items():
            command = [sys.executable, __file__, *common, "--child", kind]
            found.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
    medians = {
        kind: {key: statistics.median(one[key] for one in found) for key in found[0]} for kind, found in results.items()
    }
    print(f"{arguments.rounds} rounds, {arguments.threads} threads, torch {torch.__version__}")
    for key, unit in (("wall", "s"), ("user", "s"), ("system", "s"), ("peak", "GiB")):
        kept, given = medians["kept"][key], medians["given back"][key]
        print(f"{key}: memory kept {kept:.2f} {unit}; given back {given:.2f} {unit}; ratio {kept / given:.2f}")


if __name__ == "__main__":
    main()
