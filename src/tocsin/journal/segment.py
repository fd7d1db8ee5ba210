"""One file of the journal: a SQLite database with its records, written by one thread, read by any process.

While it is written it has a write-ahead log, which is copied into the database only once the segment is full: no commit
ever waits for that, and the log is no larger than a segment. A process that is killed leaves the log, and SQLite takes
what was committed from it when the database is opened next.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from tocsin.errors import CorruptError
from tocsin.journal.directory import create_private, sync_directory
from tocsin.journal.record import Record
from tocsin.journal.row import Row

__all__ = ["Segment", "last_position", "records_of"]

_PAGE: Final = 4096
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS record (position INTEGER PRIMARY KEY, previous INTEGER NOT NULL, kind INTEGER NOT NULL,"
    " wall INTEGER NOT NULL, time INTEGER NOT NULL, rows INTEGER NOT NULL, first_end INTEGER NOT NULL,"
    " last_end INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL)"
)
_UNMADE: Final = "no such table: record"
_COLUMNS: Final = ", ".join(Row._fields)
_VALUES: Final = f"({', '.join('?' * len(Row._fields))})"


class Segment:
    """The segment that is written to. One thread at a time may use it."""

    def __init__(self, path: Path, *, durable: bool, busy_seconds: float) -> None:
        """Open a segment, or make a new one.

        Args:
            path: of the database.
            durable: each commit waits until it is safe against a power loss.
            busy_seconds: how long a commit waits for another process that has locked the file.

        Raises:
            sqlite3.Error: it can't be written to.
            OSError: likewise.
        """
        self.path = path
        self.log = path.with_name(path.name + "-wal")
        new = not path.exists()
        if new:
            create_private(path)
        self._database = sqlite3.connect(
            _uri(path, "rw"), uri=True, isolation_level=None, timeout=busy_seconds, check_same_thread=False
        )
        try:
            self._prepare(durable=durable)
            if new:
                sync_directory(path.parent)
        except BaseException:
            self._database.close()
            raise
        self.size = path.stat().st_size
        """About how many bytes were written to it."""

    def append(self, rows: Sequence[Row]) -> None:
        """Commit some rows, all or none.

        One statement does it, so that this thread asks for the interpreter's lock as rarely as can be: each time it may
        wait for as long as the event loop computes.

        Raises:
            sqlite3.Error: nothing was committed, or nobody knows whether it was.
        """
        values = ", ".join([_VALUES] * len(rows))
        self._database.execute(
            f"INSERT INTO record ({_COLUMNS}) VALUES {values}",  # noqa: S608  # placeholders only
            [value for row in rows for value in row],
        )
        self.size += sum((len(row.body) // _PAGE + 1) * (_PAGE + 24) for row in rows) + _PAGE

    def seal(self) -> None:
        """Copy the log into the database, and make that one plain file; nothing is appended afterwards.

        Raises:
            sqlite3.Error: the disk does not take it. What was committed is still in the log.
        """
        with closing(self._database):
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            with suppress(sqlite3.OperationalError):  # somebody reads it: then it stays as it is
                self._database.execute("PRAGMA journal_mode=DELETE").fetchall()

    def close(self) -> None:
        """Let go of it as it is. Raises nothing."""
        with suppress(sqlite3.Error):
            self._database.close()

    def _prepare(self, *, durable: bool) -> None:
        run = self._database.execute
        run(f"PRAGMA page_size={_PAGE}")
        mode = run("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise sqlite3.OperationalError(f"{self.path} can't have a write-ahead log; is it on a network file system?")
        run("PRAGMA wal_autocheckpoint=0")
        run(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        run(_TABLE)


def records_of(
    path: Path,
    after: int,
    damaged: Callable[[int, str | None], None],
    *,
    own: bool,
    times: tuple[int, int] | None = None,
) -> Iterator[tuple[Row, Record]]:
    """Yield the records of a segment past a position, in order; what is damaged is left out.

    Args:
        path: of the database.
        after: the position.
        damaged: told of a record that is left out: its position; or of the segment as a whole: the last position that
            could be read, and why not further. What can be read from its end backwards is yielded then.
        own: the directory is locked by this process, so that a log left behind may be taken in.
        times: only records that may have spans of these event times, from and up to, Unix nanoseconds; None: all.
    """
    last = after
    try:
        with closing(_reading(path, own=own)) as database:
            try:
                for row in map(Row._make, database.execute(*_ascending(after, times))):
                    record = _record_of(row, last, damaged)
                    if record is not None:
                        last = row.position
                        yield row, record
            except sqlite3.DatabaseError as error:
                if not own and str(error) == _UNMADE:
                    return  # its writer is about to make it
                damaged(last, str(error))
                yield from _from_the_end(database, last, damaged, times)
    except sqlite3.Error as error:
        damaged(last, str(error))


def last_position(path: Path) -> int:
    """Return the position of a segment's last record, 0 if it has none; takes in a log that was left behind.

    Raises:
        sqlite3.Error: it is damaged.
    """
    with closing(_reading(path, own=True)) as database:
        if not database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'record'").fetchone()[0]:
            return 0  # killed while it was made
        found = database.execute("SELECT max(position) FROM record").fetchone()[0]
        return found if isinstance(found, int) else 0


def _ascending(after: int, times: tuple[int, int] | None, order: str = "") -> tuple[str, tuple[int, ...]]:
    within, values = ("", ()) if times is None else ("AND last_end >= ? AND first_end < ?", times)
    text = f"SELECT {_COLUMNS} FROM record WHERE position > ? {within} ORDER BY position {order}"  # noqa: S608  # ours
    return text, (after, *values)


def _from_the_end(
    database: sqlite3.Connection,
    after: int,
    damaged: Callable[[int, str | None], None],
    times: tuple[int, int] | None,
) -> Iterator[tuple[Row, Record]]:
    """Yield what lies behind a damage, as far as it can be reached from behind."""
    rows: list[Row] = []
    with suppress(sqlite3.Error):
        rows.extend(map(Row._make, database.execute(*_ascending(after, times, "DESC"))))
    last = after
    for row in reversed(rows):
        record = _record_of(row, last, damaged)
        if record is not None:
            last = row.position
            yield row, record


def _record_of(row: Row, last: int, damaged: Callable[[int, str | None], None]) -> Record | None:
    try:
        record = row.record()
    except CorruptError:
        damaged(row.position, None)
        return None
    return record if row.position > last else None


def _reading(path: Path, *, own: bool) -> sqlite3.Connection:
    database = sqlite3.connect(
        _uri(path, "rw" if own else "ro"), uri=True, isolation_level=None, timeout=5.0, check_same_thread=False
    )
    database.text_factory = bytes  # a flipped bit can make a text of anything
    return database


def _uri(path: Path, mode: str) -> str:
    return f"{path.absolute().as_uri()}?mode={mode}"
