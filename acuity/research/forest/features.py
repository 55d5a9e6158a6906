"""Features of single voxels for a classifier: intensity and its derivatives at several scales, texture, position.

Scales are in mm and directions the patient's, so that a feature does not depend on the grid's orientation. Windows
round the voxel and the difference to the other side were first given to forests for brain lesions by Geremia et al.,
"Spatial decision forests for MS lesion segmentation in multi-channel magnetic resonance images", NeuroImage 57(2),
2011.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from acuity.anatomy import Sequence
from acuity.volume import Volume

Array = NDArray[np.float32]
Voxels = NDArray[np.intp]

SCALES = (1.0, 2.0, 4.0, 8.0)  # mm, standard deviations of Gaussian windows
ASYMMETRY_SCALE = 4.0  # mm, about how far a hemisphere is from the other's mirror image

_KINDS = ("mean", "deviation", "gradient", "laplacian", "hessian1", "hessian2", "hessian3")
_ASYMMETRY = f"asymmetry_{ASYMMETRY_SCALE:g}mm"
_OF_A_SEQUENCE = ("intensity", *(f"{kind}_{scale:g}mm" for scale in SCALES for kind in _KINDS), _ASYMMETRY)

FEATURES: tuple[str, ...] = (
    *(f"{sequence}_{name}" for sequence in Sequence for name in _OF_A_SEQUENCE),
    *("lateral", "posterior", "superior", "depth"),
)
"""All features, in order. For each sequence, in its z-scores, windows Gaussian of the scale in the name:

=====================  =============================================================================
intensity              of the voxel itself
mean_Xmm               over the window
deviation_Xmm          standard deviation over the window: texture
gradient_Xmm           magnitude of the smoothed image's gradient, per mm
laplacian_Xmm          of the smoothed image, per mm^2
hessian1..3_Xmm        eigenvalues of its Hessian, per mm^2, the smallest first: sheets, tubes, blobs
asymmetry_4mm          smoothed image less itself mirrored at the brain's mid-plane: tumors grow on one side
=====================  =============================================================================

and of the place: ``lateral`` from the mid-plane, 0, to the outermost voxel of either side, 1; ``posterior`` and
``superior`` within the brain's extent, 0 to 1; ``depth`` to the brain's surface in mm.
"""


def voxel_features(channels: Array, brain: Volume, voxels: Voxels, names: Seq[str] = FEATURES) -> Array:
    """Features of chosen voxels; only the filters that ``names`` needs run, over the brain's box.

    Outside the brain images are 0, the brain's mean: derivatives near the surface see that edge.

    Parameters
    ----------
    channels : float32 (4, I, J, K), T1, T1c, T2, FLAIR, z-scored over the brain, 0 outside; a missing sequence is 0
        everywhere, and so are its features
    brain : uint8 mask, not empty
    voxels : (n, 3), indices i, j, k, inside the brain
    names : of ``FEATURES``, in the order of the result's columns

    Returns
    -------
    float32 (n, len(names)), in Fortran order

    Raises
    ------
    ValueError : for a name that is no feature, channels that are not on the brain's grid, or voxels outside it
    """
    if unknown := set(names) - set(FEATURES):
        raise ValueError(f"{', '.join(sorted(unknown))}: no feature of that name")
    if channels.shape != (len(Sequence), *brain.shape):
        raise ValueError(f"channels have shape {channels.shape}; they must be {(len(Sequence), *brain.shape)}")
    if not brain.array[tuple(voxels.T)].all():
        raise ValueError("voxels outside the brain have no features")
    inside = np.argwhere(brain.array > 0)
    first = inside.min(axis=0)
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(first, inside.max(axis=0), strict=True))
    middle = float(_patient_axis(brain, inside, 0).mean())
    mirrored = _mirrored(brain, voxels, middle) - first
    result = np.empty((len(voxels), len(names)), dtype=np.float32, order="F")
    columns = {name: result[:, column] for column, name in enumerate(names)}
    _fill_position(columns, brain, inside, voxels, middle)
    if "depth" in columns:
        # The known brain ends with the field of view, too: the mask is padded.
        depth = ndimage.distance_transform_edt(np.pad(brain.array[box] > 0, 1), sampling=brain.spacing)
        columns["depth"][:] = _at(depth, voxels - first + 1)
    for sequence, channel in zip(Sequence, channels, strict=True):
        own = {name.removeprefix(f"{sequence}_"): c for name, c in columns.items() if name.startswith(f"{sequence}_")}
        if "intensity" in own:
            own["intensity"][:] = _at(channel, voxels)
        for scale in SCALES:
            window = _Window(channel[box], brain.spacing, scale, voxels - first)
            for kind in _KINDS:
                if f"{kind}_{scale:g}mm" in own:
                    own[f"{kind}_{scale:g}mm"][:] = window.feature(kind)
            if scale == ASYMMETRY_SCALE and _ASYMMETRY in own:
                own[_ASYMMETRY][:] = window.mean - ndimage.map_coordinates(window.smooth, mirrored.T, order=1)
    return result


class _Window:
    """Features (n,) of chosen voxels by Gaussian windows of one scale in one image, each computed when first used."""

    def __init__(self, image: Array, spacing: NDArray[np.float64], scale: float, voxels: Voxels) -> None:
        self.image, self.spacing, self.scale, self.voxels = image, spacing, scale, voxels

    def feature(self, kind: str) -> Array:
        if kind.startswith("hessian"):
            return self.eigenvalues[:, int(kind[-1]) - 1]
        values: Array = getattr(self, kind)
        return values

    def blurred(self, image: Array) -> Array:
        """Where voxels are much coarser than the scale, along that axis the image stays as it is."""
        return ndimage.gaussian_filter(image, self.scale / self.spacing, mode="constant", truncate=3.0)

    @cached_property
    def smooth(self) -> Array:
        return self.blurred(self.image)

    @cached_property
    def mean(self) -> Array:
        return _at(self.smooth, self.voxels)

    @cached_property
    def deviation(self) -> Array:
        return np.sqrt(np.maximum(_at(self.blurred(self.image**2), self.voxels) - self.mean**2, 0.0))

    @cached_property
    def gradient(self) -> Array:
        return np.linalg.norm([_at(self.slope(self.smooth, axis), self.voxels) for axis in range(3)], axis=0)

    @cached_property
    def laplacian(self) -> Array:
        return np.sum(self.curvatures, axis=0)

    @cached_property
    def curvatures(self) -> list[Array]:
        """Second differences per mm^2 along each axis."""
        weights = [np.array([1.0, -2.0, 1.0]) / spacing**2 for spacing in self.spacing]
        filtered = (ndimage.correlate1d(self.smooth, w, axis, mode="constant") for axis, w in enumerate(weights))
        return [_at(values, self.voxels) for values in filtered]

    @cached_property
    def eigenvalues(self) -> Array:
        """(n, 3), ascending, of the Hessian."""
        hessian = np.empty((len(self.voxels), 3, 3), dtype=np.float32)
        for axis in range(3):
            hessian[:, axis, axis] = self.curvatures[axis]
            for other in range(axis):
                mixed = _at(self.slope(self.slope(self.smooth, axis), other), self.voxels)
                hessian[:, axis, other] = hessian[:, other, axis] = mixed
        return np.asarray(np.linalg.eigvalsh(hessian))

    def slope(self, image: Array, axis: int) -> Array:
        """Central difference per mm."""
        return ndimage.correlate1d(image, np.array([-0.5, 0.0, 0.5]) / self.spacing[axis], axis, mode="constant")


def _at(array: NDArray, voxels: Voxels) -> Array:
    return array[tuple(voxels.T)].astype(np.float32)


def _patient_axis(brain: Volume, voxels: Voxels, axis: int) -> NDArray[np.float64]:
    """Coordinate of voxels along one of left, back, head: (n,) in mm."""
    return voxels.astype(np.float64) @ brain.affine[axis, :3] + brain.affine[axis, 3]


def _fill_position(columns: dict[str, Array], brain: Volume, inside: Voxels, voxels: Voxels, middle: float) -> None:
    if "lateral" in columns:
        half = max(1.0, float(np.abs(_patient_axis(brain, inside, 0) - middle).max()))
        columns["lateral"][:] = np.abs(_patient_axis(brain, voxels, 0) - middle) / half
    for name, axis in (("posterior", 1), ("superior", 2)):
        if name in columns:
            extent = _patient_axis(brain, inside, axis)
            columns[name][:] = (_patient_axis(brain, voxels, axis) - extent.min()) / max(1.0, float(np.ptp(extent)))


def _mirrored(brain: Volume, voxels: Voxels, middle: float) -> NDArray[np.float64]:
    """Fractional indices of the points on the other side of the sagittal plane x = ``middle``."""
    to_left = 2.0 * (middle - _patient_axis(brain, voxels, 0))
    return voxels.astype(np.float64) + to_left[:, None] * np.linalg.inv(brain.affine)[:3, 0]
