"""Arguments, exit codes, and what is not imported before it is used."""

import re
import subprocess
import sys

import pytest

from tocsin import __version__
from tocsin.cli import COMMANDS


def tocsin(*arguments: str, seconds: float = 30) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603  # our own command
        [sys.executable, "-m", "tocsin", *arguments], capture_output=True, text=True, timeout=seconds, check=False
    )


def test_version_is_printed() -> None:
    assert tocsin("--version").stdout == f"tocsin {__version__}\n"


def test_help_lists_every_command() -> None:
    ended = tocsin("--help")
    assert ended.returncode == 0
    for command, (_, summary) in COMMANDS.items():
        assert re.search(rf"^  {command} +{re.escape(summary)}$", ended.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    ended = tocsin(command, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"Usage: python -m tocsin {command} ")


def test_help_imports_neither_numpy_nor_grpc_nor_fastapi() -> None:
    code = (
        "import sys; sys.argv = ['tocsin', '--help']\n"
        "from tocsin.cli import main\n"
        "try: main()\n"
        "except SystemExit: print([m for m in ('numpy', 'grpc', 'fastapi', 'rich') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert ended.stdout.endswith("[]\n")


def test_a_command_that_does_not_exist_is_a_usage_error() -> None:
    ended = tocsin("explode")
    assert ended.returncode == 2
    assert "No such command 'explode'" in ended.stderr


def test_a_configuration_file_that_does_not_exist_is_a_usage_error() -> None:
    ended = tocsin("serve", "--config", "nowhere.yaml")
    assert ended.returncode == 2
    assert "nowhere.yaml" in ended.stderr


@pytest.mark.slow
def test_the_demo_tells_its_story_without_a_terminal() -> None:
    ended = tocsin("demo", "--speed", "30", seconds=55)
    assert ended.returncode == 0, ended.stderr
    rings = re.findall(r"^(\S+)  RING  \[(\w+)\]", ended.stdout, re.MULTILINE)
    assert [severity for _, severity in rings] == ["critical", "high", "medium"]
    assert re.search(r"240 calls of about \$4\.\d\d each, \$1,0\d\d\.\d\d in 85 seconds", ended.stdout)
    assert re.search(r"It rang at \$27\.18, after 7 calls, [\d.]+ ms after", ended.stdout)
    assert '"event": "firing"' in ended.stdout
    assert "\x1b" not in ended.stdout
