"""How well the tumor is found without some of the sequences, on cases that the fine networks have not seen.

Each case of the released split's training and validation parts is segmented by the one member of the fine ensemble that
was not trained on it, together with the coarse network, which has seen all but the validation cases. Prints Markdown:
for each subset of sequences the mean Dice of ET, TC and WT, and the cases in which nothing was found. Validation cases
come first, then those of low grade. A case takes some minutes on one core.

usage: python benchmarks/missing_sequences.py --data BRATS [--cases 19] [--models bundles]
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
from tqdm import tqdm

from acuity.anatomy import Region, Sequence, labels_to_regions
from acuity.models.bundle import Bundle, load_bundle
from acuity.models.segmentation import coarse_to_fine, segment_by
from acuity.networks.cascade import CoarseToFine, Ensemble
from acuity.research.datasets import brats
from acuity.research.evaluation.segmentation.inputs import brain_of
from acuity.research.metrics.overlap import dice

BUNDLE = "brain_tumor_segmentation"
SUBSETS = [
    *(subset for n in (4, 3, 2, 1) for subset in combinations(Sequence, n) if Sequence.FLAIR in subset),
    (Sequence.T1, Sequence.T1C, Sequence.T2),
    (Sequence.T1C, Sequence.T2),
]


def chosen_cases(count: int) -> list[tuple[str, int]]:
    """Cases, each with the member of the ensemble that has not seen it."""
    split = brats.read_split()
    cases = [(name, member) for member, names in enumerate(brats.folds(split)) for name in names]
    first = (split["validation"], split["low_grade"])

    def order(case: tuple[str, int]) -> tuple[bool | int, ...]:
        return (*(case[0] not in names for names in first), sum(map(ord, case[0])) % 97)  # mixes the others

    return sorted(cases, key=order)[:count]


def measure(bundle: Bundle, folder: Path, member: int) -> dict[tuple[Sequence, ...], list[float]]:
    """By subset the Dice of ET, TC and WT, and 1 where nothing was found."""
    network = bundle.network
    assert isinstance(network, CoarseToFine) and isinstance(network.fine, Ensemble)
    alone = CoarseToFine(network.coarse, network.fine.networks[member], network.fine_weight).eval()
    images, truth = brats.read_case(folder), brats.read_labels(folder)
    brain, target = brain_of(images), labels_to_regions(truth.array)
    scores = {}
    for subset in SUBSETS:
        given = {sequence: images[sequence] for sequence in subset}
        found = segment_by(
            lambda image: coarse_to_fine(image, alone), given, brain, bundle.device, bundle.postprocessing
        )
        regions = labels_to_regions(found.labels.array)
        scores[subset] = [dice(p, t) for p, t in zip(regions, target, strict=True)] + [float(not regions.any())]
    return scores


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="BRATS", help="folder of BraTS cases")
    parser.add_argument("--cases", type=int, default=19, help="how many (default: %(default)s)")
    parser.add_argument("--models", type=Path, default=Path("bundles"), help="folder of bundles (default: %(default)s)")
    options = parser.parse_args()
    bundle = load_bundle(options.models, BUNDLE)
    cases = tqdm(chosen_cases(options.cases), desc="cases")
    scores = [measure(bundle, options.data / name, member) for name, member in cases]
    print(f"| sequences | {' | '.join(region.value for region in Region)} | nothing found |\n|---|---|---|---|---|")
    for subset in SUBSETS:
        rows = np.array([score[subset] for score in scores])
        means = " | ".join(f"{value:.3f}" for value in rows[:, :3].mean(axis=0))
        print(f"| {', '.join(subset)} | {means} | {int(rows[:, 3].sum())} |")


if __name__ == "__main__":
    main()
