"""The README does what it says: its example runs, and its commands and links exist."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import published_schema
import pytest

from tocsin.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> dict[str, str]:
    """Return the fenced blocks that have a file's name."""
    found = re.findall(r"^```\w+ (\S+)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return dict(found)


def commands(page: Path) -> list[str]:
    """Return the lines that a reader types, in their order."""
    blocks = re.findall(r"^```console\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in re.findall(r"^\$ (.+)$", block, re.MULTILINE)]


def test_the_running_example_rings_at_the_terminal_and_in_slack_s_format(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    parts, typed = blocks(ROOT / "README.md"), commands(ROOT / "README.md")
    ports = {port: str(free_port()) for port in ("4317", "4318", "8417", "9000")}
    for name, text in parts.items():
        (tmp_path / name).write_text(re.sub("|".join(ports), lambda found: ports[found[0]], text))
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text(f'PATH="{Path(sys.executable).parent}:$PATH"')
    received = tmp_path / "slack.json"
    serve, receive, send = (one for one in typed if one.split()[-1] in parts)
    assert typed.count(". .venv/bin/activate") == 3
    # What Slack gets is more than its first line, which is all that the reader is shown.
    kept = (
        (tmp_path / "receive.py")
        .read_text()
        .replace("print(", f"open({str(received)!r}, 'w').write(json.dumps(message)); print(")
    )
    (tmp_path / "receive.py").write_text(kept)
    with typing(receive, tmp_path) as receiver, typing(serve, tmp_path) as service:
        assert line_with(service, " ready in ")
        with typing(send, tmp_path) as application:
            assert application.wait(30) == 0
        logged = line_with(service, "[CRITICAL] runaway-conversation")
        told = line_with(receiver, "[CRITICAL]")
    shown = re.search(r"^\[CRITICAL\] .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert shown
    assert told == shown[0]
    assert told in logged
    published_schema.check(json.loads(received.read_text()), "slack-message")


@contextmanager
def typing(command: str, directory: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run what a reader types, in a terminal of its own."""
    environ = {name: value for name, value in os.environ.items() if name != "SLACK_WEBHOOK_URL"}
    with subprocess.Popen(  # noqa: S603  # the README's own
        ["/bin/sh", "-c", f". .venv/bin/activate; exec {command}"],
        cwd=directory,
        env={**environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def line_with(process: "subprocess.Popen[str]", text: str) -> str:
    """Return the first line with a text that a program writes from now on."""
    assert process.stdout
    return next((line.strip() for line in process.stdout if text in line), "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_and_links_of_a_page_exist(page: Path) -> None:
    text = page.read_text()
    for command in re.findall(r"`tocsin ([a-z][a-z-]*)", text):
        assert command in COMMANDS, f"{page.name}: tocsin {command}"
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"(?:`|\$ )make ([a-z-]+)", text):
        assert target in targets, f"{page.name}: make {target}"
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), f"{page.name}: {link}"
