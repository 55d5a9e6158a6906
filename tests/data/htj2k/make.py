"""Write the HTJ2K codestreams beside this file: ``pip install imagecodecs``, then run it from the repository root.

They are committed because imagecodecs is a large package that nothing else here needs, and OpenJPEG, which the
reader uses, decodes HTJ2K but does not encode it.
"""

from pathlib import Path

import imagecodecs  # type: ignore[import-not-found, unused-ignore]
import numpy as np

from tests.dicom_builder import phantom

if __name__ == "__main__":
    volume = phantom((36, 34, 3), seed=7)
    for k in range(volume.shape[2]):
        rows_columns = np.ascontiguousarray(volume[:, :, k].T)
        stream = imagecodecs.htj2k_encode(rows_columns, reversible=True)
        Path(__file__).with_name(f"slice_{k}.jhc").write_bytes(stream)
