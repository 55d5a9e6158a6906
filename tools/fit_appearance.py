"""Fit the second opinion on a series: what T1 (with or without agent), T2 and FLAIR of a brain look like.

usage: python tools/fit_appearance.py FOLDER ... > configs/appearance.json

Each folder holds cases with BraTS names, skull-stripped or whole heads, of any resolution. A multinomial logistic
regression on ``acuity.imaging.appearance.MEASURES`` is fitted to all images. On stderr stands how it does on patients
that it was not fitted to: the confusion by folder, and the wrong alarms.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from acuity.anatomy import Sequence
from acuity.imaging.appearance import CLASSES, CONTRADICTED, MEASURES, measure_appearance
from acuity.imaging.brain import extract_brain, is_skull_stripped
from acuity.research.datasets import brats
from acuity.research.datasets.layouts import named_cases
from acuity.volume import Volume

Image = tuple[str, str, Sequence, NDArray[np.float64]]  # folder, case, sequence, measures


def read(folder: Path) -> Iterator[Image]:
    """The measures of all images of a folder; an image without a brain is passed over."""
    for name, case in named_cases(folder).items():
        for sequence, path in case.images.items():
            measures = measure_appearance(volume := brats.read_image(path), _brain(volume))
            if measures is not None:
                yield folder.name, name, Sequence.T1 if sequence is Sequence.T1C else sequence, measures


def _brain(volume: Volume) -> Volume:
    return (
        volume.with_array((volume.array > 0).astype(np.uint8)) if is_skull_stripped(volume) else extract_brain(volume)
    )


def model() -> Pipeline:
    """Stronger and weaker penalties (C of 0.03 to 0.3) notice fewer of the exchanged series."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=3000))


def fitted(images: list[Image]) -> dict[str, object]:
    """The content of ``configs/appearance.json``."""
    x, y = _matrix(images)
    scaler, regression = (step for _, step in model().fit(x, y).steps)
    # The measures as they are, so that the file holds one matrix: w (x - mean) / scale + b.
    weights = regression.coef_ / scaler.scale_
    return {
        "made_by": f"python tools/fit_appearance.py, {len(images)} images of {len({i[1] for i in images})} cases",
        "classes": [sequence.value for sequence in CLASSES],
        "measures": list(MEASURES),
        "weights": np.round(weights, 5).tolist(),
        "offsets": np.round(regression.intercept_ - weights @ scaler.mean_, 5).tolist(),
    }


def report(images: list[Image]) -> str:
    """Confusion and wrong alarms on patients left out, by folder."""
    x, y = _matrix(images)
    cases = np.array([image[1] for image in images])
    folders = np.array([image[0] for image in images])
    probabilities = cross_val_predict(model(), x, y, groups=cases, cv=LeaveOneGroupOut(), method="predict_proba")
    lines = []
    for folder in dict.fromkeys(folders):
        here = folders == folder
        table = np.zeros((len(CLASSES), len(CLASSES)), dtype=int)
        np.add.at(table, (y[here], probabilities[here].argmax(axis=1)), 1)
        alarms = int((probabilities[here, y[here]] < CONTRADICTED).sum())
        lines.append(
            f"{folder}: {alarms} of {here.sum()} contradicted wrongly; rows are {', '.join(CLASSES)}:\n{table}"
        )
    return "\n".join(lines)


def _matrix(images: list[Image]) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    return np.array([image[3] for image in images]), np.array([CLASSES.index(image[2]) for image in images])


def main() -> int:
    """Fit, report and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    images = [image for folder in parser.parse_args().folders for image in read(folder)]
    print(report(images), file=sys.stderr)
    json.dump(fitted(images), sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
