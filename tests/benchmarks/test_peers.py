"""`make peers` where it can build nothing: an explanation for people, a failure for CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import peers


@pytest.mark.parametrize(("ci", "code", "said"), [("", 0, "are skipped"), ("true", 1, "this is a failure")])
def test_without_go_only_ci_fails(ci: str, code: int, said: str, tmp_path: Path) -> None:
    nothing = {"TOCSIN_PEERS": str(tmp_path), "PATH": str(tmp_path), "PIP_NO_INDEX": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers"],
        cwd=Path(peers.__file__).parents[1],
        env={**os.environ, **nothing, "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert "install Go 1.26" in done.stdout
    assert said in done.stdout


def test_a_directory_without_a_build_has_no_collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_PEERS", str(tmp_path))
    assert peers.collector_path() is None


def test_another_component_list_is_another_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = peers._collector_directory()
    other = tmp_path / "builder.yaml"
    other.write_text(peers._BUILDER_FILE.read_text() + "# changed\n")
    monkeypatch.setattr(peers, "_BUILDER_FILE", other)
    assert peers._collector_directory() != before
