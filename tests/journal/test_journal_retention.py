"""What goes and what stays: by age, by size, and never without need what a restart would read."""

import logging
import os
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_batches import record

from tocsin.journal.config import JournalConfig
from tocsin.journal.directory import SegmentFile, segments_in
from tocsin.journal.retention import Aged, parting
from tocsin.journal.sqlite import SqliteLog

AGED = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 9), st.floats(0, 20)), max_size=8)


def _segments(drawn: list[tuple[int, int, float]]) -> list[Aged]:
    segments, first = [], 1
    for records, size, age in drawn:
        segments.append(Aged(SegmentFile(Path(f"{first}"), first, corrupt=False), size, age))
        first += records
    return segments


@settings(deadline=None)
@given(AGED, st.lists(st.integers(0, 40), max_size=2), st.integers(1, 40))
def test_what_goes_is_not_needed_or_too_much(
    drawn: list[tuple[int, int, float]], snapshots: list[int], max_size: int
) -> None:
    segments = _segments(drawn)
    kept = sorted(snapshots, reverse=True)
    gone = parting(segments, kept, retention=10, max_size=max_size)
    going = [*gone.free, *gone.needed]
    staying = [segment for segment in segments if segment not in going]
    assert not segments or segments[-1] in staying
    last_of = {segment.file.first: following.file.first - 1 for segment, following in pairwise(segments)}
    newest = kept[0] if kept else 0
    for segment in gone.free:
        assert last_of[segment.file.first] <= newest
    for segment in gone.needed:
        assert last_of[segment.file.first] > newest
    # Nothing goes by size before it must, and enough goes.
    assert len(staying) <= 1 or sum(segment.size for segment in staying) <= max_size
    for segment in staying[:-1]:
        assert segment.age <= 10 or last_of[segment.file.first] > (kept[-1] if kept else 0)
    if sum(segment.size for segment in segments) <= max_size:
        assert all(segment.age > 10 for segment in going)
        assert not gone.needed


def _config(**fields: str) -> JournalConfig:
    return JournalConfig.model_validate({"segment_size": "64KiB", "max_size": "100MiB", **fields})


async def _filled(directory: Path, config: JournalConfig, segments: int) -> SqliteLog:
    log = SqliteLog.open(directory, config)
    seed = 0
    while len(segments_in(directory)) < segments:
        assert await log.append(record(300, seed))
        seed += 1
    return log


async def test_old_segments_go_once_two_snapshots_cover_them(tmp_path: Path) -> None:
    log = await _filled(tmp_path, _config(retention="1m"), 5)
    last = log.position
    await log.close()
    for segment in segments_in(tmp_path)[:4]:
        os.utime(segment.path, (time.time() - 100, time.time() - 100))
    log = SqliteLog.open(tmp_path, _config(retention="1m"))
    log.tidy()
    assert len(segments_in(tmp_path)) == 5
    assert await log.save(last, {})
    await log.close()
    left = segments_in(tmp_path)
    assert len(left) == 1
    log = SqliteLog.open(tmp_path, _config())
    # Reading from the beginning is no mistake, and nothing is missed: age was the reason.
    assert [position for position, _ in log.read(0)] == list(range(left[0].first, last + 1))
    await log.close()


async def test_the_oldest_go_while_all_are_too_large_and_it_is_said_that_they_were_needed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = await _filled(tmp_path, _config(), 8)
    await log.close()
    log = SqliteLog.open(tmp_path, _config(max_size="256KiB"))
    sizes = [segment.size() for segment in segments_in(tmp_path)]
    assert sum(sizes) <= 256 * 1024
    assert len(sizes) >= 2
    [entry] = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert "journal.max_size" in entry.message
    assert await log.append(record())
    await log.close()
