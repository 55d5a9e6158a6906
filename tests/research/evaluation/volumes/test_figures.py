"""Pictures of volumes: that errors show."""

from __future__ import annotations

import numpy as np
from PIL import Image

from acuity.research.evaluation.figures import tumor_slices
from acuity.research.evaluation.volumes.figures import draw_volumes
from tests.research.evaluation.test_figures import head


def test_errors_are_drawn(tmp_path):
    truth = tumor_slices(*head())
    wrong = {name: np.where(image > 50, 0, image) for name, image in truth.items()}
    pictures = {}
    for name, results in (("same", {"a": truth, "b": truth}), ("wrong", {"a": truth, "b": wrong})):
        path = tmp_path / f"{name}.png"
        draw_volumes("T1c", truth, results, {"a": "1 dB", "b": "2 dB"}, {"Axial": 1.0, "Coronal": 1.0}, path)
        with Image.open(path) as picture:
            pictures[name] = np.asarray(picture.convert("RGB")).astype(int)
    # magma is colored; truth and results are gray, but for what resampling leaves.
    colored = {name: (np.ptp(picture, axis=-1) > 60).sum() for name, picture in pictures.items()}
    assert colored["wrong"] > colored["same"] + 500
