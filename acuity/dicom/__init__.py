"""DICOM: reading studies, choosing series, writing results."""
