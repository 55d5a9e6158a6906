"""Stand-in for the package of this name, which is dead and needs pydicom < 3.

monailabel 0.8.5 imports it at module level, in its DICOM converters.  Acuity's label server never
calls those: it reads and writes SEG with highdicom.
"""

from typing import NoReturn


def __getattr__(name: str) -> NoReturn:
    """Refuse whatever is asked of the absent package.

    Raises
    ------
    AttributeError
        Always, with the way to the converters that do work.
    """
    raise AttributeError(
        f"pydicom_seg.{name} is not available: this module only stands in for the dead package pydicom-seg. "
        "Read and write SEG with acuity.dicom."
    )
