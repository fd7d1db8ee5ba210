"""The page on security names tests that exist, and what a process does for itself works."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()


def test_every_test_that_the_page_names_exists() -> None:
    written = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"def (test_\w+)\(", written))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 40
    assert named <= defined, named - defined


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_the_process_leaves_no_core_dump() -> None:
    code = (
        "import ctypes, resource\n"
        "from tocsin.security.process import keep_memory_private\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)\n"
        "before = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)\n"
        "keep_memory_private()\n"
        "print(before, ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)  # noqa: S603
    assert told.stdout.split() == ["1", "0", "0", "0"]
