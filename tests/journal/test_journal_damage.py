"""Torn and flipped: what is read is what was written, and what is missing is said."""

import asyncio
import logging
import random
import shutil
from pathlib import Path

import pytest
from journal_batches import assert_same_record, record, wal_of

from tocsin.journal.config import JournalConfig
from tocsin.journal.directory import segments_in
from tocsin.journal.record import Record
from tocsin.journal.segment import Segment
from tocsin.journal.sqlite import SqliteLog

RECORDS = 40


def expected(position: int) -> Record:
    return record(1 + position * 7 % 50, position)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 40 records in one database."""
    directory = tmp_path_factory.mktemp("sealed")

    async def write() -> None:
        log = SqliteLog.open(directory, JournalConfig())
        for position in range(1, RECORDS + 1):
            assert await log.append(expected(position))
        await log.close()

    asyncio.run(write())
    return directory


async def read(directory: Path) -> tuple[list[int], SqliteLog]:
    """Return the positions that can be read, after comparing them with what was written, and the log."""
    log = SqliteLog.open(directory, JournalConfig())
    positions = []
    for position, found in log.read(0):
        assert_same_record(found, expected(position))
        positions.append(position)
    assert positions == sorted(set(positions))
    return positions, log


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [entry.message for entry in caplog.records if entry.levelno == logging.ERROR]


@pytest.mark.parametrize("seed", range(40))
async def test_flipped_bytes_cost_only_the_records_that_they_are_in_and_are_said(
    sealed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(sealed, directory)
    [segment] = segments_in(directory)
    data = bytearray(segment.path.read_bytes())
    chance = random.Random(seed)
    for _ in range(chance.choice([1, 1, 8])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    segment.path.write_bytes(data)
    positions, log = await read(directory)
    missing = set(range(1, RECORDS + 1)) - set(positions)
    # Whoever writes the next record says which one was before it; so even a loss at the end is missed.
    if missing and max(missing) < max(positions, default=0):
        assert said(caplog)
    assert await log.append(expected(log.position + 1))
    await log.close()
    again, log = await read(directory)
    assert set(positions) <= set(again)
    assert log.position in again
    await log.close()


async def test_a_flipped_body_costs_one_record_which_is_counted_and_said_once(
    sealed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(sealed, directory)
    [segment] = segments_in(directory)
    data = bytearray(segment.path.read_bytes())
    place = data.index(b"conv-17-3")
    data[place] ^= 1
    segment.path.write_bytes(data)
    positions, log = await read(directory)
    assert set(range(1, RECORDS + 1)) - set(positions) == {17}
    assert said(caplog) == ["records of the journal are damaged and left out"]
    assert caplog.records[-1].fields == {"segment": segment.path.name, "first": 17, "records": 1}  # type: ignore[attr-defined]
    await log.close()


@pytest.mark.parametrize("cut", [0.01, 0.2, 0.5, 0.9])
async def test_a_truncated_segment_is_read_as_far_as_possible_and_set_aside(
    sealed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, cut: float
) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(sealed, directory)
    [segment] = segments_in(directory)
    data = segment.path.read_bytes()
    segment.path.write_bytes(data[: int(len(data) * cut)])
    positions, log = await read(directory)
    assert len(positions) < RECORDS
    assert "a segment of the journal is damaged and set aside" in said(caplog)
    assert [file.corrupt for file in segments_in(directory)] == [True]
    assert await log.append(expected(log.position + 1))
    await log.close()
    again, log = await read(directory)
    assert again == [*positions, log.position]
    await log.close()


async def test_a_damaged_page_is_read_around_from_both_ends(
    sealed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [segment] = segments_in(sealed)
    data = segment.path.read_bytes()
    around = 0
    for number in range(2, len(data) // 4096):
        directory = tmp_path / str(number)
        directory.mkdir()
        damaged = data[: number * 4096] + bytes(4096) + data[(number + 1) * 4096 :]
        (directory / segment.path.name).write_bytes(damaged)
        caplog.clear()
        positions, log = await read(directory)
        assert said(caplog)
        set_aside = "a segment of the journal is damaged and set aside" in said(caplog)
        around += set_aside and {1, RECORDS} <= set(positions)
        await log.close()
    assert around >= 3


async def test_a_file_that_is_no_database_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / f"journal-{7:020}.db").write_bytes(b"shopping list" * 999)
    log = SqliteLog.open(tmp_path, JournalConfig())
    assert list(log.read(0)) == []
    assert log.position >= 7
    assert await log.append(record())
    await log.close()


async def test_a_database_that_was_never_finished_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / f"journal-{1:020}.db").write_bytes(b"")
    log = SqliteLog.open(tmp_path, JournalConfig())
    assert log.position == 0
    assert await log.append(record())
    assert [position for position, _ in log.read(0)] == [1]
    await log.close()


async def test_records_that_are_gone_without_a_trace_are_missed(
    sealed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(sealed, directory)
    [file] = segments_in(directory)
    segment = Segment(file.path, durable=False, busy_seconds=1.0)
    segment._database.execute("DELETE FROM record WHERE position IN (5, 6, 40)")
    segment.seal()
    positions, log = await read(directory)
    assert len(positions) == RECORDS - 3
    assert said(caplog) == ["records of the journal are damaged and left out"]
    await log.close()


async def test_a_torn_write_ahead_log_gives_back_every_commit_before_the_tear(tmp_path: Path) -> None:
    source = tmp_path / "source"
    log = SqliteLog.open(source, JournalConfig())
    ends = {}
    for position in range(1, RECORDS + 1):
        assert await log.append(expected(position))
        [segment] = segments_in(source)
        ends[position] = wal_of(segment.path).stat().st_size
    chance = random.Random(4)
    for number in range(25):
        torn = tmp_path / f"torn-{number}"
        shutil.copytree(source, torn)
        wal = wal_of(segments_in(torn)[0].path)
        data = wal.read_bytes()
        cut = chance.randrange(len(data))
        # What a file system makes of a write that was not finished: an end, zeros, or what was there before.
        rest = chance.choice([b"", bytes(len(data) - cut), chance.randbytes(len(data) - cut)])
        wal.write_bytes(data[:cut] + rest)
        whole = [position for position, end in ends.items() if end <= cut]
        positions, again = await read(torn)
        assert positions[: len(whole)] == whole
        assert positions == list(range(1, len(positions) + 1))
        assert await again.append(expected(again.position + 1))
        await again.close()
    await log.close()


async def test_damage_that_is_found_while_it_is_written_ends_the_segment(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = SqliteLog.open(tmp_path, JournalConfig())
    for position in range(1, 10):
        assert await log.append(expected(position))
    await log.close()
    log = SqliteLog.open(tmp_path, JournalConfig())
    assert await log.append(expected(10))
    [segment] = segments_in(tmp_path)
    data = bytearray(segment.path.read_bytes())
    data[4096:8192] = bytes(4096)
    with segment.path.open("r+b") as file:
        file.write(data)
    list(log.read(0))
    async with asyncio.timeout(20):
        while len(segments_in(tmp_path)) == 1 or log.degraded:  # noqa: ASYNC110  # the writer's thread does it
            await asyncio.sleep(0.01)
    assert await log.append(expected(11))
    assert "a segment of the journal is damaged and set aside" in said(caplog)
    await log.close()
