"""The examples with OpenAI's client and with LangChain themselves, as a user tries them."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.deployment import clients_path
from benchmarks.peers import in_ci

EXAMPLE = Path(__file__).parents[2] / "examples" / "guard" / "try.py"
BEHIND = "import runpy, sys; sys.path.append(sys.argv[1]); runpy.run_path(sys.argv[2], run_name='__main__')"
"""Behind what is installed: the processes that the example starts know Tocsin's own libraries alone."""


@pytest.mark.slow
@pytest.mark.peer
def test_each_library_answers_and_is_refused_what_is_blocked() -> None:
    clients = clients_path()
    if clients is None:
        assert not in_ci(), "CI has the libraries: `make peers`"
        pytest.skip("no OpenAI client and no LangChain here: `make peers` fetches them")
    tried = subprocess.run(  # noqa: S603  # the example
        [sys.executable, "-c", BEHIND, clients, EXAMPLE], capture_output=True, text=True, timeout=120, check=False
    )
    assert tried.returncode == 0, tried.stdout + tried.stderr
    for library in ("openai", "langchain_openai"):
        assert f"{library}: the call was answered; blocked, it was refused" in tried.stdout
