"""What a run on the demo study writes, in numbers that another CPU reproduces.

``python -m tests.characterization.fingerprint RESULT`` prints it. The stored one is of the first release; it changes
only with a model or a stated change of the outputs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

MASKED = {"timings_s", "peak_memory_mib", "version", "software", "reason", "reference_reason"}  # of result.json


def fingerprint(result: Path) -> dict[str, Any]:
    """The objects by modality, geometry and pixels, and ``result.json`` without times and UIDs.

    result : the application's output folder
    """
    objects: dict[str, dict[str, Any]] = {}
    for path in sorted(result.rglob("*.dcm")):
        ds = pydicom.dcmread(path)
        name = f"{ds.Modality} {ds.SeriesNumber} {ds.SeriesDescription}"
        entry = objects.setdefault(name, {"instances": 0})
        entry["instances"] += 1
        if "PixelData" in ds:
            _add_pixels(entry, ds)
    return {"objects": objects, "result": _masked(json.loads((result / "result.json").read_text()))}


def _add_pixels(entry: dict[str, Any], ds: pydicom.Dataset) -> None:
    pixels = ds.pixel_array.astype(np.float64)
    entry["size"] = [int(ds.Rows), int(ds.Columns)]
    entry["frames"] = entry.get("frames", 0) + int(ds.get("NumberOfFrames", 1))
    entry["sum"] = entry.get("sum", 0.0) + float(pixels.sum())
    # A second moment about a corner: pixels that are mirrored or shifted give another one.
    weights = [np.arange(n, dtype=np.float64) for n in pixels.shape[-2:]] if ds.SamplesPerPixel == 1 else []
    for axis, weight in zip(("rows", "columns"), weights, strict=False):
        along = pixels.sum(axis=tuple(range(pixels.ndim - 2)))
        moment = float((along.sum(axis=1) if axis == "rows" else along.sum(axis=0)) @ weight)
        entry[f"moment {axis}"] = entry.get(f"moment {axis}", 0.0) + moment


def _masked(value: Any) -> Any:
    """Without times, UIDs, and what differs from slice to slice."""
    if isinstance(value, dict) and "path" in value:
        return str(Path(value["path"]).parent)
    if isinstance(value, dict):
        return {key: "masked" if key in MASKED else _masked(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        masked = [_masked(item) for item in value]
        return sorted(set(masked)) if all(isinstance(item, str) for item in masked) else masked
    if isinstance(value, str) and value.replace(".", "").isdigit() and value.count(".") > 3:
        return "UID"
    return value


if __name__ == "__main__":
    print(json.dumps(fingerprint(Path(sys.argv[1])), indent=1))
