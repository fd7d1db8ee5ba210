"""`tocsin dead-letters` on a database that a service left."""

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tocsin.cli.dead_letters import dead_letters
from tocsin.notify.history import Outcome
from tocsin.notify.sample import sample_event
from tocsin.storage.config import StorageConfig
from tocsin.storage.database import Database

app = typer.Typer()
app.command("dead-letters")(dead_letters)
AT = 1_767_669_250_000_000_000


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(f"storage: {{directory: '{tmp_path / 'data'}'}}\ncontact_points: {{hook: {{type: log}}}}\n")
    return path


@pytest.fixture
def left(tmp_path: Path) -> list[str]:
    """Three dead letters, one of a contact point that is no more."""
    events = [dataclasses.replace(sample_event("hook", AT), id=f"evt_{number:032x}") for number in range(3)]

    async def leave() -> None:
        async with Database(StorageConfig(directory=tmp_path / "data")) as database:
            for number, event in enumerate(events):
                name = "gone" if number == 2 else "hook"
                database.accepted(name, event, AT + number)
                database.finished(name, event, Outcome.FAILED, "410 gone\x1b[2J\nforged line")

    asyncio.run(leave())
    return [f"{event.id}:{'gone' if number == 2 else 'hook'}" for number, event in enumerate(events)]


def owed(tmp_path: Path) -> list[str]:
    async def look() -> list[str]:
        async with Database(StorageConfig(directory=tmp_path / "data")) as database:
            return [one.event.id for one in database.unfinished("hook")]

    return asyncio.run(look())


def run(config_file: Path, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["--config", str(config_file), *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_dead_letters_are_listed_a_line_each(config_file: Path, left: list[str]) -> None:
    code, out, _ = run(config_file)
    assert code == 0
    lines = out.splitlines()
    assert lines[-1] == "3 dead letters"
    assert len(lines) == 4
    assert all(any(one in line for line in lines) for one in left)
    assert "\x1b" not in out


def test_dead_letters_are_listed_for_programs(config_file: Path, left: list[str]) -> None:
    code, out, _ = run(config_file, "--json")
    assert code == 0
    assert {one["id"] for one in json.loads(out)} == set(left)


def test_one_is_sent_again_by_the_service_that_starts_next(config_file: Path, left: list[str], tmp_path: Path) -> None:
    code, out, _ = run(config_file, "--resend", left[1])
    assert code == 0
    assert out.startswith("1 notification will be sent again")
    assert owed(tmp_path) == [left[1].partition(":")[0]]
    assert run(config_file)[1].splitlines()[-1] == "2 dead letters"


def test_all_are_sent_again_but_those_that_nobody_can_send(config_file: Path, left: list[str], tmp_path: Path) -> None:
    code, out, err = run(config_file, "--all")
    assert code == 1
    assert out.startswith("2 notifications will be sent again")
    assert err == f"{left[2]}: there is no contact point 'gone' any more\n"
    assert set(owed(tmp_path)) == {one.partition(":")[0] for one in left[:2]}


def test_what_is_not_there_is_said(config_file: Path, left: list[str]) -> None:
    code, _, err = run(config_file, "--resend", "evt_nothing:hook")
    assert (code, err) == (1, "evt_nothing:hook: there is no such dead letter\n")


def test_a_directory_without_a_database_is_said(config_file: Path) -> None:
    code, _, err = run(config_file)
    assert code == 1
    assert "has the service run here?" in err
