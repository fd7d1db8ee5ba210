"""Puts the directory above on the path, as pytest does: modules that all tests share are there. Imported first."""

import sys
from pathlib import Path

__all__: list[str] = []

_TESTS = str(Path(__file__).resolve().parents[1])
if _TESTS not in sys.path:
    sys.path.insert(1, _TESTS)
