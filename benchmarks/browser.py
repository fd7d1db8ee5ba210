"""Chromium for the tests of the page: the machine's own, or Debian's packages unpacked beside the other peers.

Debian's Chromium needs libraries that a server's image has not, so what apt would install besides is unpacked too:
no root is needed, nothing outside the directory of peers is changed, and the directory may be cached. A font of the
kind that desktops show comes along, so that pictures of the page look the same on every machine.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from benchmarks import peers

__all__ = ["chromium_environment", "chromium_path", "provide_chromium", "unpack_chromium"]

_ON_PATH: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PACKAGES: Final = ("chromium", "fonts-inter")
_INSTALLS: Final = re.compile(r"^Inst (\S+)", re.MULTILINE)  # one line of `apt-get install --simulate`

_FONTS: Final = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <dir>{unpacked}/usr/share/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir>{unpacked}/fonts-cache</cachedir>
  <alias binding="strong"><family>sans-serif</family><prefer><family>Inter</family></prefer></alias>
  <alias binding="strong"><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
</fontconfig>
"""


def chromium_path() -> Path | None:
    """Return Chromium's program: one on PATH, else the unpacked one, or None if there is neither."""
    for name in _ON_PATH:
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    return _unpacked_program()


def chromium_environment() -> dict[str, str]:
    """Return the environment for Chromium: an unpacked one finds its libraries and fonts in it."""
    root = _directory()
    if _unpacked_program() is None:
        return dict(os.environ)
    libraries = [
        str(path) for path in (*root.glob("usr/lib/*-linux-gnu*"), *root.glob("usr/lib/*-linux-gnu*/pulseaudio"))
    ]
    known = os.environ.get("LD_LIBRARY_PATH", "")
    return {
        **os.environ,
        "LD_LIBRARY_PATH": ":".join([*libraries, known]).rstrip(":"),
        "FONTCONFIG_FILE": str(root / "fonts.conf"),
    }


def unpack_chromium() -> Path:
    """Unpack Debian's Chromium, with what it needs and this machine lacks, unless it is there; return the program.

    Raises:
        PeerBuildError: a step failed.
    """
    peers.peers_directory().mkdir(parents=True, exist_ok=True)
    with peers.locked(peers.peers_directory() / "chromium.lock"):
        present = _unpacked_program()
        if present is not None and _version(present):
            return present
        # One that does not start was unpacked where more libraries were installed.
        shutil.rmtree(_directory(), ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="unpack-", dir=peers.peers_directory()) as work:
            _unpack_into(Path(work))
            (Path(work) / "root").replace(_directory())
        (_directory() / "fonts.conf").write_text(_FONTS.format(unpacked=_directory()))
    unpacked = _unpacked_program()
    if unpacked is None or not _version(unpacked):
        raise peers.PeerBuildError("Debian's Chromium was unpacked and does not start; install chromium")
    return unpacked


def provide_chromium() -> int:
    """Say which Chromium there is, unpacking it first where needed; return the exit code for `make peers`."""
    present = chromium_path()
    if present is None and (shutil.which("apt-get") is None or shutil.which("dpkg") is None):
        print("peers: no Chromium, and no apt-get to fetch it with; install Chromium and run `make peers` again.")
        return peers.without("the page is not tested in a browser.")
    try:
        program = present if present is not None and _version(present) else unpack_chromium()
    except peers.PeerBuildError as error:
        print(f"peers: {error}")
        return peers.without("the page is not tested in a browser.")
    print(f"peers: {_version(program)}: {program}")
    return 0


def _unpack_into(work: Path) -> None:
    try:
        _download(work)
    except peers.PeerBuildError:
        if os.geteuid() != 0:
            raise
        peers.step(["apt-get", "update"], work, {})  # a fresh machine knows no packages, or only old ones
        _download(work)
    for package in work.glob("*.deb"):
        peers.step(["dpkg", "-x", str(package), str(work / "root")], work, {})


def _download(work: Path) -> None:
    wanted = peers.step(["apt-get", "install", "--simulate", "--no-install-recommends", *_PACKAGES], work, {})
    names = _INSTALLS.findall(wanted)
    if "chromium" not in names:
        raise peers.PeerBuildError("apt offers no chromium; run `apt-get update` as root, or install Chromium")
    peers.step(["apt-get", "download", *names], work, {})


def _unpacked_program() -> Path | None:
    program = _directory() / "usr/lib/chromium/chromium"
    return program if os.access(program, os.X_OK) else None


def _version(program: Path) -> str:
    """Return what the program calls itself; empty where it does not start."""
    try:
        asked = subprocess.run(
            [program, "--version"],
            env=chromium_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""


def _directory() -> Path:
    return peers.peers_directory() / "chromium"
