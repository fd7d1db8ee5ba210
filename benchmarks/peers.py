"""Real programs that tests forward through and benchmarks compare with, built once and cached.

`make peers` builds the OpenTelemetry Collector with its own builder, and Prometheus' PromQL engine as a program that
answers questions, both through the Go module proxy. A build is cached under a hash of what it is made of, so another
component list is another binary and neither replaces the other. PostgreSQL is the system's, or Debian's packages
unpacked beside the collector, which needs no root; so is Chromium (`browser.py`). Kafka's jars come through Maven
(`broker.py`). `TOCSIN_PEERS` names another directory than `.peers`, for machines that share a cache.
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

__all__ = [
    "COLLECTOR_CONFIGS",
    "PeerBuildError",
    "collector_path",
    "in_ci",
    "locked",
    "main",
    "peers_directory",
    "postgres_environment",
    "postgres_path",
    "promql_path",
    "step",
    "without",
]

COLLECTOR_CONFIGS = Path(__file__).parent / "peers"
"""Configurations of the collector that benchmarks use; `collector-builder.yaml` lists its components."""

_PROMQL_SOURCE = COLLECTOR_CONFIGS / "promql"
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
    with locked(peers_directory() / "collector.lock"):
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


def promql_path() -> Path | None:
    """Return the program that answers with Prometheus' own PromQL engine, or None if it is not built."""
    binary = _promql_binary()
    return binary if os.access(binary, os.X_OK) else None


def build_promql() -> Path:
    """Build Prometheus' PromQL engine unless it is there; return the program's path.

    Raises:
        PeerBuildError: the build failed.
    """
    peers_directory().mkdir(parents=True, exist_ok=True)
    with locked(peers_directory() / "promql.lock"):
        built = promql_path()
        if built is None:
            building = _promql_binary().with_suffix(".building")
            step(["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(building), "."], _PROMQL_SOURCE, {})
            # A rename, so that no one ever finds half a binary under the final name.
            built = building.replace(_promql_binary())
        return built


def postgres_path() -> Path | None:
    """Return the directory of PostgreSQL's programs (`initdb`, `postgres`), the newest there is, or None."""
    found = [
        path.parent
        for root in (Path("/"), _postgres_directory())
        for path in root.glob("usr/lib/postgresql/*/bin/postgres")
        if os.access(path, os.X_OK) and (path.parent / "initdb").exists()
    ]
    return max(found, key=lambda path: float(path.parent.name), default=None)


def postgres_environment() -> dict[str, str]:
    """Return the environment for PostgreSQL's programs: those that were unpacked find their libraries here."""
    libraries = [str(path) for path in _postgres_directory().glob("usr/lib/*-linux-gnu*")]
    if not libraries:
        return dict(os.environ)
    return {**os.environ, "LD_LIBRARY_PATH": ":".join([*libraries, os.environ.get("LD_LIBRARY_PATH", "")]).rstrip(":")}


def unpack_postgres() -> Path:
    """Unpack Debian's PostgreSQL unless one is there; return the directory of its programs.

    Raises:
        PeerBuildError: a step failed.
    """
    peers_directory().mkdir(parents=True, exist_ok=True)
    with locked(peers_directory() / "postgresql.lock"):
        present = postgres_path()
        if present is not None:
            return present
        with tempfile.TemporaryDirectory(prefix="unpack-", dir=peers_directory()) as work:
            depends = step(["apt-cache", "depends", "postgresql"], Path(work), {})
            version = re.search(r"Depends: postgresql-(\d+)", depends)
            if version is None:
                raise PeerBuildError("apt knows no postgresql; run `apt-get update` as root, or install PostgreSQL")
            packages = [f"postgresql-{version[1]}", f"postgresql-client-{version[1]}", "libpq5"]
            step(["apt-get", "download", *packages], Path(work), {})
            for package in Path(work).glob("*.deb"):
                step(["dpkg", "-x", str(package), str(Path(work) / "root")], Path(work), {})
            (Path(work) / "root").replace(_postgres_directory())
    unpacked = postgres_path()
    if unpacked is None:
        raise PeerBuildError("Debian's packages have no postgres where it is looked for; install PostgreSQL")
    return unpacked


def _postgres_directory() -> Path:
    return peers_directory() / "postgresql"


def main() -> int:
    """Build what is missing and say what there is; return the exit code."""
    from benchmarks import broker, browser, deployment  # here, for they build on this module

    provided = [_provide_collector(), _provide_promql(), _provide_postgres()]
    return max(*provided, browser.provide_chromium(), broker.provide_kafka(), deployment.provide_deployment())


def _provide_postgres() -> int:
    present = postgres_path()
    if present is None and (shutil.which("apt-get") is None or shutil.which("dpkg") is None):
        print("peers: no PostgreSQL, and no apt-get to fetch it with; install PostgreSQL and run `make peers` again.")
        return without("tests of the database run on SQLite alone.")
    try:
        programs = present or unpack_postgres()
        version = step([str(programs / "postgres"), "--version"], peers_directory(), postgres_environment())
    except PeerBuildError as error:
        print(f"peers: {error}", file=sys.stderr)
        return without("tests of the database run on SQLite alone.")
    print(f"peers: {version.strip()}: {programs}")
    return 0


def without(consequence: str) -> int:
    """Say what a missing peer means, and return the exit code of that."""
    if in_ci():
        print("peers: CI is set, and CI does without no peer, so this is a failure.")
        return 1
    print(f"peers: {consequence}")
    return 0


def _provide_collector() -> int:
    built = collector_path()
    if built is None and shutil.which("go") is None:
        print("peers: no collector: Go is not on PATH; install Go 1.26 or later and run `make peers` again.")
        return without("tests marked `peer` are skipped, benchmarks leave the collector's column empty.")
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


def _provide_promql() -> int:
    built = promql_path()
    if built is None and shutil.which("go") is None:
        print("peers: no PromQL engine: Go is not on PATH; install Go 1.26 or later and run `make peers` again.")
        return without("expressions are not compared with Prometheus.")
    try:
        built = built or build_promql()
    except PeerBuildError as error:
        print(f"peers: {error}", file=sys.stderr)
        return 1
    print(f"peers: Prometheus' PromQL engine: {built}")
    return 0


def _compile(work: Path) -> None:
    tools = work / "tools"
    step(["go", "install", _BUILDER_MODULE], work, {"GOBIN": str(tools)})
    shutil.copy(_BUILDER_FILE, work / "builder.yaml")
    # The builder writes the sources only: its own `go mod tidy` also wants what the components' tests import,
    # and some of that is not in every proxy. The build resolves what the binary itself imports; checksums are
    # verified as ever.
    generate = [str(tools / "builder"), "--config=builder.yaml", "--skip-get-modules", "--skip-compilation"]
    step(generate, work, {})
    source = work / "src"
    (source / "go.mod").unlink(missing_ok=True)
    step(["go", "mod", "init", _BUILT_NAME], source, {})
    modules = [_CORE_MODULE, *("@".join(found) for found in _GOMOD.findall(_BUILDER_FILE.read_text()))]
    step(["go", "mod", "edit", *(f"-require={module}" for module in modules)], source, {})
    step(["go", "build", "-mod=mod", "-trimpath", "-ldflags=-s -w", "-o", _BUILT_NAME, "."], source, {})
    if not (work / "src" / _BUILT_NAME).exists():
        raise PeerBuildError(f"the collector's builder ended well but left no {_BUILT_NAME} in its output_path")


def step(command: list[str], work: Path, extra: dict[str, str]) -> str:
    """Run one step of a build, and return what it said.

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
    return done.stdout


def _promql_binary() -> Path:
    digest = hashlib.sha256()
    for file in sorted(_PROMQL_SOURCE.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return peers_directory() / f"promql-{digest.hexdigest()[:12]}"


def _collector_directory() -> Path:
    made_of = f"{_BUILDER_MODULE} {_CORE_MODULE}\n".encode() + _BUILDER_FILE.read_bytes()
    return peers_directory() / f"collector-{hashlib.sha256(made_of).hexdigest()[:12]}"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes that want the same peer waiting at this file."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
