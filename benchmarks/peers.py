"""Real programs that tests forward through and benchmarks compare with, built once and cached.

`make peers` builds the OpenTelemetry Collector with its own builder, through the Go module proxy. A build is
cached under a hash of what it is made of, so another component list is another binary and neither replaces
the other. `TOCSIN_PEERS` names another directory than `.peers`, for machines that share a cache.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["COLLECTOR_CONFIGS", "PeerBuildError", "collector_path", "in_ci", "main", "peers_directory"]

COLLECTOR_CONFIGS = Path(__file__).parent / "peers"
"""Configurations of the collector that benchmarks use; `collector-builder.yaml` lists its components."""

_BUILDER_FILE = COLLECTOR_CONFIGS / "collector-builder.yaml"
_BUILDER_MODULE = "go.opentelemetry.io/collector/cmd/builder@v0.155.0"
_CORE_MODULE = "go.opentelemetry.io/collector/otelcol@v0.155.0"  # what the builder's main.go stands on
_GOMOD = re.compile(r"^  - gomod: (\S+) (v\S+)$", re.MULTILINE)
_BUILT_NAME = "otelcol-peer"  # dist.name in the builder file
_BUILD_SECONDS = 45 * 60


class PeerBuildError(Exception):
    """A peer could not be built; the text says which step failed and its last words."""


def in_ci() -> bool:
    """Return whether a missing peer is a failure: CI sets `CI`, people's machines do not."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def peers_directory() -> Path:
    """Return where peers are kept: `TOCSIN_PEERS`, else `.peers` beside this project's pyproject.toml."""
    configured = os.environ.get("TOCSIN_PEERS")
    return Path(configured).resolve() if configured else Path(__file__).resolve().parent.parent / ".peers"


def collector_path() -> Path | None:
    """Return the collector that was built from the present component list, or None if there is none."""
    binary = _collector_directory() / _BUILT_NAME
    return binary if os.access(binary, os.X_OK) else None


def build_collector() -> Path:
    """Build the collector unless it is there; return its path. Two callers at once build it once.

    Raises:
        PeerBuildError: a step failed.
    """
    peers_directory().mkdir(parents=True, exist_ok=True)
    with _locked(peers_directory() / "collector.lock"):
        built = collector_path()
        if built is not None:
            return built
        with tempfile.TemporaryDirectory(prefix="build-", dir=peers_directory()) as work:
            _compile(Path(work))
            _collector_directory().mkdir(exist_ok=True)
            target = _collector_directory() / _BUILT_NAME
            # A rename, so that no one ever finds half a binary under the final name.
            (Path(work) / "src" / _BUILT_NAME).replace(target)
            return target


def main() -> int:
    """Build what is missing and say what there is; return the exit code."""
    built = collector_path()
    if built is None and shutil.which("go") is None:
        print("peers: no collector: Go is not on PATH; install Go 1.26 or later and run `make peers` again.")
        if in_ci():
            print("peers: CI is set, and CI does without no peer, so this is a failure.")
        else:
            print("peers: tests marked `peer` are skipped, benchmarks leave the collector's column empty.")
        return 1 if in_ci() else 0
    if built is None:
        print(f"peers: building the collector in {_collector_directory()}; this takes minutes, once", flush=True)
        try:
            built = build_collector()
        except PeerBuildError as error:
            print(f"peers: {error}", file=sys.stderr)
            return 1
    version = subprocess.run([built, "--version"], capture_output=True, text=True, timeout=60, check=True)
    print(f"peers: {version.stdout.strip()}: {built}")
    return 0


def _compile(work: Path) -> None:
    tools = work / "tools"
    _step(["go", "install", _BUILDER_MODULE], work, {"GOBIN": str(tools)})
    shutil.copy(_BUILDER_FILE, work / "builder.yaml")
    # The builder writes the sources only: its own `go mod tidy` also wants what the components' tests import,
    # and some of that is not in every proxy. The build resolves what the binary itself imports; checksums are
    # verified as ever.
    generate = [str(tools / "builder"), "--config=builder.yaml", "--skip-get-modules", "--skip-compilation"]
    _step(generate, work, {})
    source = work / "src"
    (source / "go.mod").unlink(missing_ok=True)
    _step(["go", "mod", "init", _BUILT_NAME], source, {})
    modules = [_CORE_MODULE, *("@".join(found) for found in _GOMOD.findall(_BUILDER_FILE.read_text()))]
    _step(["go", "mod", "edit", *(f"-require={module}" for module in modules)], source, {})
    _step(["go", "build", "-mod=mod", "-trimpath", "-ldflags=-s -w", "-o", _BUILT_NAME, "."], source, {})
    if not (work / "src" / _BUILT_NAME).exists():
        raise PeerBuildError(f"the collector's builder ended well but left no {_BUILT_NAME} in its output_path")


def _step(command: list[str], work: Path, extra: dict[str, str]) -> None:
    """Run one step of a build.

    Raises:
        PeerBuildError: it failed, or took longer than any sane build.
    """
    try:
        done = subprocess.run(
            command,
            cwd=work,
            env={**os.environ, "CGO_ENABLED": "0", **extra},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PeerBuildError(f"`{' '.join(command)}` took longer than {_BUILD_SECONDS // 60} minutes") from error
    if done.returncode != 0:
        last = "\n".join(done.stdout.splitlines()[-20:])
        raise PeerBuildError(f"`{' '.join(command)}` ended with {done.returncode}; its last words:\n{last}")


def _collector_directory() -> Path:
    made_of = f"{_BUILDER_MODULE} {_CORE_MODULE}\n".encode() + _BUILDER_FILE.read_bytes()
    return peers_directory() / f"collector-{hashlib.sha256(made_of).hexdigest()[:12]}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
