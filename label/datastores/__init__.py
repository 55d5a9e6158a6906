"""Where cases and labels are: ``folder`` for NIfTI on a disk, ``study`` for an archive (PACS) behind DICOMweb.

Both are a ``monailabel.interfaces.datastore.Datastore`` whose image is a case of four sequences (``label.case``):
``list_images`` names each complete case once, by its T1c; the ids of its other three images open it too, on their own
grids. A label's id is the id of the image that it is wanted for, so that the mask fits what is on the screen.
"""
