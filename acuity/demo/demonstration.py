"""The demonstration: a low-resolution study with a known tumor, the application's run on it, and the comparison."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import acuity
from acuity.anatomy import REGION_NAMES, Region, labels_to_regions
from acuity.demo.picture import draw
from acuity.demo.study import write_demo_study
from acuity.dicom.reading.read_seg import read_segmentation
from acuity.errors import DataError, OutputError
from acuity.imaging.resampling import resample
from acuity.pipeline.stopping import run_process
from acuity.research.metrics.overlap import dice
from acuity.research.synthetic.phantom import Phantom

STUDY, TRUTH, RESULT, PICTURE = "study", "truth", "result", "overlay.png"
_MARK = ".acuity-demo"  # marks a folder as an earlier demo's, which may be replaced


@dataclass(frozen=True)
class RegionOutcome:
    """One region as found and as it is: volumes in ml, Dice 0 to 1."""

    region: Region
    found_ml: float
    true_ml: float
    dice: float


def demonstrate(
    folder: Path,
    *,
    seed: int = 0,
    spacing: tuple[float, float, float] = (2.0, 2.0, 2.0),
    models: Path | None = None,
    verbosity: int = 0,
) -> int:
    """Make the study, run the application on it, print and draw what it found.

    Parameters
    ----------
    folder : receives the study, the truth, the result and the picture; new, empty, or an earlier demo's
    seed : another number makes another tumor
    spacing : mm of the study's voxels along left, back and head
    models : folder of the bundles; None takes the repository's
    verbosity : of the application, 0 to 2

    Returns
    -------
    The application's exit code.

    Raises
    ------
    OutputError
        When the folder holds something that is not an earlier demo's.
    DataError
        When the application is not beside the package.
    """
    _clear(folder)
    print("Making a study with a known tumor ...", flush=True)
    started = time.perf_counter()
    phantom = write_demo_study(folder / STUDY, seed=seed, spacing=spacing, truth_folder=folder / TRUTH)
    making = time.perf_counter() - started
    print(f"Running the application on {folder / STUDY} ...", flush=True)
    code = _run_application(folder / STUDY, folder / RESULT, models, verbosity=verbosity)
    if code != 0:
        return code
    result = json.loads((folder / RESULT / "result.json").read_text(encoding="utf-8"))
    outcomes = compare(folder / RESULT, phantom)
    draw(folder / STUDY, folder / RESULT, phantom, folder / PICTURE)
    _print(outcomes, result, making, folder)
    return 0


def compare(result: Path, phantom: Phantom) -> list[RegionOutcome]:
    """What the application found against what was put in, on the phantom's grid."""
    labels = read_segmentation(result / "seg" / "segmentation_sr.dcm")
    found = labels_to_regions(resample(labels, phantom.labels.grid, interpolation="nearest").array)
    true = labels_to_regions(phantom.labels.array)
    sizes = labels_to_regions(labels.array).sum(axis=(1, 2, 3)) * labels.grid.voxel_volume
    voxel = phantom.labels.grid.voxel_volume
    return [
        RegionOutcome(region, float(size), float(np.count_nonzero(truth) * voxel), dice(mask, truth))
        for region, size, mask, truth in zip(Region, sizes, found, true, strict=True)
    ]


def _clear(folder: Path) -> None:
    """Make an empty folder with the demo's mark; an earlier demo in it is removed."""
    if folder.exists() and not (folder / _MARK).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(
            "The demo's folder holds other files.",
            rule="The demo writes to a new or empty folder, or replaces an earlier demo.",
            remedy="Name another folder with --out.",
        )
    for name in (STUDY, TRUTH, RESULT):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / PICTURE).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()


def _run_application(study: Path, result: Path, models: Path | None, *, verbosity: int) -> int:
    """`python app.py` in a process of its own, as a user would start it."""
    app = Path(acuity.__file__).resolve().parent.parent / "app.py"
    if not app.is_file():
        raise DataError(
            "The application app.py is not beside the acuity package.",
            rule="The demo runs the application of a repository clone.",
            remedy="Clone the repository and call `make demo` there.",
        )
    command = [sys.executable, str(app), "-i", str(study), "-o", str(result), *["-v"] * verbosity]
    command += ["-m", str(models)] if models else []
    # A rule or a series that the user's environment names is not meant for the demo's study.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ACUITY_")}
    return run_process(command, environment)


def _print(outcomes: list[RegionOutcome], result: dict[str, Any], making: float, folder: Path) -> None:
    console = Console()
    table = Table(title="Tumor regions")
    for heading in ("region", "true ml", "found ml", "Dice"):
        table.add_column(heading, justify="left" if heading == "region" else "right")
    for o in outcomes:
        name = f"{o.region.value}  {REGION_NAMES[o.region]}"
        table.add_row(name, f"{o.true_ml:.1f}", f"{o.found_ml:.1f}", f"{o.dice:.3f}")
    console.print(table)
    table = Table(title="Seconds")
    table.add_column("stage")
    table.add_column("s", justify="right")
    for stage, seconds in {"make the study": making, **result["timings_s"]}.items():
        table.add_row(stage, f"{seconds:.1f}")
    table.add_row("peak memory", f"{result['peak_memory_mib'] / 1024:.1f} GiB")
    console.print(table)
    console.print(f"results: {folder / RESULT}\noverlay: {folder / PICTURE}", soft_wrap=True, highlight=False)
