"""Names of the columns of the evaluations' tables."""

CASE = "case"
SEQUENCE = "sequence"
SLICE = "slice"
REGION = "region"
GRADE = "grade"
INPUT = "input"
DEGRADATION = "degradation"
METHOD = "method"
MODEL = "model"
SOURCE = "source"  # of weights, or of published values
SECONDS = "seconds"

# Images
MSE = "mse"
PSNR = "psnr"
SSIM = "ssim"
PERCEPTUAL = "perceptual"
NIQE = "niqe"
NYQUIST = "nyquist"
# Residuals of slices: the largest and the root of the mean square, before and after projection
RESIDUAL_MAX = "residual_max"
RESIDUAL_RMS = "residual_rms"
PROJECTED_MAX = "projected_max"
PROJECTED_RMS = "projected_rms"
PROJECTION_STEPS = "projection_steps"
# Residuals of volumes: as super-resolution tells them, and by the degradation that was used
RESIDUAL = "residual"
RESIDUAL_AFTER = "residual_after"
RESIDUAL_KNOWN = "residual_known"

# Segmentations
DSC = "dsc"
IOU = "iou"
HD95 = "hd95_mm"
NSD = "nsd"
LESION_DSC = "lesion_dsc"
LESIONS_MISSED = "lesions_missed"
LESIONS_FALSE = "lesions_false"
PAPER = "_paper"  # ends the names of the first three by the thesis's rule
VOLUME = "volume_ml"
TRUE_VOLUME = "true_volume_ml"
EXPECTED_DSC = "expected_dsc"

# Calibration
BIN = "bin"
VOXELS = "voxels"
POSITIVES = "positives"
PROBABILITIES = "probabilities"
