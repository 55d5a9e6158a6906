"""Makes the C library's allocator keep the memory that a network's layers free.

glibc gives blocks over 32 MiB back to the kernel when they are freed, and fetches them again, page by page and
zeroed, for the next layer: a third to a half of the CPU time of super-resolution.
"""

from __future__ import annotations

import ctypes
import sys

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> None:
    """Reuse freed blocks of any size instead of giving them back. Where the C library is not glibc, nothing changes.

    Threads started later share one arena: those of their own cannot hold large blocks.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
        mallopt(_M_ARENA_MAX, 1)
