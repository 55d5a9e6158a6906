"""Tumour labels read back from a DICOM Segmentation that Acuity wrote, or that an annotator corrected."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np

from acuity.anatomy import SEGMENTS
from acuity.errors import UnsupportedSeriesError
from acuity.volume import Volume


def read_segmentation(path: Path) -> Volume:
    """Read the exclusive segments 1..3 of ``acuity.anatomy.SEGMENTS``.

    Returns
    -------
    Volume
        uint8 of 0, 1, 2 and 4 on the segmentation's own grid, cut along k to the slices that hold a segment: others
        need not be in the file. The affine says where they lie (LPS mm).

    Raises
    ------
    UnsupportedSeriesError
        When the segments are not those, or overlap, or the frames form no volume.
    """
    seg = hd.seg.segread(path)
    numbers = [int(item.SegmentNumber) for item in seg.SegmentSequence]
    names = [str(item.SegmentLabel) for item in seg.SegmentSequence]
    if numbers != [spec.number for spec in SEGMENTS] or names != [spec.name for spec in SEGMENTS]:
        raise UnsupportedSeriesError(
            f"The segmentation has the segments {', '.join(names)}.",
            rule=f"Its segments must be {', '.join(spec.name for spec in SEGMENTS)}, in this order.",
            remedy="Give a segmentation of Acuity's, corrected or not.",
        )
    try:
        volume = seg.get_volume(combine_segments=True, allow_missing_positions=True, skip_overlap_checks=False)
    except (RuntimeError, ValueError) as error:
        raise UnsupportedSeriesError(
            f"The segmentation is no volume of exclusive labels: {error}",
            rule="Its frames must be equally spaced and parallel, and its segments must not overlap.",
            remedy="Correct the segmentation in the editor that wrote it.",
        ) from error
    labels = np.zeros(volume.array.shape, dtype=np.uint8)
    for spec in SEGMENTS:
        labels[volume.array == spec.number] = spec.label
    # highdicom's axes are slice, row, column.
    frame = str(seg.FrameOfReferenceUID) if "FrameOfReferenceUID" in seg else None
    return Volume(np.ascontiguousarray(labels.transpose(2, 1, 0)), volume.affine[:, [2, 1, 0, 3]], frame)
