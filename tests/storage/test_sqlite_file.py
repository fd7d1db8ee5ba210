"""What is particular to SQLite: a file that others must not read, that may be corrupt, full, or locked."""

import asyncio
import os
import sqlite3
import stat
from pathlib import Path

import pytest
from event_samples import event_of
from sqlalchemy import select

from tocsin.errors import ConfigError, OverloadedError
from tocsin.notify.history import Outcome
from tocsin.storage import engines, writer
from tocsin.storage.config import StorageConfig
from tocsin.storage.database import Database
from tocsin.storage.tables import EVENTS

AT = 1_767_669_250_000_000_000


@pytest.fixture
def config(tmp_path: Path) -> StorageConfig:
    return StorageConfig(directory=tmp_path / "deep" / "data")


async def events_in(database: Database) -> set[str]:
    async with database.connection() as connection:
        return {row.id for row in await connection.execute(select(EVENTS.c.id))}


async def test_nobody_else_may_read_the_file_or_its_journals(config: StorageConfig) -> None:
    async with Database(config) as database:
        database.record(event_of(1))
        await database.settled()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in config.directory.iterdir()}
        assert modes == dict.fromkeys(("tocsin.db", "tocsin.db-wal", "tocsin.db-shm"), 0o600)
        assert stat.S_IMODE(config.directory.stat().st_mode) == 0o700


async def test_what_is_committed_survives_power_loss_and_readers_do_not_wait(config: StorageConfig) -> None:
    async with Database(config) as database, database.connection() as connection:
        found = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
        assert found == ["wal", 2, 1]  # 2: every commit is on the disk


@pytest.mark.parametrize("junk", [b"this is no database" * 500, None])
async def test_a_corrupt_file_is_moved_aside_loudly_and_a_new_one_begun(
    config: StorageConfig, junk: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with Database(config) as database:
        for number in range(300):
            database.record(event_of(number))
            database.accepted("hook", event_of(number), AT + number)
    path = config.directory / "tocsin.db"
    before = path.read_bytes()
    # Junk all over, or only in the middle: the header and the list of tables are whole.
    path.write_bytes(junk or before[:8192] + os.urandom(len(before) - 8192))
    async with Database(config) as database:
        assert database.unfinished("hook") == []
        assert database.accepted("hook", event_of(5), AT)  # found again by whoever reads the log again
        database.record(event_of(5))
        await database.settled()
        assert await events_in(database) == {event_of(5).id}
    (aside,) = config.directory.glob("tocsin.db.corrupt-*")
    assert aside.read_bytes()[:16] in (before[:16], (junk or before)[:16])
    assert "moved aside" in caplog.text


async def test_a_file_that_becomes_corrupt_is_moved_aside_without_a_restart(
    config: StorageConfig, caplog: pytest.LogCaptureFixture
) -> None:
    async with Database(config) as database:
        for number in range(300):
            database.record(event_of(number))
        await database.settled()
        with sqlite3.connect(config.directory / "tocsin.db") as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.close()
        await database._ready().dispose()  # what it has in its cache is whole
        path = config.directory / "tocsin.db"
        path.write_bytes(path.read_bytes()[:4096] + os.urandom(path.stat().st_size - 4096))
        for number in range(300, 320):
            database.record(event_of(number))
        async with asyncio.timeout(20):
            await database.settled()
        assert await events_in(database) == {event_of(number).id for number in range(300, 320)}
        assert database.degraded is None
    assert "moved aside" in caplog.text


async def test_a_database_that_cannot_be_written_degrades_loses_nothing_and_recovers(
    config: StorageConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_BUSY_MS", 20)
    async with Database(config) as database:
        other = sqlite3.connect(config.directory / "tocsin.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        for number in range(50):
            database.record(event_of(number))
        async with asyncio.timeout(10):
            while database.degraded is None:  # noqa: ASYNC110  # nothing tells of it but this
                await asyncio.sleep(0.005)
        assert database.unwritten == 50
        with pytest.raises(OverloadedError, match="the database can't be used"):
            await database.resend("hook", "evt_1")
        other.rollback()
        other.close()
        async with asyncio.timeout(20):
            await database.settled()
        assert database.degraded is None
        assert len(await events_in(database)) == 50


async def test_a_full_disk_degrades_and_recovers(config: StorageConfig) -> None:
    async with Database(config) as database:
        connection = database._ready()
        async with connection.connect() as held:
            pages = (await held.exec_driver_sql("PRAGMA page_count")).scalar_one()
            # SQLite's own limit of pages gives the very error of a full disk.
            await held.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        for number in range(500):
            database.record(event_of(number))
        async with asyncio.timeout(10):
            while database.degraded is None:  # noqa: ASYNC110  # nothing tells of it but this
                await asyncio.sleep(0.005)
        assert "full" in database.degraded
        async with connection.connect() as held:
            await held.exec_driver_sql("PRAGMA max_page_count = 1000000")
        async with asyncio.timeout(20):
            await database.settled()
        assert len(await events_in(database)) == 500


async def test_what_comes_past_the_limit_of_memory_is_counted_and_said_and_the_rest_is_kept(
    config: StorageConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engines, "_BUSY_MS", 20)
    async with Database(config, queue_limit=30) as database:
        other = sqlite3.connect(config.directory / "tocsin.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        for number in range(50):
            database.record(event_of(number))
        other.rollback()
        other.close()
        await database.settled()
        assert await events_in(database) == {event_of(number).id for number in range(30)}
    assert "can't be used" in caplog.text


async def test_the_end_does_not_wait_for_ever_for_a_database_that_is_down(
    config: StorageConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engines, "_BUSY_MS", 20)
    monkeypatch.setattr("tocsin.storage.database.CLOSE_SECONDS", 0.2)
    monkeypatch.setattr(writer, "LONGEST_PAUSE", 0.05)
    other = None
    async with Database(config) as database:
        other = sqlite3.connect(config.directory / "tocsin.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        database.accepted("hook", event_of(1), AT)
        database.finished("hook", event_of(1), Outcome.DELIVERED, "200")
    other.close()
    assert "were not written before the end" in caplog.text


def test_a_directory_that_cannot_be_made_is_for_the_operator(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def open_it() -> None:
        async with Database(StorageConfig(directory=tmp_path / "file" / "data")):
            pass

    with pytest.raises(ConfigError, match=r"storage.directory: .* can't be used"):
        asyncio.run(open_it())
