"""The log on real files: what was appended comes back, after a restart, across segments, and while it is written."""

import asyncio
import os
import threading
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_batches import SMALL, assert_same_record, batch, record

from tocsin.errors import ConfigError, SnapshotError
from tocsin.journal.config import JournalConfig
from tocsin.journal.directory import segments_in
from tocsin.journal.reading import read_segments
from tocsin.journal.record import Record
from tocsin.journal.sqlite import SqliteLog

DURABLE = JournalConfig.model_validate({"sync": "0s"})


async def appended(log: SqliteLog, records: list[Record]) -> None:
    assert all(await asyncio.gather(*(log.append(one) for one in records)))


def _note(order: list[int], number: int, answer: "asyncio.Future[bool]") -> None:
    assert answer.result()
    order.append(number)


def mixed(count: int) -> list[Record]:
    kinds = [
        lambda seed: record(5, seed),
        lambda seed: Record(seed, seed + 1),
        lambda seed: Record(seed, -seed, rules=b"rules" * seed),
        lambda seed: record(0, seed),
    ]
    return [kinds[number % len(kinds)](number) for number in range(count)]


@pytest.mark.parametrize("config", [JournalConfig(), DURABLE])
async def test_what_was_appended_is_there_after_a_restart(tmp_path: Path, config: JournalConfig) -> None:
    expected = mixed(23)
    log = SqliteLog.open(tmp_path / "a" / "journal", config)
    assert log.position == 0
    await appended(log, expected[:11])
    await log.close()
    log = SqliteLog.open(tmp_path / "a" / "journal", config)
    assert log.position == 11
    await appended(log, expected[11:])
    found = list(log.read(0))
    await log.close()
    assert [position for position, _ in found] == list(range(1, 24))
    for (_, one), other in zip(found, expected, strict=True):
        assert_same_record(one, other)
    assert len(segments_in(tmp_path / "a" / "journal")) == 1


async def test_a_log_goes_on_in_another_segment_and_is_read_across_them(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path, SMALL)
    for _ in range(12):
        await appended(log, [record(300, seed) for seed in range(3)])
    assert len(segments_in(tmp_path)) >= 6
    for after in (0, 1, 5, 17, 35, 36, 99):
        assert [position for position, _ in log.read(after)] == list(range(after + 1, 37))
    await log.close()
    # Full segments are plain databases: no log, no index beside them.
    assert {Path(name).suffix for name in os.listdir(tmp_path)} == {".db", ".lock"}


async def test_others_read_while_it_is_written(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path, SMALL)
    problems: list[str] = []
    ended = threading.Event()

    def read() -> None:
        known = 0
        while not ended.is_set():
            positions = [position for position, _ in read_segments(tmp_path, 0)]
            if positions != list(range(1, len(positions) + 1)) or len(positions) < known:
                problems.append(f"{known} were there, now {positions}")
            known = len(positions)

    reader = threading.Thread(target=read)
    reader.start()
    for seed in range(60):
        await appended(log, [record(100, seed)])
    ended.set()
    reader.join()
    await log.close()
    assert problems == []


async def test_answers_come_in_order_and_groups_are_committed_together(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path, JournalConfig())
    order: list[int] = []
    answers = [log.append(record(2, seed)) for seed in range(500)]
    for number, answer in enumerate(answers):
        answer.add_done_callback(partial(_note, order, number))
    assert log.position == 500
    assert all(await asyncio.gather(*answers))
    await asyncio.sleep(0)
    assert order == list(range(500))
    await log.close()


async def test_an_append_after_the_end_is_not_kept_and_says_so(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path, JournalConfig())
    last = log.append(record())
    await log.close()
    assert last.result() is True
    assert await log.append(record()) is False
    await log.close()


async def test_a_second_process_is_told_who_has_the_directory(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path, JournalConfig())
    with pytest.raises(ConfigError, match=r"in use by process \d+; stop it"):
        SqliteLog.open(tmp_path, JournalConfig())
    await log.close()
    await SqliteLog.open(tmp_path, JournalConfig()).close()


async def test_a_directory_that_can_not_be_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"the journal can't be kept in .*file/journal: Not a directory"):
        SqliteLog.open(tmp_path / "file" / "journal", JournalConfig())


async def test_nobody_else_may_read_the_files(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path / "journal", JournalConfig())
    await appended(log, [record()])
    await log.save(1, {"a": lambda: 1})
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "journal").iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert any(name.endswith("-wal") for name in modes)
    await log.close()


async def test_a_record_that_no_engine_could_have_been_given_does_not_stop_the_others(tmp_path: Path) -> None:
    states: list[str | None] = []
    log = SqliteLog.open(tmp_path, JournalConfig(), states.append)
    assert await log.append(record())
    odd = log.append(Record(1 << 70, 0))
    assert await odd is False
    async with asyncio.timeout(20):
        while states[-1] is not None:  # noqa: ASYNC110  # it takes a turn of the loop or two
            await asyncio.sleep(0)
    assert await log.append(record())
    assert states[-1] is None
    assert "could not be encoded" in str(states[0])
    assert [position for position, _ in log.read(0)] == [1, 3]
    await log.close()


async def test_a_snapshot_waits_for_the_records_in_it_and_is_what_a_restart_begins_with(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path, JournalConfig())
    answers = [log.append(record(400, seed)) for seed in range(20)]
    assert await log.save(log.position, {"engine": lambda: {"n": 20}})
    assert all(answer.done() for answer in answers)
    await log.close()
    log = SqliteLog.open(tmp_path, JournalConfig())
    [snapshot] = log.snapshots()
    assert snapshot.position == 20 == log.position
    assert snapshot.read() == {"engine": {"n": 20}}
    await log.close()


async def test_a_snapshot_past_what_is_left_of_the_log_decides_where_it_goes_on(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path, JournalConfig())
    await appended(log, [record(1, seed) for seed in range(5)])
    assert await log.save(5, {"engine": lambda: 1})
    await log.close()
    for segment in segments_in(tmp_path):
        segment.remove()
    log = SqliteLog.open(tmp_path, JournalConfig())
    assert log.position == 5
    await appended(log, [record()])
    assert [position for position, _ in log.read(5)] == [6]
    await log.close()


async def test_when_the_newest_snapshot_is_damaged_the_one_before_serves_with_its_records(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path, SMALL)
    await appended(log, [record(300, seed) for seed in range(10)])
    assert await log.save(10, {"engine": lambda: 10})
    await appended(log, [record(300, seed) for seed in range(10)])
    assert await log.save(20, {"engine": lambda: 20})
    newest, before = log.snapshots()
    path = tmp_path / f"snapshot-{20:020}"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SnapshotError):
        newest.read()
    assert before.read() == {"engine": 10}
    assert [position for position, _ in log.read(before.position)] == list(range(11, 21))
    await log.close()


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 60), max_size=8), min_size=1, max_size=5),
    st.sampled_from(["0s", "50ms"]),
    st.integers(0, 40),
)
def test_any_sequence_of_appends_and_restarts_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[list[int]], sync: str, after: int
) -> None:
    directory = tmp_path_factory.mktemp("log")
    config = SMALL.model_copy(update={"sync": JournalConfig.model_validate({"sync": sync}).sync})
    expected: list[Record] = []

    async def run() -> list[tuple[int, Record]]:
        for part in sizes:
            log = SqliteLog.open(directory, config)
            assert log.position == len(expected)
            records = [Record(seed, seed, batch=batch(rows * 9, seed)) for seed, rows in enumerate(part)]
            await appended(log, records)
            expected.extend(records)
            await log.close()
        log = SqliteLog.open(directory, config)
        found = list(log.read(after))
        await log.close()
        return found

    found = asyncio.run(run())
    assert [position for position, _ in found] == list(range(after + 1, len(expected) + 1))
    for (_, one), other in zip(found, expected[after:], strict=True):
        assert_same_record(one, other)
