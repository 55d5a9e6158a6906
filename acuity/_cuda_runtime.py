"""Makes libcudart findable for holoscan on machines without a CUDA toolkit.

holoscan links against ``libcudart.so.13`` even where it runs on a CPU, and looks for it in the system's
folders only.  The PyPI package ``nvidia-cuda-runtime`` brings the library, in a folder of site-packages that
the loader does not search.  A library already loaded under that name satisfies the loader, so it is loaded
just before holoscan is imported.

``import monai`` imports ``monai.deploy`` and with it holoscan, in programs too that never asked for either
(``python -m monai.bundle``, the label server's workers).  Hence a hook on the import of holoscan rather than
a call before each import: ``acuity/__init__.py`` installs it, and the distribution's ``.pth`` file imports
acuity at the start of every interpreter of the environment.  The hook also raises the limit of the stack to
holoscan's recommended minimum: below it, holoscan warns in every program.
"""

from __future__ import annotations

import resource
import sys

STACK_BYTES = 32 * 2**20  # holoscan's recommended minimum


class HoloscanImportHook:
    """Finds nothing itself; loads libcudart when somebody looks for holoscan.

    A meta path finder by its method alone: every interpreter of the environment runs this file when it starts,
    and importlib's abstract base class would cost each of them 20 ms.
    """

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Prepare the process if ``fullname`` is ``holoscan``, and leave the finding to the finders that follow."""
        if fullname == "holoscan":
            sys.meta_path.remove(self)
            raise_stack_limit()
            load_cuda_runtime()


def load_cuda_runtime() -> str | None:
    """Load libcudart into this process, from site-packages or from wherever a toolkit has it.

    Returns
    -------
    str or None
        The path of the library, or None if it was not found: importing holoscan then fails with its own message.
    """
    try:
        from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib
    except ImportError:
        return None
    try:
        return load_nvidia_dynamic_lib("cudart").abs_path
    except DynamicLibNotFoundError:
        return None


def raise_stack_limit() -> None:
    """Raise the soft limit of the stack to STACK_BYTES, where the hard one allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft == resource.RLIM_INFINITY or soft >= STACK_BYTES:
        return
    if hard == resource.RLIM_INFINITY or hard >= STACK_BYTES:
        resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES, hard))


def install_import_hook() -> None:
    """Have libcudart loaded before holoscan is first imported; does nothing if that is already arranged."""
    if "holoscan" not in sys.modules and not any(isinstance(finder, HoloscanImportHook) for finder in sys.meta_path):
        sys.meta_path.insert(0, HoloscanImportHook())
