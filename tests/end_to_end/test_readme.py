"""The README does what it says: its example runs, and its commands and links exist."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from running_service import RunningService

from tocsin.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> dict[str, str]:
    """Return the fenced blocks that have a file's name."""
    found = re.findall(r"^```\w+ (\S+)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return dict(found)


def test_the_running_example_rings_at_the_terminal_and_at_the_webhook(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    parts = blocks(ROOT / "README.md")
    config = tmp_path / "quickstart.yaml"
    config.write_text(
        re.sub(r"127\.0\.0\.1:(?!9000)\d+", "127.0.0.1:0", parts["quickstart.yaml"]).replace("9000", str(port))
    )
    receive = tmp_path / "receive.py"
    receive.write_text(parts["receive.py"].replace("9000", str(port)))
    send = tmp_path / "send.py"
    with (
        RunningService(config) as service,
        subprocess.Popen(  # noqa: S603  # the README's own code
            [sys.executable, receive], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as receiver,
    ):
        try:
            send.write_text(parts["send.py"].replace("127.0.0.1:4317", service.addresses["grpc"]))
            subprocess.run([sys.executable, send], check=True, timeout=30)  # noqa: S603  # as above
            logged = service.wait_for_line("[CRITICAL] runaway-conversation")
            told = first_line(receiver)
        finally:
            receiver.kill()
    shown = re.search(r"^firing .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert shown
    assert told == shown[0]
    assert told.removeprefix("firing ") in logged


def first_line(process: "subprocess.Popen[str]") -> str:
    lines: list[str] = []
    assert process.stdout
    reader = threading.Thread(target=lambda stream: lines.append(stream.readline()), args=(process.stdout,))
    reader.start()
    reader.join(15)
    return lines[0].strip() if lines else ""


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
