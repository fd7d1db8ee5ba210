"""What was recorded as files of Parquet: one, or one a day; each is there whole or not at all."""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tocsin.history.failures import HistoryError
from tocsin.history.portions import EVER, portions
from tocsin.history.store import Store, storing

__all__ = ["Exported", "export"]

_DAY_NAME: Final = "day={day}/spans.parquet"
_FILE: Final = "spans.parquet"
_DAY_US: Final = 86_400_000_000
_ROW_GROUP: Final = 100_000


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written."""

    path: Path
    rows: int
    size: int
    """Bytes."""


def export(
    journal: Path,
    output: Path,
    *,
    times: tuple[int, int] = EVER,
    by_day: bool = False,
    told: Callable[[str], None] = lambda _: None,
) -> list[Exported]:
    """Write recorded spans to Parquet, with zstd; return the files.

    Args:
        journal: its directory; a service may write to it.
        output: a file that ends with `.parquet`, or a directory, which is made if it is not there.
        times: from and up to which event time, Unix nanoseconds.
        by_day: a directory `day=2026-03-01` for each day of UTC, as DuckDB, Spark and pandas read it.
        told: given a sentence for each file of the journal that could not be read in full.

    Raises:
        HistoryError: there is no history, a library is not installed, or the files can't be written.
    """
    single = output.suffix == ".parquet"
    if single and by_day:
        raise HistoryError(f"{output} is one file; name a directory to have one for each day")
    directory = output.parent if single else output
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with storing(directory) as store:
            for batch in portions(journal, times, told):
                store.take(batch, _everything)
            store.finish(_everything)
            if not store.rows:
                raise HistoryError(f"{journal}: no span of that time was recorded")
            if by_day:
                return [_written(store, directory / _DAY_NAME.format(day=day), where) for day, where in _days(store)]
            return [_written(store, output if single else directory / _FILE, "true")]
    except OSError as error:
        raise HistoryError(
            f"{output}: can't be written ({error.strerror}); name another place with --output"
        ) from error


def _everything(name: str) -> bool:
    return name != "attributes"


def _days(store: Store) -> Iterator[tuple[str, str]]:
    """Yield each day that has spans, and the condition for them."""
    query = f"SELECT DISTINCT epoch_us(timestamp) // {_DAY_US} FROM records ORDER BY 1"  # noqa: S608  # ours
    for (number,) in store.database.execute(query).fetchall():
        begin = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=number)
        yield f"{begin:%Y-%m-%d}", f"epoch_us(timestamp) // {_DAY_US} = {number}"


def _written(store: Store, path: Path, where: str) -> Exported:
    """Write some rows to a file, which takes its name once it is whole and on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tocsin-", dir=path.parent) as place:
        new = Path(place) / path.name
        literal = str(new).replace("'", "''")
        rows = store.database.execute(
            f"COPY (SELECT * FROM records WHERE {where} ORDER BY timestamp) TO '{literal}' "  # noqa: S608  # ours
            f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_ROW_GROUP})"
        ).fetchone()[0]
        descriptor = os.open(new, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, 0o600)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        new.replace(path)
    return Exported(path, int(rows), path.stat().st_size)
