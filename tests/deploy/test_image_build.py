"""The Dockerfile's first stage, run on this machine: what it copies is enough to build and install Tocsin from."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def stage(name: str) -> list[tuple[str, str]]:
    """Return the instructions of a stage of the Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "deploy" / "Dockerfile").read_text(), flags=re.MULTILINE)
    found = re.search(rf"^FROM \S+ AS {name}\n(.*?)^FROM ", re.sub(r"\\\n", " ", text), re.DOTALL | re.MULTILINE)
    assert found
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in found[1].splitlines() if line.strip()]


@pytest.mark.slow
def test_what_the_image_is_built_of_is_the_whole_of_tocsin(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    ignored = shutil.ignore_patterns("target", "__pycache__", "*.egg-info", "*.so")  # as .dockerignore says
    [_, *runs] = [words for instruction, words in stage("build") if instruction == "RUN"]  # the first installs cargo
    for instruction, words in stage("build"):
        if instruction == "COPY":
            *names, target = words.split()
            for name in names:
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, source / target, ignore=ignored)
                else:
                    shutil.copy2(ROOT / name, source / target)
    places = {"/wheels": f"{tmp_path}/wheels", "/opt/tocsin": f"{tmp_path}/opt"}
    environ = {
        **os.environ,
        # Mostly without cargo: compiling the Rust module takes half a minute, and `make smoke` does it.
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "EXTRAS": "postgres",
        # What the registry would be asked for is in this environment already.
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_NO_DEPS": "1",
        "CARGO_TARGET_DIR": str(ROOT / "native" / "target"),
    }
    for run in runs:
        command = re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], run)
        done = subprocess.run(  # noqa: S603  # the Dockerfile's own
            ["/bin/sh", "-ec", command],
            cwd=source,
            env=environ,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "opt" / "bin" / "pip").exists()
    installed = next((tmp_path / "opt").glob("lib/python*/site-packages"))
    for file in (source / "src" / "tocsin").rglob("*"):
        if file.is_file() and file.suffix in {".py", ".json", ".yaml", ".html", ".css", ".js", ".svg", ".txt", ".zst"}:
            assert (installed / file.relative_to(source / "src")).exists(), f"{file} is not in the image"
    libraries = f"{installed}:{sysconfig.get_path('purelib')}"
    asked = subprocess.run(  # noqa: S603
        [tmp_path / "opt" / "bin" / "tocsin", "check", ROOT / "deploy" / "compose" / "tocsin" / "config.yaml"],
        env={**os.environ, "PYTHONPATH": libraries},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
