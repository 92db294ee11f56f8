"""How the C library deals with memory that is freed."""

from __future__ import annotations

import ctypes
import os

# Parameters of glibc's mallopt: how much free memory is kept, and what is mapped on its own.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 2**30


def keep_freed_memory() -> None:
    """Has the C library keep what one layer freed for the next, not map fresh pages each time.

    A classic network touches 140,000 fresh pages for one 64x64 tile otherwise. Only glibc has
    the setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
