"""Every command of the page on the history runs as it is written."""

import re
import shlex
import sys
import time
from pathlib import Path

import duckdb
import pytest
from history_journals import batches_of, calls_of, record
from typer.testing import CliRunner

from tocsin.cli import app, main
from tocsin.history.config import HistoryConfig
from tocsin.history.recorded import note_recorded
from tocsin.rules.needs import needs_of
from tocsin.service.loading import load
from tocsin.storage.config import StorageConfig
from tocsin.storage.database import Database

PAGE = (Path(__file__).parents[2] / "docs" / "history.md").read_text()
COMMANDS = [
    line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE) for line in block.splitlines()
]


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which a service has run with the page's configuration."""
    [text] = re.findall(r"^```yaml tocsin.yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (tmp_path / "tocsin.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    loaded = load(tmp_path / "tocsin.yaml")
    now = time.time_ns()
    calls = calls_of([{"app.tier": "gold", "app.tenant.id": f"t{n % 2}"} for n in range(20)], at=now - 3600 * 10**9)
    await record(tmp_path / "data" / "journal", batches_of(loaded, [calls]))
    note_recorded(tmp_path / "data" / "journal", loaded.configuration.history.recording(), needs_of(loaded.rules), 1)
    async with Database(StorageConfig(directory=tmp_path / "data")):
        pass
    return tmp_path


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) == 7
    assert f"({HistoryConfig().max_attributes})" in PAGE


@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
def test_a_command_runs_as_it_is_written(place: Path, command: str) -> None:
    words = [word.replace("\\$", "$") for word in shlex.split(command)]
    assert words[0] == "tocsin"
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, result.output
    if "--format" not in words or "alerts" not in command:
        assert result.stdout
    if "sum(cost_usd) AS usd" in command:
        assert [line.split() for line in result.stdout.splitlines()] == [
            ["tenant", "calls", "usd"], ["------", "-----", "-----"], ["t0", "10", "0.035"], ["t1", "10", "0.035"],
        ]  # fmt: skip
    if "--partition" in words:
        [code] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
        query = code.split('("')[1].split('")')[0]
        assert duckdb.connect().execute(query).fetchall() == [("gpt-4o", pytest.approx(0.07))]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["query", "SELECT 1"], 2, "name the service's --config FILE, or the --directory"),
        (["query", "SELEC 1", "--directory", "data"], 1, "DuckDB says: Parser Error"),
        (["query", "SELECT 1 FROM spans", "--directory", "."], 1, "nothing is recorded there"),
        (["query", "SELECT 1 FROM spans", "--directory", "data", "--from", "soon"], 1, "'soon' is no time"),
        (["export", "--output", "o.parquet", "--directory", "data", "--partition", "day"], 1, "name a directory"),
    ],
)
def test_a_mistake_is_one_message(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["tocsin", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == code
    said = capsys.readouterr().err
    assert message in re.sub(r"\s+", " ", said.replace("│", " "))
    assert "Traceback" not in said


def test_a_terminal_is_told_nothing_that_it_would_obey(place: Path) -> None:
    result = CliRunner().invoke(
        app, ["query", "SELECT chr(27) || '[2J' AS a, repeat('x', 100) AS b", "--directory", "data"]
    )
    assert "\x1b" not in result.stdout
    assert "x" * 59 + "…" in result.stdout
