"""The allocator's settings: columns of some MiB leave no holes behind between small blocks that stay."""

import os
import subprocess
import sys

import pytest

_LEFT = """
import sys
import numpy as np
from tocsin.service import memory
settled = memory.settle() if sys.argv[1] == "settle" else False
np.ones(1 << 21)  # freed at once: from here on glibc would take blocks of this size from the heap
before = memory.resident_bytes()
columns, kept = [], []
for _ in range(60):
    columns.append(np.ones(1 << 18))
    kept.append(bytearray(200_000))
columns.clear()
print(int(settled), memory.resident_bytes() - before)
"""
_MIB = 1 << 20


def left(how: str, **environment: str) -> tuple[bool, int]:
    """Return whether the allocator was set, and the bytes that are held: 12 MiB, and what 120 of columns left."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run(  # noqa: S603  # our own interpreter
        [sys.executable, "-c", _LEFT, how],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    settled, held = done.stdout.split()
    return bool(int(settled)), int(held)


def test_columns_that_are_freed_go_back_to_the_system_although_small_blocks_stay() -> None:
    settled, held = left("settle")
    if not settled:
        pytest.skip("the C library is not glibc")
    assert held < 20 * _MIB
    _, without = left("leave")
    assert without > 64 * _MIB, "else the settings are not needed any more"


def test_what_the_environment_says_goes_before() -> None:
    settled, _ = left("settle", MALLOC_ARENA_MAX="4")
    assert not settled
