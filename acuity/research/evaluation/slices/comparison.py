"""All methods of super-resolution on the same slices: tidy CSV, Markdown, figures, and how to repeat it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from collections.abc import Sequence as Seq
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from acuity.errors import DataError
from acuity.models.super_resolution import Denoising
from acuity.research.datasets.brats import fine_cases, read_split
from acuity.research.datasets.folders import ImageFormat, image_format
from acuity.research.datasets.layouts import find_cases
from acuity.research.datasets.slice_sets import LEVELS, ImageSlice, comparison_slices
from acuity.research.datasets.splits import trained_cases
from acuity.research.degradations.random import Draw, draw_bicubic, draw_kspace
from acuity.research.degradations.steps import apply
from acuity.research.evaluation import columns as col
from acuity.research.evaluation.cases import unseen_cases
from acuity.research.evaluation.slices import scores as scoring
from acuity.research.evaluation.slices.figures import draw_panels, draw_perception_distortion
from acuity.research.evaluation.slices.methods import (
    Method,
    bundle_methods,
    interpolations,
    weights_method,
    with_denoising,
)
from acuity.research.evaluation.slices.settings import describe, notes
from acuity.research.evaluation.slices.table import TRUTH, summary
from acuity.research.evaluation.slices.timing import milliseconds, timing_slices
from acuity.research.evaluation.slices.views import chosen_views
from acuity.research.evaluation.tables import read_published, require_unique
from acuity.research.options import SliceDegradation
from acuity.research.store import make_folder, write_table, write_text

DEGRADATIONS: dict[SliceDegradation, Draw] = {"bicubic": draw_bicubic, "kspace": draw_kspace}

PUBLISHED_SCALE = 4
SMALLEST_SIDE = 32  # pixels: VGG16 pools four times, SSIM's window has 11
NIQE_CASES = 10  # of the training cases: two hundred slices, read in a minute
NIQE_LEVELS = 24  # of each volume, where there are no training cases
SEED = 0


def evaluate(
    data: Path,
    output: Path,
    *,
    models: Path | None = None,
    weights: Seq[tuple[str, Path]] = (),
    scale: int = 4,
    degradation: SliceDegradation = "bicubic",
    denoising: Denoising | None = None,
    device: torch.device | None = None,
) -> Path:
    """Degrade slices, bring them back with every method, measure, and write what came out into ``output``.

    ``scores.csv`` has a row for each method and slice (and method "truth" for what the original itself scores),
    ``table.md`` the summary, ``settings.json`` all that is needed to repeat it; the figures are
    ``perception_distortion.png`` and ``panels_N.png``.

    Parameters
    ----------
    data : any folder of ``acuity.research.datasets.slice_sets``; of BraTS cases those on which nothing was trained or
        chosen
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
    require_unique([method.name for method in methods], "method")
    slices = evaluation_slices(data, scale, weights=[path for _, path in weights])
    good, good_source = niqe_reference(data, slices, scale)
    steps = DEGRADATIONS[degradation](np.random.default_rng(SEED), scale)

    def degrade(image: Tensor) -> Tensor:
        return apply(image, steps)

    judge = scoring.Judge(degrade, scale, scoring.perceptual_distance(device), scoring.niqe_of(good))
    settings = describe(
        slices,
        methods,
        judge,
        data_format=image_format(data),
        degradation={"name": degradation, "steps": [repr(step) for step in steps], "seed": SEED},
        niqe_source=good_source,
        device=device,
    )
    write_text(json.dumps(settings, indent=2) + "\n", output / "settings.json")

    scores = score(methods, slices, judge, output / "scores.csv")
    ms, denoising_ms = milliseconds(methods, [degrade(image) for image in timing_slices(slices)])
    text = summary(
        scores,
        methods,
        title=f"Super-resolution x{scale}",
        milliseconds=ms,
        denoising=denoising_ms,
        published=read_published("sr") if scale == PUBLISHED_SCALE else None,
        notes=notes(settings),
    )
    write_text(text, output / "table.md")
    _draw(data, output, methods, slices, scores, degrade, scale)
    return output / "table.md"


def evaluation_slices(folder: Path, scale: int, *, weights: Seq[Path] = ()) -> list[ImageSlice]:
    """``comparison_slices`` of the cases on which nothing was trained or chosen.

    Parameters
    ----------
    weights : see ``unseen_cases``

    Raises
    ------
    DataError : there is none, or slices are smaller than SMALLEST_SIDE
    """
    if image_format(folder) is ImageFormat.BRATS:
        slices = comparison_slices(folder, cases=unseen_cases(folder, weights=weights), scale=scale)
    else:
        seen = trained_cases(path.parent for path in weights)
        slices = [item for item in comparison_slices(folder, scale=scale) if item.case not in seen]
    if not slices:
        raise DataError(
            f"{folder} holds no case to measure on.",
            rule="Methods are measured on cases on which nothing was trained or chosen.",
            remedy="Add cases of your own that were not for training or validation.",
        )
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
    present = {case.name for case in find_cases(folder)}
    fine = [case for case in fine_cases(read_split()["train"]) if case in present][:NIQE_CASES]
    cases = fine or list(dict.fromkeys(item.case for item in slices))
    levels = LEVELS if fine else NIQE_LEVELS
    reference = [item.image for item in comparison_slices(folder, cases=cases, scale=scale, levels=levels)]
    which = f"the training cases {', '.join(fine)}" if fine else "the data that is compared"
    return reference, f"{len(reference)} high-resolution slices of {which}"


@torch.inference_mode()
def score(methods: Seq[Method], slices: Seq[ImageSlice], judge: scoring.Judge, path: Path) -> pd.DataFrame:
    """A row for each slice and method, written to ``path`` after each volume; what cannot be had is NaN.

    Method TRUTH scores the original itself, where that needs no truth to compare with.
    """
    rows: list[dict[str, object]] = []
    with tqdm(total=len(slices) * len(methods), desc="comparing", mininterval=5) as bar:
        for _, volume in groupby(slices, key=lambda item: (item.case, item.sequence)):
            for item in volume:
                place = {col.CASE: item.case, col.SEQUENCE: item.sequence, col.SLICE: item.index}
                truth = judge.truth(torch.from_numpy(item.image)[None, None])
                own = {
                    col.NIQE: judge.niqe(truth.image, truth.image),
                    col.NYQUIST: scoring.nyquist_amplitude(truth.image),
                }
                values = dict.fromkeys(scoring.METRICS, math.nan) | own
                rows.append({col.METHOD: TRUTH, col.SOURCE: "", **place, **values})
                for method in methods:
                    values = judge.scores(method(truth.lr), truth)
                    rows.append({col.METHOD: method.name, col.SOURCE: method.source, **place, **values})
                    bar.update()
            write_table(pd.DataFrame(rows), path)
    return pd.DataFrame(rows)


@torch.inference_mode()
def _draw(
    data: Path,
    output: Path,
    methods: Seq[Method],
    slices: Seq[ImageSlice],
    scores: pd.DataFrame,
    degrade: Callable[[Tensor], Tensor],
    scale: int,
) -> None:
    """Figures of the methods without denoising, whose effect has a table of its own."""
    plain = [method for method in methods if method.denoising is None]
    means = scores.groupby(col.METHOD)[[col.MSE, col.PERCEPTUAL, col.NIQE]].mean()
    draw_perception_distortion(
        means.loc[[method.name for method in plain]],
        {method.name: method.source for method in plain},
        means.loc[TRUTH, col.NIQE],
        output / "perception_distortion.png",
    )
    psnr = scores.set_index([col.METHOD, col.CASE, col.SEQUENCE, col.SLICE])[col.PSNR].to_dict()
    for n, view in enumerate(tqdm(chosen_views(data, slices, scale), desc="drawing", mininterval=5), 1):
        item = view.item
        lr = degrade(torch.from_numpy(item.image)[None, None])
        draw_panels(
            view,
            {method.name: method(lr).clamp(0, 1)[0, 0].numpy() for method in plain},
            {method.name: psnr[method.name, item.case, item.sequence, item.index] for method in plain},
            output / f"panels_{n}.png",
        )
