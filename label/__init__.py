"""The MONAI Label app: cases of four sequences, the tasks on them, and learning from corrections.

The server loads ``label/main.py`` as a lone file, with this folder on ``sys.path``. Every module imports the others by
their full names (``from label.case import read_case``), ``main.py`` too, never as ``case`` or ``datastores``: those
would be second copies of the same modules, whose classes are strangers to the first. No module here has the name of a
library, in whose place it would be found. The full names are found in the server and in the processes that it starts
(``python -m monailabel.interfaces.utils.app``), because ``make setup`` installs the repository as editable, root folder
and all.
"""
