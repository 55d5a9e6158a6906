"""How well the tumour is found, on original, super-resolved and interpolated images."""

from __future__ import annotations

import time
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from pathlib import Path

import numpy as np
from tqdm import tqdm

from acuity.anatomy import Region, Sequence, labels_to_regions
from acuity.data import brats
from acuity.evaluation.tables import mean_table, write_csv
from acuity.inference.bundle import load_bundle
from acuity.inference.segmentation import segment
from acuity.metrics.overlap import dice, hausdorff95
from acuity.volume import Volume


def evaluate(
    *,
    data: str | None,
    models: str,
    output: str,
    cases: Seq[str],
    inputs: Mapping[str, str] | None = None,
    bundle: str = "brain_tumor_segmentation",
) -> Path:
    """Segment each case on each kind of input and score ET, TC and WT against the truth.

    Parameters
    ----------
    data : folder of BraTS cases: the truth, and the input "original"
    inputs : further kinds of input by name, each a folder of the same cases without labels, as
        ``acuity.evaluation.super_resolution`` leaves them

    Returns
    -------
    The CSV of a row for each case, input and region; a Markdown summary lies beside it.
    """
    model = load_bundle(Path(models), bundle)
    source, folder = brats.data_folder(data), Path(output)
    low_grade = set(brats.read_split()["low_grade"])
    kinds = {"original": source, **{name: Path(path) for name, path in (inputs or {}).items()}}
    rows: list[dict[str, str | float]] = []
    for name in tqdm(cases, desc="segmentation"):
        truth = brats.read_labels(source / name)
        target = labels_to_regions(truth.array)
        original = brats.read_case(source / name)
        brain = brain_of(original)
        for kind, path in kinds.items():
            images = original if kind == "original" else brats.read_case(path / name)
            start = time.perf_counter()
            preds = labels_to_regions(segment(images, brain, model).labels.array)
            seconds = time.perf_counter() - start
            for region, p, t in zip(Region, preds, target, strict=True):
                rows.append({
                    "case": name, "grade": "low" if name in low_grade else "high", "input": kind,
                    "region": region.value, "dice": dice(p, t),
                    "hd95_mm": hausdorff95(p, t, spacing=tuple(truth.spacing)),
                    "volume_ml": float(p.sum()) * truth.grid.voxel_volume,
                    "true_volume_ml": float(t.sum()) * truth.grid.voxel_volume,
                    "seconds": seconds,
                })
        write_csv(rows, folder / "segmentation.csv")
    values = ["dice", "hd95_mm"]
    tables = [
        mean_table(rows, by=["input", "region"], values=values),
        mean_table(rows, by=["input"], values=[*values, "seconds"]),
        mean_table(rows, by=["case", "input"], values=values),
    ]
    (folder / "segmentation.md").write_text("\n".join(tables))
    return folder / "segmentation.csv"


def brain_of(images: Mapping[Sequence, Volume]) -> Volume:
    """The mask of a stripped case: wherever any sequence has signal."""
    first = images[Sequence.T1]
    return first.with_array(np.any([images[s].array > 0 for s in Sequence], axis=0).astype(np.uint8))
