"""How long the two networks take on a full study, against baselines in the same rounds.

A 240x240x155 phantom-sized volume with a brain of usual size: segmentation as released against both networks once over
all of the brain, super-resolution of one sequence from 2 mm against its cubic interpolation. Prints medians, ratios and
peak memory.

usage: python benchmarks/stages.py [--models bundles] [--rounds 3] [--threads N]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from acuity.anatomy import Sequence
from acuity.imaging.forward_model import upsample_cubic
from acuity.models import segmentation
from acuity.models.bundle import load_bundle
from acuity.models.super_resolution import super_resolve
from acuity.research.degradations.volumes import low_resolution
from acuity.volume import Volume

SHAPE = (240, 240, 155)
BRAIN_RADII_MM = (70, 87, 67)  # half of the box of a usual brain
LESION_RADIUS_MM = 22  # about 45 ml


def study() -> tuple[dict[Sequence, Volume], Volume]:
    """Four smooth textures in an ellipsoid, with a bright ball in it, and the mask of the ellipsoid."""
    rng = np.random.default_rng(0)
    center = np.array(SHAPE) / 2
    offsets = [g - c for g, c in zip(np.indices(SHAPE, sparse=True), center, strict=True)]
    brain = sum((o / r) ** 2 for o, r in zip(offsets, BRAIN_RADII_MM, strict=True)) <= 1
    lesion = sum((o - 20) ** 2 for o in offsets) <= LESION_RADIUS_MM**2
    texture = gaussian_filter(rng.normal(size=SHAPE).astype(np.float32), 1.5)
    volumes = {}
    for gain, sequence in enumerate(Sequence, start=1):
        array = (100 + 100 * texture + 15 * gain * lesion) * brain
        volumes[sequence] = Volume(np.clip(array, 0, None).astype(np.float32), np.eye(4))
    return volumes, Volume(brain.astype(np.uint8), np.eye(4))


def timed(function: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def report(name: str, ours: list[float], baseline: list[float], against: str) -> None:
    """Print one comparison."""
    a, b = statistics.median(ours), statistics.median(baseline)
    print(f"{name}: {a:.1f} s (min {min(ours):.1f}, max {max(ours):.1f}); {against}: {b:.1f} s; ratio {a / b:.2f}")


def main() -> None:
    """Run the rounds and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", type=Path, default=Path("bundles"), help="folder of the bundles")
    parser.add_argument("--rounds", type=int, default=3, help="times that each is run, in turn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    volumes, brain = study()
    segmenter = load_bundle(arguments.models, "brain_tumor_segmentation")
    generator = load_bundle(arguments.models, "brain_mri_super_resolution")
    low = low_resolution(volumes[Sequence.T1C])
    times: dict[str, list[float]] = {"released": [], "everywhere": [], "generator": [], "interpolation": []}
    image = torch.from_numpy(np.stack([volumes[s].array[50:190, 33:207, 10:144] / 100 for s in Sequence]))
    network = segmenter.network
    for _ in range(arguments.rounds):
        times["released"].append(timed(lambda: segmentation.segment(volumes, brain, segmenter)))
        with torch.inference_mode():
            times["everywhere"].append(timed(lambda: network(image[None])))
        times["generator"].append(timed(lambda: super_resolve(low, generator.network)))
        times["interpolation"].append(timed(lambda: upsample_cubic(low.array, (2.0, 2.0, 2.0), SHAPE)))
    print(f"{arguments.rounds} rounds, {arguments.threads} threads, torch {torch.__version__}")
    report("segment a study", times["released"], times["everywhere"], "both networks once over the brain")
    report("super-resolve a sequence", times["generator"], times["interpolation"], "cubic interpolation")
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
