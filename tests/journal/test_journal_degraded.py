"""A disk that fails: the answer is False, the state says why, nothing is raised, and it recovers by itself."""

import asyncio
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from journal_batches import SMALL, assert_same_record, record, wal_of

from tocsin import telemetry
from tocsin.journal import syncer
from tocsin.journal.config import JournalConfig
from tocsin.journal.directory import segments_in
from tocsin.journal.sqlite import SqliteLog

MOUNT = shutil.which("mount")
QUICK: Mapping[str, Any] = {"stall_seconds": 20.0, "probe_seconds": 0.02, "busy_seconds": 0.1}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = [MOUNT or "mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    if MOUNT is None or subprocess.run(command, check=False, capture_output=True).returncode:  # noqa: S603
        pytest.skip("this user may not mount a file system")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)  # noqa: S603, S607


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """A directory is a file system that can't be written to."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(directory)], check=True)  # noqa: S603, S607
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)  # noqa: S603, S607


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process may grow past a size: writes fail, as on a full disk, wherever tests run."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class States:
    """What the log said of itself."""

    def __init__(self) -> None:
        self.told: list[str | None] = []
        self._changed = asyncio.Event()

    def __call__(self, reason: str | None) -> None:
        self.told.append(reason)
        self._changed.set()

    async def until(self, *, degraded: bool) -> str | None:
        """Wait until the last word is that it is degraded, or that it is not; return it."""
        async with asyncio.timeout(20):
            while not self.told or (self.told[-1] is not None) != degraded:
                self._changed.clear()
                await self._changed.wait()
        return self.told[-1]


def gauge() -> float:
    text = telemetry.exposition("")[0].decode()
    return float(text.split("\ntocsin_journal_degraded ")[1].split()[0])


async def fill(log: SqliteLog, kept: dict[int, int]) -> None:
    """Append until a record is not kept; note which were, with their seeds."""
    for seed in range(10_000):
        position = log.position + 1
        if not await log.append(record(400, seed)):
            return
        kept[position] = seed
    raise AssertionError("the disk never filled")


def assert_kept(log: SqliteLog, kept: dict[int, int]) -> None:
    found = dict(log.read(0))
    assert set(kept) <= set(found)
    for position, seed in kept.items():
        assert_same_record(found[position], record(400, seed))


async def test_a_full_disk_degrades_the_log_and_costs_nothing_that_was_acknowledged(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(1 << 20))
    states, kept = States(), dict[int, int]()
    log = SqliteLog.open(small_disk / "journal", JournalConfig(), states, **QUICK)
    await fill(log, kept)
    reason = log.degraded
    assert reason is not None
    assert "full" in reason
    assert str(small_disk) in reason
    assert gauge() == 1
    assert await log.append(record()) is False
    # A snapshot does not fit either; that is said and costs nothing else.
    assert not await log.save(log.position, {"engine": lambda: ["x" * 1000] * 3000})
    assert not list((small_disk / "journal").glob("snapshot*"))
    assert_kept(log, kept)
    filler.unlink()
    assert await states.until(degraded=False) is None
    lost = log.position
    while not await log.append(record(400, 5)):  # it learns a moment later that the old segment can't be made safe
        await states.until(degraded=False)
        lost = log.position
    assert gauge() == 0
    kept[lost + 1] = 5
    await log.close()
    log = SqliteLog.open(small_disk / "journal", JournalConfig())
    assert_kept(log, kept)
    assert log.position == lost + 1
    await log.close()


async def test_a_process_that_ends_on_a_full_disk_leaves_a_log_that_opens(small_disk: Path) -> None:
    kept = dict[int, int]()
    log = SqliteLog.open(small_disk / "journal", SMALL, **QUICK)
    await fill(log, kept)
    await log.close()
    log = SqliteLog.open(small_disk / "journal", SMALL, **QUICK)
    assert_kept(log, kept)
    await log.close()


async def test_a_file_that_may_not_grow_degrades_the_log_until_it_may(tmp_path: Path) -> None:
    states, kept = States(), dict[int, int]()
    log = SqliteLog.open(tmp_path, JournalConfig(), states, **QUICK)
    with file_size_limit(24_000):
        await fill(log, kept)
        assert log.degraded
        assert await log.append(record()) is False
    await states.until(degraded=False)
    position = log.position + 1
    assert await log.append(record(400, 7))
    kept[position] = 7
    assert_kept(log, kept)
    await log.close()


async def test_a_directory_that_is_gone_degrades_the_log(tmp_path: Path) -> None:
    states = States()
    log = SqliteLog.open(tmp_path / "journal", SMALL, states, **QUICK)
    shutil.rmtree(tmp_path / "journal")
    assert await log.append(record()) is False
    assert "journal" in str(log.degraded)
    (tmp_path / "journal").mkdir()
    await states.until(degraded=False)
    assert await log.append(record())
    await log.close()


async def test_a_disk_that_is_read_only_degrades_the_log(small_disk: Path) -> None:
    states = States()
    journal = small_disk / "journal"
    log = SqliteLog.open(journal, SMALL, states, **QUICK)
    with read_only(journal):
        assert await log.append(record()) is False
        assert "Read-only file system" in str(log.degraded)
    await states.until(degraded=False)
    assert await log.append(record())
    await log.close()


async def test_a_segment_that_another_process_locks_costs_nothing(tmp_path: Path) -> None:
    states = States()
    log = SqliteLog.open(tmp_path, JournalConfig(), states, **QUICK)
    assert await log.append(record(1, 1))
    [segment] = segments_in(tmp_path)
    with closing(sqlite3.connect(segment.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert await log.append(record(1, 2))
        other.execute("ROLLBACK")
    assert states.told == []
    assert len(segments_in(tmp_path)) == 2
    assert [position for position, _ in log.read(0)] == [1, 2]
    await log.close()


async def test_a_commit_that_hangs_is_given_up_and_the_log_recovers_when_it_returns(tmp_path: Path) -> None:
    states = States()
    log = SqliteLog.open(tmp_path, JournalConfig(), states, stall_seconds=0.2, probe_seconds=0.02, busy_seconds=60.0)
    assert await log.append(record(1, 1))
    [segment] = segments_in(tmp_path)
    loop = asyncio.get_running_loop()
    with closing(sqlite3.connect(segment.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begun = loop.time()
        hung = [log.append(record(1, seed)) for seed in (2, 3)]
        assert await asyncio.gather(*hung) == [False, False]
        assert 0.15 < loop.time() - begun < 5
        assert "has not answered for 0.2 s" in str(log.degraded)
        assert await log.append(record(1, 4)) is False
        other.execute("ROLLBACK")
    await states.until(degraded=False)
    assert await log.append(record(1, 5))
    # What hung was written in the end; what came meanwhile was not, and a snapshot is due.
    assert [position for position, _ in log.read(0)] == [1, 2, 3, 5]
    await log.close()


async def test_the_log_of_a_full_segment_does_not_grow_without_bound(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path, SMALL)
    for seed in range(400):
        assert await log.append(record(1, seed))
        if seed % 20 == 0:
            assert max(segment.size() for segment in segments_in(tmp_path)) < 4 * SMALL.segment_size
    assert len(segments_in(tmp_path)) > 2
    await log.close()
    assert not wal_of(segments_in(tmp_path)[-1].path).exists()


async def test_a_failed_synchronisation_means_a_new_segment_and_a_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [OSError(5, os.strerror(5))]

    def fails_once(descriptor: int) -> None:
        if failures:
            raise failures.pop()
        os.fsync(descriptor)

    monkeypatch.setattr(syncer, "_synchronise", fails_once)
    states = States()
    log = SqliteLog.open(tmp_path, JournalConfig(), states, **QUICK)
    assert await log.append(record(1, 1))
    await states.until(degraded=False)
    assert "Input/output error" in str(states.told[0])
    assert await log.append(record(1, 2))
    assert len(segments_in(tmp_path)) == 2
    assert [position for position, _ in log.read(0)] == [1, 2]
    await log.close()
