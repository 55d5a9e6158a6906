"""All methods of super-resolution on the same slices: tidy CSV, Markdown, figures, and how to repeat it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Seq
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from acuity.errors import DataError
from acuity.models.super_resolution import Denoising
from acuity.research.datasets.brats import fine_cases, read_split
from acuity.research.datasets.folders import ImageFormat, case_folders, image_format
from acuity.research.datasets.slice_sets import LEVELS, ImageSlice, comparison_slices
from acuity.research.degradations.random import Draw, draw_bicubic, draw_kspace
from acuity.research.degradations.steps import apply
from acuity.research.evaluation.slices import scores as scoring
from acuity.research.evaluation.slices.figures import draw_panels, draw_perception_distortion
from acuity.research.evaluation.slices.methods import (
    Method,
    bundle_methods,
    interpolations,
    require_unique,
    weights_method,
    with_denoising,
)
from acuity.research.evaluation.slices.settings import describe, notes
from acuity.research.evaluation.slices.table import TRUTH, by_method, read_published, summary
from acuity.research.evaluation.slices.timing import milliseconds, timing_slices
from acuity.research.evaluation.slices.views import chosen_views
from acuity.research.evaluation.store import make_folder
from acuity.research.evaluation.tables import Row, write_csv
from acuity.resources import config_file

DegradationName = Literal["bicubic", "kspace"]
DEGRADATIONS: dict[DegradationName, Draw] = {"bicubic": draw_bicubic, "kspace": draw_kspace}

PUBLISHED_SCALE = 4
SMALLEST_SIDE = 32  # pixels: VGG16 pools four times, SSIM's window has 11
NIQE_CASES = 10  # of the training cases: two hundred slices, read in a minute
NIQE_LEVELS = 24  # of each volume, where there are no training cases
_SEED = 0


def evaluate(
    data: Path,
    output: Path,
    *,
    models: Path | None = None,
    weights: Seq[tuple[str, Path]] = (),
    scale: int = 4,
    degradation: DegradationName = "bicubic",
    denoising: Denoising | None = None,
    device: torch.device | None = None,
) -> Path:
    """Degrade slices, bring them back with every method, measure, and write what came out into ``output``.

    ``scores.csv`` has a row for each method and slice (and method "truth" for what the original itself scores),
    ``table.md`` the summary, ``settings.json`` all that is needed to repeat it; the figures are
    ``perception_distortion.png`` and ``panels_N.png``.

    Parameters
    ----------
    data : any folder of ``acuity.research.datasets.slice_sets``; of BraTS cases those on which nothing was trained or chosen
    models : folder of bundles; those of this ``scale`` take part
    weights : name and file of further networks
    denoising : adds to each method one with denoising before or after it
    device : of the networks; default: the GPU if there is one

    Returns
    -------
    ``table.md``

    Raises
    ------
    DataError : no slice, slices that are too small, weights of another format or scale, a name given twice
    ModelError : no bundle of this scale, or one that cannot be used
    OutputError : ``output`` cannot be written to
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    make_folder(output)
    methods = interpolations(scale)
    methods += bundle_methods(models, scale, device) if models else []
    methods += [weights_method(name, path, scale, device) for name, path in weights]
    methods = with_denoising(methods, denoising) if denoising else methods
    require_unique(methods)
    slices = evaluation_slices(data, scale)
    good, good_source = niqe_reference(data, slices, scale)
    steps = DEGRADATIONS[degradation](np.random.default_rng(_SEED), scale)

    def degrade(image: Tensor) -> Tensor:
        return apply(image, steps)

    judge = scoring.Judge(degrade, scale, scoring.perceptual_distance(device), scoring.niqe_of(good))
    settings = describe(
        slices,
        methods,
        judge,
        data_format=image_format(data),
        degradation=degradation,
        steps=steps,
        seed=_SEED,
        niqe_source=good_source,
        device=device,
    )
    (output / "settings.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    rows = score(methods, slices, judge, output / "scores.csv")
    ms, denoising_ms = milliseconds(methods, [degrade(image) for image in timing_slices(slices)])
    table = summary(
        rows,
        methods,
        title=f"Super-resolution x{scale}",
        milliseconds=ms,
        denoising=denoising_ms,
        published=read_published(config_file("sr/published.csv")) if scale == PUBLISHED_SCALE else [],
        notes=notes(settings),
    )
    (output / "table.md").write_text(table, encoding="utf-8")
    _draw(data, output, methods, slices, rows, degrade, scale)
    return output / "table.md"


def evaluation_slices(folder: Path, scale: int) -> list[ImageSlice]:
    """``comparison_slices``, of BraTS cases only those that are not for training or validation.

    Raises
    ------
    DataError : none is left, or slices are smaller than SMALLEST_SIDE
    """
    cases = None
    if image_format(folder) is ImageFormat.BRATS:
        split = read_split()
        cases = [c.name for c in case_folders(folder) if c.name not in split["train"] + split["validation"]]
        if not cases:
            raise DataError(
                f"All BraTS cases in {folder} are for training or validation.",
                rule="Methods are compared on cases on which nothing was trained or chosen.",
                remedy="Add the test cases of acuity/research/datasets/brats_split.json, or cases of your own.",
            )
    slices = comparison_slices(folder, cases=cases, scale=scale)
    smallest = min(slices, key=lambda item: min(item.image.shape))
    if min(smallest.image.shape) < SMALLEST_SIDE:
        raise DataError(
            f"{smallest.case} has a slice of {smallest.image.shape[0]}x{smallest.image.shape[1]} pixels.",
            rule=f"A slice has {SMALLEST_SIDE} pixels at least along both sides.",
            remedy="Leave such images out.",
        )
    return slices


def niqe_reference(folder: Path, slices: Seq[ImageSlice], scale: int) -> tuple[list[NDArray[np.float32]], str]:
    """The images that NIQE takes for good ones, and which they are in words.

    Slices of BraTS training cases with fine gray levels, where ``folder`` holds such; else more of what ``slices``
    are from, since sharp patches are few.
    """
    fine = [case for case in fine_cases(read_split()["train"]) if (folder / case).is_dir()][:NIQE_CASES]
    cases = fine or list(dict.fromkeys(item.case for item in slices))
    levels = LEVELS if fine else NIQE_LEVELS
    reference = [item.image for item in comparison_slices(folder, cases=cases, scale=scale, levels=levels)]
    which = f"the training cases {', '.join(fine)}" if fine else "the data that is compared"
    return reference, f"{len(reference)} high-resolution slices of {which}"


@torch.inference_mode()
def score(methods: Seq[Method], slices: Seq[ImageSlice], judge: scoring.Judge, path: Path) -> list[Row]:
    """A row for each slice and method, written to ``path`` after each volume; what cannot be had is NaN, there empty.

    Method TRUTH scores the original itself, where that needs no truth to compare with.
    """
    rows: list[Row] = []
    with tqdm(total=len(slices) * len(methods), desc="comparing", mininterval=5) as bar:
        for _, volume in groupby(slices, key=lambda item: (item.case, item.sequence)):
            for item in volume:
                truth = judge.truth(torch.from_numpy(item.image)[None, None])
                own = {"niqe": judge.niqe(truth.image, truth.image), "nyquist": scoring.nyquist_amplitude(truth.image)}
                rows.append(_row(TRUTH, "", item, dict.fromkeys(scoring.METRICS, math.nan) | own))
                for method in methods:
                    rows.append(_row(method.name, method.source, item, judge.scores(method(truth.lr), truth)))
                    bar.update()
            write_csv([{k: "" if v != v else v for k, v in row.items()} for row in rows], path)
    return rows


def _row(method: str, source: str, item: ImageSlice, values: dict[str, float]) -> Row:
    place = {"case": item.case, "sequence": item.sequence, "slice": str(item.index)}
    return {"method": method, "source": source, **place, **values}


@torch.inference_mode()
def _draw(
    data: Path,
    output: Path,
    methods: Seq[Method],
    slices: Seq[ImageSlice],
    rows: Seq[Row],
    degrade: Callable[[Tensor], Tensor],
    scale: int,
) -> None:
    """Figures of the methods without denoising, whose effect has a table of its own."""
    found = by_method(rows)
    shown = [method for method in methods if method.denoising is None]
    points = {
        method.name: {
            "rmse": math.sqrt(_mean(found[method.name].values(), "mse")),
            **{key: _mean(found[method.name].values(), key) for key in ("perceptual", "niqe")},
        }
        for method in shown
    }
    draw_perception_distortion(
        points,
        {method.name: method.source for method in shown},
        _mean(found[TRUTH].values(), "niqe"),
        output / "perception_distortion.png",
    )
    for n, view in enumerate(tqdm(chosen_views(data, slices, scale), desc="drawing", mininterval=5), 1):
        lr = degrade(torch.from_numpy(view.item.image)[None, None])
        results = {method.name: method(lr).clamp(0, 1)[0, 0].numpy() for method in shown}
        key = (view.item.case, view.item.sequence, str(view.item.index))
        draw_panels(
            view, results, {name: float(found[name][key]["psnr"]) for name in results}, output / f"panels_{n}.png"
        )


def _mean(rows: Iterable[Row], metric: str) -> float:
    """Of what is there; NaN where nothing is."""
    values = [value for row in rows if not math.isnan(value := float(row[metric]))]
    return float(np.mean(values)) if values else math.nan
