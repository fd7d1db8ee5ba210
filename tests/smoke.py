"""Builds the wheel and uses it as a user would: in an environment of its own, far from the source tree.

Run by `make smoke`. It takes what the wheel says it needs from the package index, so a dependency that is not declared
is found here; and it runs where src/ is not, so a file that is not packaged is found too.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGED = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "src", "native", "config.example.yaml")
IGNORED = shutil.ignore_patterns("target", "__pycache__", "*.egg-info", "*.so")


def main() -> None:
    """Build, install, use."""
    with tempfile.TemporaryDirectory(prefix="tocsin-smoke-") as name:
        directory = Path(name)
        wheel = build(directory / "source", directory / "dist")
        python = install(wheel, directory / "venv")
        use(python, directory)
    say("the wheel works")


def build(source: Path, dist: Path) -> Path:
    """Return the wheel of a copy of the source tree; a copy, so that nothing stale is packaged."""
    source.mkdir()
    for part in PACKAGED:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, source / part, ignore=IGNORED)
        elif (ROOT / part).exists():
            shutil.copy2(ROOT / part, source / part)
    compiled = {"CARGO_TARGET_DIR": str(ROOT / "native" / "target")}  # compiling again would take a minute
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", dist, source, env=compiled)
    [wheel] = dist.glob("*.whl")
    return wheel


def install(wheel: Path, environment: Path) -> Path:
    """Return the Python of a new environment with the wheel and what it needs."""
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    return python


def use(python: Path, directory: Path) -> None:
    """Run the commands, and the service with one request."""
    tocsin = python.with_name("tocsin")
    where = run(python, "-c", "import tocsin; print(tocsin.__file__)", cwd=directory)
    expect(str(directory) in where, f"tocsin comes from {where}, not from the wheel")
    if shutil.which("cargo"):
        run(python, "-c", "from tocsin import decode; assert decode.NATIVE", cwd=directory)
    expect(run(tocsin, "--version", cwd=directory).startswith("tocsin "), "no version")
    example = shutil.copy2(ROOT / "config.example.yaml", directory)
    run(tocsin, "check", example, cwd=directory)
    config = directory / "free-ports.yaml"
    config.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:0", Path(example).read_text()))
    serve(tocsin, config, directory)


def serve(tocsin: Path, config: Path, directory: Path) -> None:
    """Start the service, send it a span, and stop it."""
    command = [str(tocsin), "serve", "--config", str(config)]
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, text=True)  # noqa: S603  # ours
    try:
        assert process.stdout is not None
        ready = process.stdout.readline().strip()
        expect(" ready in " in ready, "the service did not start")
        say(ready)
        address = dict(re.findall(r"(grpc|http|api) ([\d.]+:\d+)", ready))
        sent = post(f"http://{address['http']}/v1/traces", one_call())
        expect(not sent.get("partialSuccess"), f"the span was not taken: {sent}")
        with urllib.request.urlopen(f"http://{address['api']}/metrics", timeout=10) as answer:
            expect(b'tocsin_spans_received_total{transport="http"} 1.0' in answer.read(), "the span is not counted")
        process.send_signal(signal.SIGTERM)
        expect(process.wait(20) == 0, f"it ended with {process.returncode}")
    finally:
        process.kill()
        process.wait()


def one_call() -> dict[str, object]:
    """Return an OTLP/JSON request with one model call."""
    now = time.time_ns()
    span = {
        "traceId": os.urandom(16).hex(),
        "spanId": os.urandom(8).hex(),
        "name": "chat gpt-4o",
        "kind": 3,
        "startTimeUnixNano": str(now - 10**9),
        "endTimeUnixNano": str(now),
        "attributes": [
            {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
            {"key": "gen_ai.request.model", "value": {"stringValue": "gpt-4o"}},
            {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "1000"}},
        ],
    }
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": [span]}]}]}


def post(url: str, body: dict[str, object]) -> dict[str, object]:
    """Return the JSON answer."""
    request = urllib.request.Request(  # noqa: S310  # our own address
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        parsed: dict[str, object] = json.loads(answer.read() or b"{}")
        return parsed


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Return what a command writes; ends this program if it fails."""
    say("$ " + " ".join(map(str, command)))
    ended = subprocess.run(  # noqa: S603  # our own commands
        command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, text=True, check=False
    )
    expect(ended.returncode == 0, f"it ended with {ended.returncode}: {ended.stdout}")
    return ended.stdout.strip()


def expect(holds: bool, otherwise: str) -> None:
    """End this program unless it holds."""
    if not holds:
        sys.exit(f"smoke: {otherwise}")


def say(line: str) -> None:
    """Tell what happens."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
