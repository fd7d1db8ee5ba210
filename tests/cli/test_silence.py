import asyncio
import json
from pathlib import Path

from typer.testing import CliRunner

from tocsin.cli import app
from tocsin.storage.config import StorageConfig
from tocsin.storage.database import Database


def run(tmp_path: Path, *words: str) -> tuple[int, str]:
    config = tmp_path / "config.yaml"
    config.write_text(f"rules: []\nstorage: {{directory: '{tmp_path / 'data'}'}}\n")
    result = CliRunner().invoke(app, ["silence", *words, "--config", str(config)])
    return result.exit_code, result.output


def make_database(tmp_path: Path) -> None:
    async def make() -> None:
        async with Database(StorageConfig(directory=tmp_path / "data")):
            pass

    asyncio.run(make())


def test_a_silence_is_added_listed_and_ended(tmp_path: Path) -> None:
    make_database(tmp_path)
    code, output = run(
        tmp_path, "add", 'team="a"', "severity=~low|medium", "--for", "2h", "--comment", "x\ny", "--by", "ann", "--json"
    )
    assert code == 0, output
    [made] = json.loads(output)
    assert made["matchers"] == ['team="a"', 'severity=~"low|medium"']
    assert (made["state"], made["created_by"], made["comment"]) == ("active", "ann", "x\ny")
    code, output = run(tmp_path, "list")
    assert f"{made['id']} active until " in output
    assert "by ann: x\\ny\n1 silence\n" in output
    code, output = run(tmp_path, "expire", made["id"], "--by", "bob", "--json")
    assert (code, json.loads(output)[0]["ended_by"]) == (0, "bob")
    assert run(tmp_path, "list")[1] == "0 silences\n"
    assert "expired" in run(tmp_path, "list", "--all")[1]
    code, output = run(tmp_path, "expire", made["id"])
    assert code == 1
    assert "no such silence, or it is over" in output


def test_what_makes_no_silence_is_said(tmp_path: Path) -> None:
    assert "has the service run here?" in run(tmp_path, "list")[1]
    make_database(tmp_path)
    assert "name at least one matcher" in run(tmp_path, "add")[1]
    assert "is no matcher" in run(tmp_path, "add", "team")[1]
    assert "is no duration" in run(tmp_path, "add", "team=a", "--for", "soon")[1]
    assert "at most a year" in run(tmp_path, "add", "team=a", "--for", "0s")[1]
    assert "which one?" in run(tmp_path, "expire")[1]
    assert run(tmp_path, "list")[1] == "0 silences\n"
