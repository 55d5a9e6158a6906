"""Rigid alignment of one sequence to another by mutual information."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from acuity.errors import RegistrationError
from acuity.imaging.resampling import blur
from acuity.volume import Grid, Volume

# Voxel sizes of the pyramid in mm. Below 2 mm a rigid fit of brains gains nothing: mutual information over the
# samples already resolves about a tenth of a voxel.
LEVELS_MM = (8.0, 4.0, 2.0)
# A head turns by some degrees between two series, and by some tens of degrees between two sessions. Patient
# coordinates already account for the scan's orientation.
MAX_ROTATION_DEG = 45.0
# Mattes mutual information in nats: two images of one head share 0.2 or more, unrelated images less than 0.05.
MIN_MUTUAL_INFORMATION = 0.08
_SAMPLES = 60_000
_BINS = 32
_SEED = 20


@dataclass(frozen=True)
class RigidResult:
    """The rigid transform between two images.

    Parameters
    ----------
    matrix : (4, 4) float64; maps points of the fixed image, LPS mm, to points of the moving image, LPS mm
    performed : False when the images already shared one space and nothing was computed
    reason : a sentence for people
    """

    matrix: NDArray[np.float64]
    performed: bool
    reason: str

    @property
    def rotation_deg(self) -> float:
        """Angle of the rotation in degrees."""
        return rotation_angle(self.matrix)

    @property
    def translation_mm(self) -> float:
        """Length of the translation of the fixed space's origin in mm."""
        return float(np.linalg.norm(self.matrix[:3, 3]))


def rotation_angle(matrix: NDArray[np.float64]) -> float:
    """Angle in degrees of the rotation in a rigid (4, 4) matrix."""
    return float(np.degrees(np.arccos(np.clip((np.trace(matrix[:3, :3]) - 1.0) / 2.0, -1.0, 1.0))))


def needs_registration(moving: Volume, fixed: Volume) -> bool:
    """Whether the two images must be registered before their voxels can be compared.

    False when both name one frame of reference, which means one patient space (DICOM PS3.3 C.7.4.1), and each field
    of view holds the other's center.
    """
    frames = {moving.frame_of_reference_uid, fixed.frame_of_reference_uid}
    if None in frames or "" in frames or len(frames) > 1:
        return True
    return not (_holds(moving.grid, _center(fixed.grid)) and _holds(fixed.grid, _center(moving.grid)))


def align(moving: Volume, fixed: Volume) -> RigidResult:
    """Register ``moving`` to ``fixed`` where they need it; raises as ``register_rigid``."""
    if not needs_registration(moving, fixed):
        return RigidResult(np.eye(4), False, "Both series share one frame of reference and their positions agree.")
    return register_rigid(moving, fixed)


def register_rigid(moving: Volume, fixed: Volume) -> RigidResult:
    """The rigid transform that takes points of ``fixed`` to the same anatomy in ``moving``.

    It maximizes Mattes mutual information (Mattes et al., IEEE TMI 22(1), 2003) over a pyramid of voxel sizes. The
    start is the best of the scanner's coordinates, the centers of the fields of view and the centers of mass. Sampling
    is seeded and runs on one thread: the same input gives the same result to rounding.

    Parameters
    ----------
    moving, fixed : float images of one head; they may differ in contrast, orientation and spacing

    Raises
    ------
    RegistrationError : the images share too little information or do not overlap, the optimization ends worse than
        it began, or the rotation exceeds ``MAX_ROTATION_DEG``
    """
    pyramid = [(_at_level(fixed, level), _at_level(moving, level)) for level in LEVELS_MM]
    try:
        transform = _best_start(*pyramid[0])
        initial = _mutual_information(*pyramid[-1], transform)
        for level, (fixed_level, moving_level) in zip(LEVELS_MM, pyramid, strict=True):
            method = _method(fixed_level)
            method.SetOptimizerAsRegularStepGradientDescent(
                learningRate=level / 4.0,
                minStep=level / 400.0,
                numberOfIterations=100,
                relaxationFactor=0.6,
            )
            method.SetOptimizerScalesFromPhysicalShift()
            method.SetInitialTransform(transform, inPlace=True)
            method.Execute(fixed_level, moving_level)
        final = _mutual_information(*pyramid[-1], transform)
    except RuntimeError as error:  # ITK raises it when no sample of one image falls inside the other
        raise _failure("The two images do not overlap, or one of them has no contrast.") from error
    matrix = _matrix(transform)
    _check(matrix, initial, final)
    reason = f"Aligned: {rotation_angle(matrix):.1f} degrees, mutual information {initial:.2f} to {final:.2f}."
    return RigidResult(matrix, True, reason)


def _center(grid: Grid) -> NDArray[np.float64]:
    """Center of the field of view in mm, LPS."""
    return grid.affine[:3, :3] @ ((np.asarray(grid.shape) - 1) / 2.0) + grid.origin


def _holds(grid: Grid, point: NDArray[np.float64]) -> bool:
    index = np.linalg.solve(grid.affine[:3, :3], point - grid.origin)
    return bool(np.all(index >= -0.5) and np.all(index <= np.asarray(grid.shape) - 0.5))


def _at_level(volume: Volume, level_mm: float) -> sitk.Image:
    """The image shrunk toward voxels of ``level_mm``, along each axis by its own whole factor."""
    factors = [int(max(1, min(level_mm // s, n // 4))) for s, n in zip(volume.spacing, volume.shape, strict=True)]
    sigma = np.where(np.asarray(factors) > 1, 0.5 * np.asarray(factors) * volume.spacing, 0.0)
    image = volume.with_array(volume.array.astype(np.float32, copy=False))
    return sitk.Shrink(image.with_array(blur(image, sigma)).to_sitk(), factors)


def _method(fixed: sitk.Image) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=_BINS)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetNumberOfThreads(1)  # sums of floats in a fixed order: the same result on every run
    if fixed.GetNumberOfPixels() > _SAMPLES:
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(_SAMPLES / fixed.GetNumberOfPixels(), seed=_SEED)
    return method


def _mutual_information(fixed: sitk.Image, moving: sitk.Image, transform: sitk.Transform) -> float:
    method = _method(fixed)
    method.SetInitialTransform(transform)
    return -float(method.MetricEvaluate(fixed, moving))


def _best_start(fixed: sitk.Image, moving: sitk.Image) -> sitk.Euler3DTransform:
    """The start with most mutual information: the scanner's coordinates or one of two centered initializations."""
    starts = []
    for mode in (sitk.CenteredTransformInitializerFilter.MOMENTS, sitk.CenteredTransformInitializerFilter.GEOMETRY):
        centered = sitk.CenteredTransformInitializer(fixed, moving, sitk.Euler3DTransform(), mode)
        starts.append(sitk.Euler3DTransform(centered))
    scanner = sitk.Euler3DTransform(starts[0])
    scanner.SetTranslation((0.0, 0.0, 0.0))
    scored = []
    for transform in (scanner, *starts):
        try:
            scored.append((_mutual_information(fixed, moving, transform), transform))
        except RuntimeError:  # without overlap there is no metric; another start may have one
            continue
    if not scored:
        raise _failure("The two images do not overlap.")
    return max(scored, key=lambda item: item[0])[1]


def _matrix(transform: sitk.Euler3DTransform) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    return matrix


def _check(matrix: NDArray[np.float64], initial: float, final: float) -> None:
    angle = rotation_angle(matrix)
    if angle > MAX_ROTATION_DEG:
        raise _failure(f"The best fit turns the head by {angle:.0f} degrees; the limit is {MAX_ROTATION_DEG:.0f}.")
    if final < MIN_MUTUAL_INFORMATION:
        raise _failure(f"The images share {final:.3f} nats of information; {MIN_MUTUAL_INFORMATION} are the least.")
    if final < initial - 0.01 * abs(initial):
        raise _failure(f"Mutual information fell from {initial:.3f} to {final:.3f} nats.")


def _failure(found: str) -> RegistrationError:
    return RegistrationError(
        found,
        rule="All four sequences must show one head, so that they can be aligned rigidly.",
        remedy="Check that the chosen series belong to one patient and show the whole brain.",
    )
