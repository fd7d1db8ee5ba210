"""Moves a Python process's wall clock from outside: this directory on PYTHONPATH, a file's name in CHAOS_CLOCK.

The file has 8 bytes, a little-endian signed offset in nanoseconds, and may be written while the process runs. Only what
Python code reads is moved (`time.time`, `time.time_ns`), before anything else is imported; monotonic clocks stay as
they are, as when an administrator or NTP sets the time.
"""

import mmap
import os
import struct
import time

_OFFSET = struct.Struct("<q")


def _move(path: str) -> None:
    with open(path, "rb") as file:
        shared = mmap.mmap(file.fileno(), _OFFSET.size, access=mmap.ACCESS_READ)
    real = time.time_ns

    def time_ns() -> int:
        offset: int = _OFFSET.unpack_from(shared)[0]
        return real() + offset

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


if "CHAOS_CLOCK" in os.environ:
    _move(os.environ["CHAOS_CLOCK"])
