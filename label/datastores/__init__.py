"""Where cases and labels are: ``folder`` for NIfTI on a disk, ``archive`` for an archive (PACS) behind DICOMweb.

Both are a ``monailabel.interfaces.datastore.Datastore`` whose image is a case of four sequences (``label.case``).
MONAI Label's own stores keep one file for an image, and no frame of reference. ``list_images`` names each complete case
once, by its T1c; the ids of its other three images open it too, on their own grids. A label's id is the id of the image
that it is wanted for, so that the mask fits what is on the screen.
"""
