"""Segmentations as OHIF 3.13 writes them, brought to what the standard says of their bits and references."""

from __future__ import annotations

import highdicom as hd
import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes


def repair_bits(ds: Dataset) -> None:
    """Pack the frames of one bit a voxel without gaps between them (PS3.5 section 8.1.1).

    OHIF begins each frame at a byte of its own. That is the same where rows x columns is a multiple of eight;
    elsewhere every other reader would find the segments sheared into pieces.

    Raises
    ------
    ValueError
        Where the pixel data is neither packed so nor as the standard says.
    """
    frames, pixels = int(ds.get("NumberOfFrames", 1)), int(ds.Rows) * int(ds.Columns)
    if ds.BitsAllocated != 1 or ds.file_meta.TransferSyntaxUID.is_compressed:
        return
    by_frame, whole = frames * _bytes(pixels), _bytes(frames * pixels)
    length = len(ds.PixelData)
    # Lengths can agree where contents do not; then who wrote it decides.
    from_ohif = str(ds.file_meta.get("ImplementationVersionName", "")).startswith("OHIF")
    if length == whole + whole % 2 and not (from_ohif and length == by_frame + by_frame % 2):
        return
    if length not in (by_frame, by_frame + by_frame % 2):
        raise ValueError(f"the pixel data has {length} bytes, and {frames} frames of {pixels} bits need {whole}")
    packed = np.frombuffer(ds.PixelData, np.uint8, by_frame).reshape(frames, -1)
    bits = np.unpackbits(packed, axis=1, bitorder="little")[:, :pixels]
    repaired = np.packbits(bits, bitorder="little").tobytes()
    ds.PixelData = repaired + b"\0" * (len(repaired) % 2)


def repair_references(ds: Dataset) -> None:
    """Say of each frame which image it was drawn on and to what end (Derivation Image Macro, PS3.3 C.7.6.16.2.6).

    OHIF leaves out the class of the image and the two codes, and names a frame of images that have only one.
    """
    classes = {
        str(image.ReferencedSOPInstanceUID): image.ReferencedSOPClassUID
        for series in ds.get("ReferencedSeriesSequence", ())
        for image in series.ReferencedInstanceSequence
    }
    for group in ds.get("PerFrameFunctionalGroupsSequence", ()):
        for derivation in group.get("DerivationImageSequence", ()):
            derivation.DerivationCodeSequence = [hd.sr.CodedConcept.from_code(codes.DCM.Segmentation)]
            for image in derivation.get("SourceImageSequence", ()):
                known = classes.get(str(image.ReferencedSOPInstanceUID))
                if known is not None:
                    image.ReferencedSOPClassUID = known
                if not hd.UID(image.ReferencedSOPClassUID).name.startswith("Enhanced"):
                    image.pop("ReferencedFrameNumber", None)
                purpose = codes.DCM.SourceImageForImageProcessingOperation
                image.PurposeOfReferenceCodeSequence = [hd.sr.CodedConcept.from_code(purpose)]


def _bytes(bits: int) -> int:
    return -(-bits // 8)
