"""kill -9 in the middle of appends: every record that was answered is there afterwards."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from journal_batches import assert_same_record, record

from tocsin.journal.config import JournalConfig
from tocsin.journal.directory import segments_in
from tocsin.journal.sqlite import SqliteLog

CHILD = """
import asyncio, os, sys
from pathlib import Path
from journal_batches import record
from tocsin.journal.config import JournalConfig
from tocsin.journal.sqlite import SqliteLog

async def main():
    config = JournalConfig.model_validate({"sync": sys.argv[2], "segment_size": "256KiB"})
    log = SqliteLog.open(Path(sys.argv[1]), config)

    def answered(position):
        def tell(answer):
            if answer.result():
                os.write(1, b"%d\\n" % position)
        return tell

    for turn in range(100_000):
        answers = []
        for _ in range(turn % 9):
            position = log.position + 1
            answers.append(log.append(record(position % 40, position)))
            answers[-1].add_done_callback(answered(position))
        if turn % 50 == 49:
            await log.save(log.position, {"engine": lambda: {"turn": turn}})
        await asyncio.gather(*answers)

asyncio.run(main())
"""


@pytest.mark.parametrize(("sync", "lines"), [("1s", 3), ("1s", 700), ("0s", 150), ("1s", 1501)])
async def test_what_was_answered_outlives_the_process(tmp_path: Path, sync: str, lines: int) -> None:
    directory = tmp_path / "journal"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    with subprocess.Popen(  # noqa: S603, ASYNC220  # our own child, and nothing else runs on this loop
        [sys.executable, "-c", CHILD, str(directory), sync], stdout=subprocess.PIPE, env=environment
    ) as child:
        assert child.stdout is not None
        answered = [int(child.stdout.readline()) for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        answered.extend(map(int, child.stdout.read().splitlines()))
    assert any(path.name.endswith("-wal") for path in directory.iterdir())
    log = SqliteLog.open(directory, JournalConfig())
    found = dict(log.read(0))
    assert set(answered) <= set(found)
    assert list(found) == list(range(1, log.position + 1))
    for position, one in found.items():
        assert_same_record(one, record(position % 40, position))
    for snapshot in log.snapshots():
        assert snapshot.position <= log.position
        assert snapshot.read()
    assert not list(directory.glob("*.tmp"))
    assert await log.append(record())
    assert len(segments_in(directory)) >= 1
    await log.close()
