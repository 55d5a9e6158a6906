from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from acuity.anatomy import Region, labels_to_regions
from acuity.models.source_grid import labels_on_grid
from acuity.volume import Grid, Volume
from tests.dicom_builder import oblique_affine


def lesion(grid: Grid, radius: float = 9.0) -> Volume:
    """An ellipsoid off the center of ``grid``: necrosis, a thin enhancing rim, edema."""
    indices = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    points = indices @ grid.affine[:3, :3].T + grid.origin
    center = (grid.affine @ [*(0.45 * np.asarray(grid.shape)), 1])[:3]
    distance = np.linalg.norm((points - center) / [1.0, 1.3, 0.8], axis=-1)
    labels = np.zeros(grid.shape, np.uint8)
    labels[distance < 1.5 * radius] = 2
    labels[distance < radius] = 4
    labels[distance < 0.75 * radius] = 1
    return Volume(labels, grid.affine)


def volumes(labels: Volume) -> np.ndarray:
    return labels_to_regions(labels.array).sum(axis=(1, 2, 3)) * labels.grid.voxel_volume


def centroids(labels: Volume) -> list[np.ndarray]:
    return [(labels.affine @ [*np.argwhere(mask).mean(axis=0), 1])[:3] for mask in labels_to_regions(labels.array)]


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.0, 1.0, 5.0), (0.9, 0.7, 3.0)])
def test_volume_and_centroid_survive(spacing: tuple[float, float, float]) -> None:
    shape = tuple(round(60 / s) for s in spacing)
    source = Grid((shape[0], shape[1], shape[2]), oblique_affine(spacing))
    fine = lesion(source.with_spacing(tuple(min(s, 1.0) for s in spacing)))  # type: ignore[arg-type]
    coarse = labels_on_grid(fine, source)
    assert coarse.grid.same_as(source)
    assert set(np.unique(coarse.array)) <= {0, 1, 2, 4}
    np.testing.assert_allclose(volumes(coarse), volumes(fine), atol=source.voxel_volume)
    for region, there, here in zip(Region, centroids(fine), centroids(coarse), strict=True):
        assert np.linalg.norm(there - here) < 0.25 * max(spacing), region


def test_a_thin_rim_does_not_vanish() -> None:
    source = Grid((30, 30, 12), oblique_affine((2.0, 2.0, 5.0)))
    fine = lesion(source.with_spacing((1.0, 1.0, 1.0)), radius=6.0)
    coarse = labels_on_grid(fine, source)
    assert volumes(coarse)[0] == pytest.approx(volumes(fine)[0], abs=source.voxel_volume)


def test_the_same_grid_changes_nothing() -> None:
    labels = lesion(Grid((30, 30, 30), oblique_affine((1.0, 1.0, 1.0))), radius=5.0)
    assert labels_on_grid(labels, labels.grid) is labels


def test_no_tumor_stays_none() -> None:
    source = Grid((10, 10, 10), oblique_affine((2.0, 2.0, 2.0)))
    fine = source.with_spacing((1.0, 1.0, 1.0))
    assert not labels_on_grid(Volume(np.zeros(fine.shape, np.uint8), fine.affine), source).array.any()


def test_the_fullest_voxels_are_taken() -> None:
    """By the means over the fine voxels in each, which NumPy takes; edema of a ragged shape."""
    source = Grid((8, 9, 10), np.diag([3.0, 3.0, 3.0, 1.0]))
    grid = source.with_spacing((1.0, 1.0, 1.0))
    ragged = gaussian_filter(np.random.default_rng(0).standard_normal(grid.shape), 1.0) > 0.1
    fine = Volume((2 * ragged).astype(np.uint8), grid.affine)
    filled = (fine.array > 0).reshape(8, 3, 9, 3, 10, 3).mean(axis=(1, 3, 5))
    chosen = labels_on_grid(fine, source).array > 0
    assert filled[chosen].min() >= filled[~chosen].max() > 0
