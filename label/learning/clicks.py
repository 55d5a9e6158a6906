"""How many clicks correct a case: an annotator is simulated who always clicks into the largest error.

``python -m label.learning.clicks --data BRATS --output OUT`` writes clicks.csv (a row for each case and number of
clicks) and prints how many clicks reach the wanted Dice. Interrupted, it goes on with the cases that are missing.

The protocol is that of Xu et al., "Deep interactive object selection", CVPR 2016, in three dimensions and for several
labels: each click lies in the connected error of most voxels, where it is farthest from its border, and says the label
that belongs there.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable
from collections.abc import Sequence as Seq
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from tqdm import tqdm

from acuity.anatomy import Label, Region, Sequence, labels_to_regions
from acuity.console import print_error
from acuity.errors import AcuityError
from acuity.imaging.refinement import Click, refined
from acuity.models.bundle import load_bundle
from acuity.models.segmentation import network_channels, segment
from acuity.pipeline.stages import SEGMENTATION_BUNDLE
from acuity.research.datasets import brats
from acuity.research.metrics.overlap import dice

TABLE = "clicks.csv"
_FIELDS = ("case", "clicks", *(f"dice_{region.value}" for region in Region), "dice")

# From all clicks to the labels that they make.
Refine = Callable[[Seq[Click]], NDArray[np.uint8]]


def next_click(labels: NDArray[np.uint8], truth: NDArray[np.uint8]) -> Click | None:
    """The click of an annotator who sees the largest error; None where there is none.

    An error is a connected part that has one label in truth and others in ``labels``.
    """
    largest: NDArray[np.bool_] | None = None
    wanted, most = 0, 0
    for label in Label:
        parts, count = ndimage.label((truth == label) & (labels != label))
        sizes = np.bincount(parts.ravel())[1:]
        if count and sizes.max() > most:
            most, wanted = int(sizes.max()), int(label)
            largest = parts == 1 + int(sizes.argmax())
    if largest is None:
        return None
    box = ndimage.find_objects(largest.astype(np.uint8))[0]
    # Padded, so that a part at the border of the image has a border there too.
    depth = ndimage.distance_transform_edt(np.pad(largest[box], 1))[1:-1, 1:-1, 1:-1]
    inside = np.unravel_index(int(depth.argmax()), depth.shape)
    i, j, k = (int(n) + s.start for n, s in zip(inside, box, strict=True))
    return (i, j, k), wanted


def simulate(
    labels: NDArray[np.uint8], truth: NDArray[np.uint8], refine: Refine, *, most: int
) -> list[dict[Region, float]]:
    """Dice of each region after 0, 1, 2 ... clicks, until there is no error or ``most`` clicks are made."""
    clicks: list[Click] = []
    found = [_dice(labels, truth)]
    while len(clicks) < most and (click := next_click(labels, truth)) is not None:
        clicks.append(click)
        labels = refine(clicks)
        found.append(_dice(labels, truth))
    return found


def clicks_to_reach(scores: Seq[float], wanted: float) -> int | None:
    """Number of clicks after which a Dice is reached for the first time; None where it never is."""
    return next((number for number, value in enumerate(scores) if value >= wanted), None)


def measure(data: Path, models: Path, names: Seq[str], output: Path, *, most: int) -> Path:
    """Simulate an annotator on BraTS cases, starting from what the released model finds; the table's path.

    Raises
    ------
    DataError : a case is absent
    BundleNotFoundError, BundleError : the model is not there or cannot be used
    """
    output.mkdir(parents=True, exist_ok=True)
    table = output / TABLE
    done = {row["case"] for row in read_table(table)}
    bundle = load_bundle(models, SEGMENTATION_BUNDLE)
    for name in tqdm([name for name in names if name not in done], desc="cases"):
        images, truth = brats.read_case(data / name), brats.read_labels(data / name)
        brain = truth.with_array(brats.brain_mask(images).astype(np.uint8))
        result = segment(images, brain, bundle)
        box = brats.brain_box([images[sequence].array for sequence in Sequence])
        channels = network_channels(images, brain)[(slice(None), *box)]
        start, probabilities = result.labels.array[box], result.probabilities[(slice(None), *box)]
        spacing = truth.spacing.tolist()

        def refine(
            clicks: Seq[Click],
            start: NDArray = start,
            channels: NDArray = channels,
            probabilities: NDArray = probabilities,
            spacing: list[float] = spacing,
        ) -> NDArray[np.uint8]:
            return refined(start, channels, clicks, spacing=spacing, probabilities=probabilities)

        scores = simulate(start, truth.array[box], refine, most=most)
        with table.open("a", newline="") as file:
            writer = csv.DictWriter(file, _FIELDS)
            if file.tell() == 0:
                writer.writeheader()
            writer.writerows(_row(name, number, one) for number, one in enumerate(scores))
    return table


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a table; none where it is absent."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def summary(rows: Seq[dict[str, str]], wanted: float) -> str:
    """For people: Dice before and after, and the clicks that the wanted Dice took, for each region and the mean."""
    lines = [f"{'':<6}{'start':>8}{'end':>8}   clicks to Dice {wanted:g}, by case (- where it is not reached)"]
    names = list(dict.fromkeys(row["case"] for row in rows))
    for column in _FIELDS[2:]:
        runs = [[float(row[column]) for row in rows if row["case"] == name] for name in names]
        reached = [clicks_to_reach(run, wanted) for run in runs]
        shown = " ".join("-" if number is None else str(number) for number in reached)
        first, last = (np.mean([run[at] for run in runs]) for at in (0, -1))
        lines.append(f"{column.removeprefix('dice_'):<6}{first:8.3f}{last:8.3f}   {shown}")
    return "\n".join(lines)


def _dice(labels: NDArray[np.uint8], truth: NDArray[np.uint8]) -> dict[Region, float]:
    pairs = zip(Region, labels_to_regions(labels), labels_to_regions(truth), strict=True)
    return {region: dice(found, true) for region, found, true in pairs}


def _row(name: str, number: int, scores: dict[Region, float]) -> dict[str, object]:
    by_region = {f"dice_{region.value}": round(value, 5) for region, value in scores.items()}
    return {"case": name, "clicks": number, **by_region, "dice": round(float(np.mean(list(scores.values()))), 5)}


def main(argv: Seq[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m label.learning.clicks", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="BRATS", help="default: $ACUITY_DATA/brats")
    parser.add_argument("--output", type=Path, required=True, metavar="OUT", help="folder for the table")
    parser.add_argument("--models", type=Path, default=Path("bundles"), metavar="BUNDLES", help="(%(default)s)")
    parser.add_argument("--part", choices=("validation", "test"), default="test", help="of the split (%(default)s)")
    parser.add_argument("--case", nargs="+", metavar="NAME", help="instead of a part of the split")
    parser.add_argument("--clicks", type=int, default=20, metavar="N", help="most clicks of a case (%(default)s)")
    parser.add_argument("--dice", type=float, default=0.9, metavar="D", help="that is wanted (%(default)s)")
    args = parser.parse_args(argv)
    try:
        names = args.case or brats.read_split()[args.part]
        table = measure(brats.data_folder(args.data), args.models, names, args.output, most=args.clicks)
    except AcuityError as error:
        print_error(error)
        return error.exit_code
    print(summary(read_table(table), args.dice))
    return 0


if __name__ == "__main__":
    sys.exit(main())
