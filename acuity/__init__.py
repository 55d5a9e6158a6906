"""Acuity: MR super-resolution and brain tumor segmentation, from DICOM to DICOM."""

from acuity._cuda_runtime import install_import_hook

__version__ = "0.1.0"

install_import_hook()
