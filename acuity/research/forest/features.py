"""What a classifier is told of single voxels: intensity and its derivatives at several scales, texture, position.

Scales are in mm and directions the patient's, so that a feature does not depend on how the grid lies. Windows round
the voxel and the difference to the other side are those that forests were first given for brain lesions (Geremia et
al., "Spatial decision forests for MS lesion segmentation in multi-channel magnetic resonance images", NeuroImage
57(2), 2011).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from collections.abc import Sequence as Seq

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
_HESSIAN = _KINDS[4:]
_POSITION = ("lateral", "posterior", "superior", "depth")
_ASYMMETRY = f"asymmetry_{ASYMMETRY_SCALE:g}mm"
_OF_A_SEQUENCE = ("intensity", *(f"{kind}_{scale:g}mm" for scale in SCALES for kind in _KINDS), _ASYMMETRY)

FEATURES: tuple[str, ...] = (*(f"{sequence}_{name}" for sequence in Sequence for name in _OF_A_SEQUENCE), *_POSITION)
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
    """Features of chosen voxels; filters run over the brain's box one at a time, and only those that are asked for.

    Outside the brain images are 0, the brain's mean: derivatives near the surface see that edge.

    Parameters
    ----------
    channels : float32 (4, I, J, K), T1, T1c, T2, FLAIR, z-scored over the brain, 0 outside; a sequence that is
        missing is 0 everywhere, and so are its features
    brain : uint8 mask, not empty
    voxels : (n, 3), indices i, j, k, inside the brain
    names : of ``FEATURES``, in the order wanted

    Returns
    -------
    float32 (n, len(names))

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
    columns = {name: column for column, name in enumerate(names)}
    result = np.empty((len(voxels), len(names)), dtype=np.float32)
    for name, values in _every(channels, brain, voxels, columns):
        if name in columns:  # filters that share their work give more than was asked for
            result[:, columns[name]] = values
    return result


def _every(
    channels: Array, brain: Volume, voxels: Voxels, wanted: Collection[str]
) -> Iterator[tuple[str, NDArray[np.floating]]]:
    """Names and (n,) values of the features wanted."""
    inside = np.argwhere(brain.array > 0)
    first, last = inside.min(axis=0), inside.max(axis=0)
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
    local = voxels - first
    middle = float(_patient_axis(brain, inside, 0).mean())
    yield from _position(brain, inside, voxels, middle)
    if "depth" in wanted:
        # Padded, for the end of the field of view is where the known brain ends.
        depth = ndimage.distance_transform_edt(np.pad(brain.array[box] > 0, 1), sampling=brain.spacing)
        yield "depth", _at(depth, local + 1)
    mirrored = _mirrored(brain, voxels, middle) - first
    for sequence, channel in zip(Sequence, channels, strict=True):
        here = {name for name in _OF_A_SEQUENCE if f"{sequence}_{name}" in wanted}
        if here:
            for name, values in _of_a_sequence(channel[box], brain.spacing, local, mirrored, here):
                yield f"{sequence}_{name}", values


def _of_a_sequence(
    image: Array, spacing: NDArray[np.float64], voxels: Voxels, mirrored: NDArray[np.float64], wanted: Collection[str]
) -> Iterator[tuple[str, Array]]:
    if "intensity" in wanted:
        yield "intensity", _at(image, voxels)
    for scale in SCALES:
        here = {kind for kind in _KINDS if f"{kind}_{scale:g}mm" in wanted}
        if here:
            for kind, values in _at_scale(image, spacing, scale, voxels, here):
                yield f"{kind}_{scale:g}mm", values
    if _ASYMMETRY in wanted:
        smooth = _smoothed(image, spacing, ASYMMETRY_SCALE)
        yield _ASYMMETRY, _at(smooth, voxels) - ndimage.map_coordinates(smooth, mirrored.T, order=1)


def _at_scale(
    image: Array, spacing: NDArray[np.float64], scale: float, voxels: Voxels, wanted: set[str]
) -> Iterator[tuple[str, Array]]:
    smooth = _smoothed(image, spacing, scale)
    mean = _at(smooth, voxels)
    yield "mean", mean
    if "deviation" in wanted:
        yield "deviation", np.sqrt(np.maximum(_at(_smoothed(image**2, spacing, scale), voxels) - mean**2, 0.0))
    if "gradient" in wanted:
        slopes = [_at(_slope(smooth, axis, spacing), voxels) for axis in range(3)]
        yield "gradient", np.linalg.norm(slopes, axis=0)
    if wanted & {"laplacian", *_HESSIAN}:
        curvatures = [_at(_curvature(smooth, axis, spacing), voxels) for axis in range(3)]
        yield "laplacian", np.sum(curvatures, axis=0)
        if wanted & set(_HESSIAN):
            yield from zip(_HESSIAN, _eigenvalues(smooth, curvatures, spacing, voxels).T, strict=True)


def _eigenvalues(smooth: Array, curvatures: Seq[Array], spacing: NDArray[np.float64], voxels: Voxels) -> Array:
    """(n, 3), ascending, of the Hessian whose diagonal is known."""
    hessian = np.empty((len(voxels), 3, 3), dtype=np.float32)
    for axis in range(3):
        hessian[:, axis, axis] = curvatures[axis]
        for other in range(axis):
            mixed = _at(_slope(_slope(smooth, axis, spacing), other, spacing), voxels)
            hessian[:, axis, other] = hessian[:, other, axis] = mixed
    return np.asarray(np.linalg.eigvalsh(hessian))


def _smoothed(image: Array, spacing: NDArray[np.float64], scale: float) -> Array:
    """Where voxels are much coarser than the scale, along that axis the image stays as it is."""
    return ndimage.gaussian_filter(image, scale / spacing, mode="constant", truncate=3.0)


def _slope(image: Array, axis: int, spacing: NDArray[np.float64]) -> Array:
    """Central difference per mm."""
    return ndimage.correlate1d(image, np.array([-0.5, 0.0, 0.5]) / spacing[axis], axis, mode="constant")


def _curvature(image: Array, axis: int, spacing: NDArray[np.float64]) -> Array:
    """Second difference per mm^2."""
    return ndimage.correlate1d(image, np.array([1.0, -2.0, 1.0]) / spacing[axis] ** 2, axis, mode="constant")


def _at(array: NDArray, voxels: Voxels) -> Array:
    return array[tuple(voxels.T)].astype(np.float32)


def _patient_axis(brain: Volume, voxels: Voxels, axis: int) -> NDArray[np.float64]:
    """Coordinate of voxels along one of left, back, head: (n,) in mm."""
    return voxels.astype(np.float64) @ brain.affine[axis, :3] + brain.affine[axis, 3]


def _position(
    brain: Volume, inside: Voxels, voxels: Voxels, middle: float
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    half = max(1.0, float(np.abs(_patient_axis(brain, inside, 0) - middle).max()))
    yield "lateral", np.abs(_patient_axis(brain, voxels, 0) - middle) / half
    for name, axis in (("posterior", 1), ("superior", 2)):
        extent = _patient_axis(brain, inside, axis)
        yield name, (_patient_axis(brain, voxels, axis) - extent.min()) / max(1.0, float(np.ptp(extent)))


def _mirrored(brain: Volume, voxels: Voxels, middle: float) -> NDArray[np.float64]:
    """Indices, not whole, of the points on the other side of the sagittal plane x = ``middle``."""
    to_left = 2.0 * (middle - _patient_axis(brain, voxels, 0))
    return voxels.astype(np.float64) + to_left[:, None] * np.linalg.inv(brain.affine)[:3, 0]
