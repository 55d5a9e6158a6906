"""Refinement by clicks: what is marked is right, and the image says how far that reaches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acuity.imaging.refinement import REACH_MM, Click, refined

SHAPE = (40, 36, 32)
SPACING = (1.0, 1.0, 1.0)


def ball(center: tuple[float, float, float], radius: float) -> NDArray[np.bool_]:
    grid = np.moveaxis(np.indices(SHAPE), 0, -1)
    return np.linalg.norm(grid - np.array(center), axis=-1) < radius


FOUND, MISSED = ball((12, 12, 12), 6), ball((26, 24, 18), 6)
IMAGE = np.stack([4.0 * (FOUND | MISSED)]).astype(np.float32)
LABELS = (2 * FOUND).astype(np.uint8)


def test_one_click_adds_what_is_missing_and_stops_at_its_edge() -> None:
    result = refined(LABELS, IMAGE, [((26, 24, 18), 2)], spacing=SPACING)
    added = (result == 2) & ~FOUND
    assert (added & MISSED).sum() > 0.9 * MISSED.sum()
    assert (added & ~MISSED).sum() < 0.1 * MISSED.sum()
    np.testing.assert_array_equal(result[FOUND], 2)


def test_one_click_takes_away_what_is_too_much() -> None:
    labels = (2 * (FOUND | MISSED)).astype(np.uint8)
    result = refined(labels, IMAGE, [((26, 24, 18), 0)], spacing=SPACING)
    assert (result[MISSED] == 0).mean() > 0.9
    np.testing.assert_array_equal(result[FOUND], 2)


def test_clicks_are_always_obeyed_and_leave_no_trace_once_taken_back() -> None:
    clicks: list[Click] = [((26, 24, 18), 4), ((27, 24, 18), 2), ((1, 1, 1), 1), ((12, 12, 12), 0)]
    result = refined(LABELS, IMAGE, clicks, spacing=SPACING)
    assert [result[voxel] for voxel, _ in clicks] == [4, 2, 1, 0]
    np.testing.assert_array_equal(refined(LABELS, IMAGE, [], spacing=SPACING), LABELS)
    np.testing.assert_array_equal(refined(LABELS, IMAGE, clicks[::-1], spacing=SPACING), result)


def test_nothing_changes_out_of_reach() -> None:
    """In millimeters: on thick slices the same number of voxels is further."""
    flat = np.zeros((1, 80, 8, 8), np.float32)
    labels = np.zeros(flat.shape[1:], np.uint8)
    for spacing in (1.0, 2.0):
        result = refined(labels, flat, [((0, 4, 4), 1)], spacing=(spacing, 1.0, 1.0))
        assert np.argwhere(result)[:, 0].max() * spacing <= REACH_MM


def test_where_the_network_is_unsure_a_click_reaches_further_than_where_it_is_sure() -> None:
    flat = np.zeros((1, *SHAPE), np.float32)
    labels = np.zeros(SHAPE, np.uint8)

    def changed(probability: float) -> int:
        whole = np.full(SHAPE, probability, np.float32)
        probabilities = np.stack([np.zeros(SHAPE), np.zeros(SHAPE), whole]).astype(np.float32)
        result = refined(labels, flat, [((20, 18, 16), 2)], spacing=SPACING, probabilities=probabilities)
        return int((result == 2).sum())

    assert changed(0.4) > changed(1e-4)


def test_a_scribble_is_one_mark() -> None:
    line = [((i, 24, 18), 2) for i in range(22, 31)]
    dots = refined(LABELS, IMAGE, line[::4], spacing=SPACING)
    drawn = refined(LABELS, IMAGE, line, spacing=SPACING)
    assert (drawn[MISSED] == 2).sum() >= (dots[MISSED] == 2).sum() - 5
    assert [drawn[voxel] for voxel, _ in line] == [2] * len(line)
