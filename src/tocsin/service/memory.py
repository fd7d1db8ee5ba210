"""How much memory the process holds, and giving back what it does not need."""

import ctypes
import ctypes.util
import os
import sys
from functools import cache
from pathlib import Path

__all__ = ["give_back", "resident_bytes"]

_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Return the resident set in bytes; 0 where the system does not tell (no /proc)."""
    try:
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def give_back() -> None:
    """Return freed heap to the system where the C library can; the allocator keeps it otherwise."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> "ctypes._NamedFuncPointer | None":
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None  # musl has none
