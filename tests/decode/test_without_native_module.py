"""The Rust module is optional: without it bytes become the same columns and the same alerts, only slower."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tocsin.decode import NATIVE

PROGRAM = Path(__file__).parent / "whole_path.py"


def told(mode: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, PROGRAM, mode], capture_output=True, text=True, check=False)  # noqa: S603  # ours
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_alerts_fire_without_the_native_module() -> None:
    hidden = told("hidden")
    assert hidden["uses"] == ["reference", "NumpyIndex"]
    events = [event for moment in hidden["said"] for event in moment[3:]]
    for rule in ("spend", "errors", "slow", "talk", "trace"):
        assert any(f"name: '{rule}'" in event for event in events), rule


@pytest.mark.skipif(not NATIVE, reason="the native module was not built")
def test_columns_and_alerts_are_the_same_with_and_without_the_native_module() -> None:
    native, hidden = told("native"), told("hidden")
    assert native["uses"] == ["native", "NativeIndex"]
    assert native["said"] == hidden["said"]
