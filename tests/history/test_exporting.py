"""Files of Parquet of what was recorded."""

import os
from pathlib import Path

import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it ships none
import pytest
from history_journals import AT, asked, calls_of, recorded
from typer.testing import CliRunner

from tocsin.cli import app
from tocsin.history.exporting import export
from tocsin.history.failures import HistoryError

DAY = 86_400 * 10**9
ATTRIBUTES = [
    {"app.n": n, "app.f": n / 2, "app.t": f"x{n % 3}", "app.b": n % 2 == 0, "app.mixed": n if n % 2 else "odd"}
    for n in range(50)
]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    requests = [calls_of(ATTRIBUTES, at=AT + day * DAY) for day in range(3)]
    return recorded(tmp_path / "data", requests, "history: {attributes: [app.*]}\n")


def test_what_is_exported_is_what_is_queried(journal: Path, tmp_path: Path) -> None:
    [file] = export(journal, tmp_path / "out.parquet")
    assert (file.path, file.rows, file.size) == (tmp_path / "out.parquet", 150, file.path.stat().st_size)
    assert file.path.stat().st_mode & 0o777 == 0o600
    table = pq.read_table(file.path)
    types = {field.name: str(field.type) for field in table.schema}
    assert types["timestamp"] == "timestamp[us, tz=UTC]"
    assert (types["app.n"], types["app.f"], types["app.t"], types["app.mixed"]) == (
        "double",
        "double",
        "string",
        "string",
    )
    assert (types["failed"], types["input_tokens"], types["cost_usd"]) == ("bool", "int64", "double")
    names = ["trace_id", "model", "cost_usd", "app.n", "app.f", "app.t", "app.b", "app.mixed"]
    listed = ", ".join(f'"{name}"' for name in names)
    rows = asked(journal, f"SELECT {listed} FROM spans ORDER BY timestamp")  # noqa: S608  # ours
    assert [tuple(row[name] for name in names) for row in table.select(names).to_pylist()] == rows
    assert [row[3:] for row in rows[:3]] == [
        (0, 0, "x0", "true", "odd"),
        (1, 0.5, "x1", "false", "1"),
        (2, 1, "x2", "true", "odd"),
    ]
    metadata = pq.ParquetFile(file.path).metadata
    assert metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_file_for_each_day(journal: Path, tmp_path: Path) -> None:
    files = export(journal, tmp_path / "out", by_day=True)
    assert [str(file.path.relative_to(tmp_path / "out")) for file in files] == [
        f"day=2026-09-{day}/spans.parquet" for day in (21, 22, 23)
    ]
    assert [file.rows for file in files] == [50, 50, 50]
    whole = pq.read_table(tmp_path / "out")
    assert whole.num_rows == 150
    assert sorted({str(day) for day in whole.column("day").to_pylist()}) == ["2026-09-21", "2026-09-22", "2026-09-23"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"day=2026-09-{day}" for day in (21, 22, 23)]


def test_a_part_of_the_time(journal: Path, tmp_path: Path) -> None:
    [file] = export(journal, tmp_path / "out", times=(AT + DAY, AT + 2 * DAY))
    assert (file.path.name, file.rows) == ("spans.parquet", 50)
    with pytest.raises(HistoryError, match="no span of that time was recorded"):
        export(journal, tmp_path / "none", times=(0, 1))


def test_a_file_is_there_whole_or_not_at_all(journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.parquet"
    target.write_text("what was there before")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tocsin.history.exporting.os.fsync", full)
    with pytest.raises(HistoryError, match="No space left on device"):
        export(journal, target)
    assert target.read_text() == "what was there before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out.parquet"]
    monkeypatch.undo()
    export(journal, target)
    assert pq.read_table(target).num_rows == 150


def test_one_file_is_not_parted(journal: Path, tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="name a directory to have one for each day"):
        export(journal, tmp_path / "out.parquet", by_day=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_can_not_be_written_to_is_said_to_be_so(journal: Path) -> None:
    with pytest.raises(HistoryError, match="name another place with --output"):
        export(journal, Path("/proc/out"))


def test_the_command_says_what_it_wrote(journal: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["export", "--directory", str(journal.parent), "--output", str(tmp_path / "o"), "--partition", "day"]
    )
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == 3
    assert "day=2026-09-21/spans.parquet: 50 spans, " in lines[0]
