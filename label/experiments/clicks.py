"""How many clicks correct a case: an annotator is simulated who always clicks into the largest error.

``python -m label.experiments.clicks --data BRATS --output OUT`` writes clicks.csv (a row for each case and number of
clicks) and prints how many clicks reach the wanted Dice.

The protocol is that of Xu et al., "Deep interactive object selection", CVPR 2016, in three dimensions and for several
labels: each click lies in the connected error of most voxels, where it is farthest from its border, and says the label
that belongs there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from tqdm import tqdm

from acuity.anatomy import Label, Region, Sequence, labels_to_regions
from acuity.console import print_error
from acuity.errors import AcuityError
from acuity.imaging.refinement import Click, refined
from acuity.models.bundle import Bundle, load_bundle
from acuity.models.segmentation import network_channels, segment
from acuity.pipeline.stages import SEGMENTATION_BUNDLE
from acuity.research.datasets import brats
from acuity.research.metrics.overlap import dice
from label.experiments.tables import Row, write_table

TABLE = "clicks.csv"
Labels = NDArray[np.uint8]


def next_click(labels: Labels, truth: Labels) -> Click | None:
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


def simulate(labels: Labels, truth: Labels, refine: Callable[[Seq[Click]], Labels], most: int) -> Iterator[Labels]:
    """The labels after 0, 1, 2 ... clicks, until there is no error or ``most`` clicks are made."""
    clicks: list[Click] = []
    yield labels
    while len(clicks) < most and (click := next_click(labels, truth)) is not None:
        clicks.append(click)
        labels = refine(clicks)
        yield labels


def scores(labels: Labels, truth: Labels) -> dict[str, float]:
    """Dice of each region ("dice_ET" and so on), and their mean ("dice")."""
    pairs = zip(Region, labels_to_regions(labels), labels_to_regions(truth), strict=True)
    found = {f"dice_{region.value}": dice(mask, true) for region, mask, true in pairs}
    found["dice"] = float(np.mean(list(found.values())))
    return {name: round(value, 5) for name, value in found.items()}


def corrected(folder: Path, bundle: Bundle, most: int) -> list[dict[str, float]]:
    """The scores of a BraTS case after each number of clicks, from what the model finds on."""
    images, truth = brats.read_case(folder), brats.read_labels(folder)
    brain = truth.with_array(brats.brain_mask(images).astype(np.uint8))
    result = segment(images, brain, bundle)
    box = brats.brain_box([images[sequence].array for sequence in Sequence])
    start, true = result.labels.array[box], truth.array[box]
    refine = partial(
        refined,
        start,
        network_channels(images, brain)[(slice(None), *box)],
        spacing=truth.spacing.tolist(),
        probabilities=result.probabilities[(slice(None), *box)],
    )
    return [scores(labels, true) for labels in simulate(start, true, refine, most)]


def clicks_to_reach(values: Seq[float], wanted: float) -> int | None:
    """Number of clicks after which a Dice is reached for the first time; None where it never is."""
    return next((number for number, value in enumerate(values) if value >= wanted), None)


def summary(rows: Seq[Row], wanted: float) -> str:
    """For people: Dice before and after, and the clicks that the wanted Dice took, for each region and the mean."""
    lines = [f"{'':<6}{'start':>8}{'end':>8}   clicks to Dice {wanted:g}, by case (- where it is not reached)"]
    names = list(dict.fromkeys(row["case"] for row in rows))
    for column in [name for name in rows[0] if name.startswith("dice")]:
        runs = [[float(row[column]) for row in rows if row["case"] == name] for name in names]
        reached = [clicks_to_reach(run, wanted) for run in runs]
        shown = " ".join("-" if number is None else str(number) for number in reached)
        first, last = (np.mean([run[at] for run in runs]) for at in (0, -1))
        lines.append(f"{column.removeprefix('dice_'):<6}{first:8.3f}{last:8.3f}   {shown}")
    return "\n".join(lines)


def main(argv: Seq[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m label.experiments.clicks", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="BRATS", help="default: $ACUITY_DATA/brats")
    parser.add_argument("--output", type=Path, required=True, metavar="OUT", help="folder for the table")
    parser.add_argument("--models", type=Path, default=Path("bundles"), metavar="BUNDLES", help="(%(default)s)")
    parser.add_argument("--case", nargs="+", metavar="NAME", help="default: the test cases of the split")
    parser.add_argument("--clicks", type=int, default=20, metavar="N", help="most clicks of a case (%(default)s)")
    parser.add_argument("--dice", type=float, default=0.9, metavar="D", help="that is wanted (%(default)s)")
    args = parser.parse_args(argv)
    rows: list[Row] = []
    try:
        folder, bundle = brats.data_folder(args.data), load_bundle(args.models, SEGMENTATION_BUNDLE)
        for name in tqdm(args.case or brats.read_split()["test"], desc="cases"):
            found = corrected(folder / name, bundle, args.clicks)
            rows += [{"case": name, "clicks": number, **one} for number, one in enumerate(found)]
    except AcuityError as error:
        print_error(error)
        return error.exit_code
    write_table(rows, args.output / TABLE)
    print(summary(rows, args.dice))
    return 0


if __name__ == "__main__":
    sys.exit(main())
