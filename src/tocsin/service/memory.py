"""How much memory the process holds, and giving back what it does not need."""

import ctypes
import gc
import os
import sys
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["give_back", "keep_what_is_there", "resident_bytes", "settle"]

_STATM = Path("/proc/self/statm")
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
"""Parameters of glibc's `mallopt` (malloc.h)."""
_ARENAS: Final = 2
_LARGE: Final = 1 << 20
_TRIMMED: Final = 8 << 20


def resident_bytes() -> int:
    """Return the resident set in bytes; 0 where the system does not tell (no /proc)."""
    try:
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def settle() -> bool:
    """Have the C library give memory back as it is freed; return whether it can. To be called before threads start.

    Left alone, glibc raises the size from which a block is a mapping of its own up to 32 MiB as soon as one such block
    was freed; columns of some MiB then lie in the heap, between small blocks that stay, and leave holes. And each of
    the threads that write, encode and decode gets a heap of its own. What the environment says (`MALLOC_ARENA_MAX`,
    `MALLOC_MMAP_THRESHOLD_`, `GLIBC_TUNABLES`) goes before.
    """
    libc = _libc()
    if libc is None or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return False
    try:
        mallopt = libc.mallopt
    except AttributeError:
        return False  # another C library, or another allocator in its place
    wanted = ((_ARENA_MAX, _ARENAS), (_MMAP_THRESHOLD, _LARGE), (_TRIM_THRESHOLD, _TRIMMED))
    done = [mallopt(parameter, value) for parameter, value in wanted]  # each, whatever came of the others
    return all(done)


def keep_what_is_there() -> None:
    """Let the garbage collector pass over all objects that there are; to be called once a start is over.

    They are some hundred thousand, of modules for the most part, and each full collection would look through them
    while spans wait.
    """
    gc.freeze()
    gc.enable()


def give_back() -> None:
    """Return freed heap to the system where the C library can; the allocator keeps it otherwise."""
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


@cache
def _libc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL("libc.so.6")
    except OSError:
        return None  # musl's has another name, and none of this
