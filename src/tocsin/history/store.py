"""The spans that a query or an export is about, in a database of DuckDB that lives as long as the question.

Only the columns that are wanted are put into it, portion by portion; it is a file, so that memory does not grow with
the history. Once all is there it is closed to everything outside: no file, no network, no other setting.
"""

import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tocsin.history.columns import COLUMNS, NUMBER_MARK, arrow
from tocsin.history.failures import HistoryError, needs
from tocsin.model.batch import SpanBatch

__all__ = ["MEMORY", "Store", "quoted", "storing"]

MEMORY: Final = "512MB"
"""Of DuckDB; it goes on in files past that."""
_RECORDED: Final = "tocsin_recorded"


@contextmanager
def storing(directory: Path | None = None, *, memory: str = MEMORY) -> Iterator["Store"]:
    """Open an empty store, and remove it after the block.

    Args:
        directory: where its file is; None: where the system has its temporary files.
        memory: as DuckDB writes it.

    Raises:
        HistoryError: DuckDB is not installed, or there is no room.
    """
    try:
        import duckdb
    except ImportError as error:
        raise needs("duckdb") from error
    with tempfile.TemporaryDirectory(prefix="tocsin-history-", dir=directory) as place:
        database = duckdb.connect(str(Path(place) / "spans.duckdb"))
        try:
            database.execute(f"SET memory_limit='{memory}'; SET temp_directory='{place}/more'; SET TimeZone='UTC'")
            # A name in a query is never a variable of this program.
            database.execute("SET python_enable_replacements=false; SET preserve_insertion_order=false")
            database.execute("SET autoinstall_known_extensions=false; SET autoload_known_extensions=false")
            yield Store(database)
        except duckdb.Error as error:
            raise HistoryError(f"DuckDB says: {error}") from error
        finally:
            database.close()


class Store:
    """The tables; one thread uses it."""

    def __init__(self, database: Any) -> None:  # noqa: ANN401  # DuckDB is an extra
        self.database = database
        self.rows = 0
        self._columns: dict[str, str] = {}
        """Of the recorded table -> type."""
        self._of_lower = {name: name for name in (*COLUMNS, "attributes")}

    def take(self, batch: SpanBatch, wanted: Callable[[str], bool]) -> None:
        """Put the wanted columns of a portion into the table."""
        table = arrow(batch, wanted)
        table = table.rename_columns([self._spelled(name) for name in table.column_names])
        for name in table.column_names:
            if name not in self._columns:
                self._add(name)
        self.put(_RECORDED, ", ".join(map(quoted, table.column_names)), table)
        self.rows += len(batch)

    def put(self, table: str, names: str, rows: Any) -> None:  # noqa: ANN401  # a table of Arrow
        """Insert a table of Arrow into one of these columns."""
        self.database.register("tocsin_portion", rows)
        self.database.execute(f"INSERT INTO {table} ({names}) SELECT * FROM tocsin_portion")  # noqa: S608  # ours, quoted
        self.database.unregister("tocsin_portion")

    def finish(self, wanted: Callable[[str], bool], keys: Collection[str] = ()) -> list[str]:
        """Make the views `records` and `spans` of what was put in; return the names of attributes, sorted.

        Args:
            wanted: which columns.
            keys: attributes that are NULL where no span has them.
        """
        for name in COLUMNS:
            if wanted(name) and name not in self._columns:
                self._add(name)
        if "span_class" not in self._columns:
            self._add("span_class")
        attributes = sorted({name.removesuffix(NUMBER_MARK) for name in self._columns} - COLUMNS.keys())
        shown = [quoted(name) for name in COLUMNS if name in self._columns]
        shown += [f"{self._attribute(name)} AS {quoted(name)}" for name in attributes]
        lower = {name.lower() for name in (*COLUMNS, *attributes)}
        shown += [
            f"NULL AS {quoted(key)}" for key in {key.lower(): key for key in keys if key.lower() not in lower}.values()
        ]
        if wanted("attributes"):
            pairs = ", ".join(f"{_text(name)}, {self._attribute(name)}" for name in attributes)
            shown.append(f"json_object({pairs}) AS attributes" if pairs else "'{}'::JSON AS attributes")
        run = self.database.execute
        run(f"CREATE VIEW records AS SELECT {', '.join(shown)} FROM {_RECORDED}")  # noqa: S608  # ours, quoted
        run("CREATE VIEW spans AS SELECT * FROM records WHERE span_class NOT IN ('usage', 'duplicate')")
        return attributes

    def lock(self) -> None:
        """Close the database to everything outside, and to other settings."""
        self.database.execute("SET enable_external_access=false; SET lock_configuration=true")

    def _spelled(self, name: str) -> str:
        """Return the name of a column: to DuckDB two that differ in their case are one, so a later one is marked."""
        if name in COLUMNS:
            return name
        key, mark = name.removesuffix(NUMBER_MARK), NUMBER_MARK if name.endswith(NUMBER_MARK) else ""
        spelled, number = key, 2
        while self._of_lower.setdefault(spelled.lower(), key) != key:
            spelled, number = f"{key}~{number}", number + 1
        return spelled + mark

    def _add(self, name: str) -> None:
        kind = COLUMNS[name][0] if name in COLUMNS else "DOUBLE" if name.endswith(NUMBER_MARK) else "VARCHAR"
        if not self._columns:
            self.database.execute(f"CREATE TABLE {_RECORDED} ({quoted(name)} {kind})")
        else:
            self.database.execute(f"ALTER TABLE {_RECORDED} ADD COLUMN {quoted(name)} {kind}")
        self._columns[name] = kind

    def _attribute(self, name: str) -> str:
        """Return an attribute as an expression: a number where all of its values are, else text."""
        text, number = quoted(name), quoted(name + NUMBER_MARK)
        if name + NUMBER_MARK not in self._columns:
            return text
        if name not in self._columns:
            return number
        counted = self.database.execute(
            f"SELECT count(*) FROM {_RECORDED} WHERE {text} IS NOT NULL "  # noqa: S608  # ours, quoted
            f"AND ({number} IS NULL OR {text} IN ('true', 'false'))"
        ).fetchone()
        if not counted[0]:
            return number
        whole = f"{number} = trunc({number}) AND abs({number}) < 9007199254740992"
        written = f"CASE WHEN {whole} THEN {number}::BIGINT::VARCHAR ELSE {number}::VARCHAR END"
        return f"coalesce({text}, {written})"


def quoted(name: str) -> str:
    """Return a name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
