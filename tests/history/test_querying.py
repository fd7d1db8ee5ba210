"""Queries over recorded spans: while the service writes, while segments go, and with nothing else within reach."""

import asyncio
import builtins
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from history_journals import AT, asked, batches_of, calls_of, record, recorded
from otlp_requests import Call

from tocsin.history.asking import Question, asking
from tocsin.history.failures import HistoryError
from tocsin.history.portions import portions
from tocsin.history.recorded import RecordedSince, note_recorded
from tocsin.journal.codec import decode
from tocsin.journal.config import JournalConfig
from tocsin.journal.directory import SegmentFile, segments_in
from tocsin.journal.record import Record
from tocsin.journal.sqlite import SqliteLog
from tocsin.model.batch import Needs, SpanBatch
from tocsin.rules.sql.config import SqlConfig
from tocsin.semconv.recording import Recording
from tocsin.service.loading import load_text

SMALL = JournalConfig.model_validate({"segment_size": "64KiB", "max_size": "256KiB"})
QUERIES = Path(__file__).parents[1] / "rules" / "sql" / "queries"
HOUR = 3600 * 10**9


def told_by(journal: Path, text: str) -> list[str]:
    with asking(Question(text, journal)) as answer:
        list(answer.rows)
        return answer.told


async def test_queries_see_what_was_accepted_while_the_service_writes(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path, JournalConfig())
    batches = batches_of(load_text("{}\n"), [calls_of([{}] * 10, at=AT + n * 10**11) for n in range(30)])
    for number, batch in enumerate(batches, 1):
        assert await log.append(Record(AT, AT, batch))
        if number % 10 == 0:
            rows = await asyncio.to_thread(asked, tmp_path, "SELECT count(*), sum(input_tokens) FROM spans")
            assert rows == [(10 * number, 10_000 * number)]
    await log.close()


async def test_segments_may_go_while_they_are_read(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path, SMALL)
    batches = batches_of(
        load_text("{}\n"), [calls_of([{"user.id": f"u{n}-{m}"} for m in range(200)]) for n in range(40)]
    )
    seen: list[int] = []
    said: list[str] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.extend(map(len, portions(tmp_path, (0, 1 << 62), said.append)))

    await log.append(Record(AT, AT, batches[0]))
    reader = asyncio.create_task(asyncio.to_thread(read))
    first = segments_in(tmp_path)[0]
    for _ in range(4):
        for batch in batches:
            assert await log.append(Record(AT, AT, batch))
            log.tidy()
    stop.set()
    await reader
    await log.close()
    assert not first.path.exists()
    assert sum(seen) > 0
    assert all("was removed before it was read to its end" in sentence for sentence in said), said


def test_a_segment_that_goes_in_the_middle_is_told_and_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [calls_of([{"user.id": f"u{n}-{m}"} for m in range(200)], at=AT + n * HOUR) for n in range(20)]
    asyncio.run(
        record(
            tmp_path, batches_of(load_text("{}\n"), requests), JournalConfig.model_validate({"segment_size": "64KiB"})
        )
    )
    segments = segments_in(tmp_path)
    assert len(segments) > 3
    said: list[str] = []

    def gone_meanwhile(directory: Path) -> list[SegmentFile]:
        found = segments_in(directory)
        segments[1].remove()
        return found

    with monkeypatch.context() as patch:
        patch.setattr("tocsin.journal.reading.segments_in", gone_meanwhile)
        rows = sum(len(batch) for batch in portions(tmp_path, (0, 1 << 62), said.append))
    left = asked(tmp_path, "SELECT count(*) FROM spans")[0][0]
    assert rows == left < 4000
    assert said == [f"{segments[1].path.name} was removed before it was read to its end: its retention was over"]


def test_a_damaged_segment_is_told_and_what_can_be_read_is_used(tmp_path: Path) -> None:
    requests = [calls_of([{"user.id": f"u{n}-{m}"} for m in range(200)], at=AT + n * HOUR) for n in range(20)]
    asyncio.run(
        record(
            tmp_path, batches_of(load_text("{}\n"), requests), JournalConfig.model_validate({"segment_size": "64KiB"})
        )
    )
    second = segments_in(tmp_path)[1].path
    second.write_bytes(b"\0" * second.stat().st_size)
    [sentence] = told_by(tmp_path, "SELECT count(*) FROM spans")
    assert sentence.startswith(f"{second} is damaged (")
    assert 0 < asked(tmp_path, "SELECT count(*) FROM spans")[0][0] < 4000


def test_only_records_of_the_time_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = recorded(tmp_path, [calls_of([{}] * 5, at=AT + n * HOUR) for n in range(10)])
    decoded: list[int] = []

    def counting(data: bytes) -> SpanBatch:
        decoded.append(len(data))
        return decode(data)

    monkeypatch.setattr("tocsin.journal.codec.decode", counting)
    times = (AT + 3 * HOUR, AT + 5 * HOUR + 2 * 10**9)
    assert asked(journal, "SELECT count(*), min(timestamp), max(timestamp) FROM spans", times=times) == [
        (12, datetime.fromtimestamp(times[0] / 1e9, UTC), datetime.fromtimestamp(times[1] / 1e9 - 1, UTC))
    ]
    assert len(decoded) == 3


OUTSIDE = (
    "SELECT * FROM read_csv('{file}')",
    "SELECT * FROM read_text('{file}')",
    "SELECT * FROM read_blob('{file}')",
    "SELECT * FROM '{file}'",
    "SELECT * FROM glob('{directory}/*')",
    "COPY spans TO '{directory}/out.csv'",
    "COPY (SELECT 1) TO '{directory}/out.parquet'",
    "EXPORT DATABASE '{directory}/out'",
    "ATTACH '{directory}/other.db'",
    "ATTACH '{sqlite}' (TYPE sqlite)",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SELECT * FROM read_parquet('https://127.0.0.1:1/x.parquet')",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "SET memory_limit = '100GB'",
    "RESET memory_limit",
    "SELECT * FROM question",
    "SELECT 1; SELECT * FROM read_csv('{file}')",
)


@pytest.mark.parametrize("text", OUTSIDE)
def test_a_query_reaches_nothing_outside(tmp_path: Path, text: str) -> None:
    journal = recorded(tmp_path, [calls_of([{}])])
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    before = set(tmp_path.iterdir())
    filled = text.format(file=secret, directory=tmp_path, sqlite=segments_in(journal)[0].path)
    with pytest.raises(HistoryError, match="DuckDB says: "):
        asked(journal, filled)
    assert set(tmp_path.iterdir()) == before


def test_a_large_answer_goes_through_files_and_not_memory(tmp_path: Path) -> None:
    journal = recorded(
        tmp_path,
        [calls_of([{"app.t": f"{n}-{m}" * 20} for m in range(1000)], at=AT + n * HOUR) for n in range(20)],
        "history: {attributes: [app.*]}\n",
    )
    with asking(
        Question(
            'SELECT a.*, b."app.t" AS x FROM spans a, (SELECT "app.t" FROM spans LIMIT 20) b '
            "ORDER BY x, a.trace_id DESC",
            journal,
            memory="250MB",
        )
    ) as answer:
        assert sum(1 for _ in answer.rows) == 400_000


@pytest.mark.parametrize("path", sorted(QUERIES.glob("*.sql")), ids=lambda path: path.stem)
def test_queries_of_rules_run_as_they_stand(tmp_path: Path, path: Path) -> None:
    calls = calls_of([{"app.tenant.id": f"t{n % 3}"} for n in range(60)], at=AT)
    calls = [
        Call(**{**{f: getattr(c, f) for f in c.__dataclass_fields__}, "failed": n % 4 == 0})
        for n, c in enumerate(calls)
    ]
    earlier = calls_of([{}] * 60, at=AT - 3 * HOUR)
    journal = recorded(tmp_path, [earlier, calls])
    with asking(
        Question(path.read_text(), journal, start=AT - 60 * 10**9, end=AT + 120 * 10**9, interval="1 minute")
    ) as answer:
        rows = list(answer.rows)
        assert {"metric_timestamp", "metric_value"} <= set(answer.names)
    if path.stem == "error_rate":
        assert sum(row[1] for row in rows) / len(rows) == pytest.approx(0.25, abs=0.05)
    if path.stem == "inference_count":
        assert sum(row[1] for row in rows) == 60


def test_names_of_queries_stand_for_what_the_configuration_says(tmp_path: Path) -> None:
    calls = calls_of([{"app.tenant.id": "acme" if n % 2 else "b", "app.q": n / 10} for n in range(10)])
    journal = recorded(tmp_path, [calls], "history: {attributes: [app.*]}\n")
    names = SqlConfig.model_validate(
        {"metrics": {"quality": "app.q"}, "models": {"m": {"tenant": "acme"}}, "dimensions": {"customer": "tenant"}}
    )
    text = (
        "SELECT dimensions->>'customer' c, sum(value), any_value(model_id) FROM metrics_numeric_latest_version "
        "WHERE metric_name = 'quality' AND model_id = 'm' GROUP BY c"
    )
    assert asked(journal, text, names=names) == [("acme", pytest.approx(2.5), "m")]


def test_a_variable_that_was_not_given_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="say what it stands for with --interval"):
        asked(tmp_path, "SELECT time_bucket('${interval}', timestamp) FROM spans")


def test_what_was_not_recorded_all_the_time_is_told(tmp_path: Path) -> None:
    journal = recorded(tmp_path, [calls_of([{}])])
    note_recorded(journal, Recording(names=frozenset({"app.x"}), prefixes=("acme.",)), Needs(), AT + 10**9)
    note_recorded(journal, Recording(names=frozenset({"app.x"}), prefixes=("acme.",)), Needs(), AT + 2 * 10**9)
    assert told_by(journal, 'SELECT "app.x", "acme.y", model FROM spans') == [
        "acme.y was not recorded before 2026-09-21 14:13:21Z",
        "app.x was not recorded before 2026-09-21 14:13:21Z",
    ]
    assert told_by(journal, 'SELECT "app.other" FROM spans') == [
        "app.other is not recorded; history.attributes says which attributes are"
    ]
    assert told_by(journal, "SELECT tenant FROM spans") == []
    since = RecordedSince.of(journal)
    assert len(since.entries) == 2
    assert since.was("app.x", AT) is False
    assert since.was("app_x", AT + 2 * 10**9) is True
    assert since.was("tenant", AT - 1) is None


def test_names_that_differ_in_case_alone_are_columns_of_their_own(tmp_path: Path) -> None:
    journal = recorded(
        tmp_path, [calls_of([{"app.a": 1, "app.A": "x", "Model": "m"}])], "history: {attributes: [app.*, Model]}\n"
    )
    with asking(Question("SELECT * FROM spans", journal)) as answer:
        [row] = list(answer.rows)
        found = dict(zip(answer.names, row, strict=True))
    assert {found["app.A"], found["app.a~2"]} == {"x", 1.0}
    assert (found["model"], found["Model~2"]) == ("gpt-4o", "m")


@pytest.mark.parametrize("missing", ["duckdb", "pyarrow"])
def test_without_the_extra_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    journal = recorded(tmp_path, [calls_of([{}])])
    original = builtins.__import__

    def refuse(name: str, *rest: Any) -> object:  # noqa: ANN401  # as it is
        if name == missing:
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(HistoryError) as caught:
        asked(journal, "SELECT count(*) FROM spans")
    assert str(caught.value) == f"{missing} is not installed; install it with: pip install 'tocsin[history]'"


def test_a_place_without_a_history_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="nothing is recorded there"):
        asked(tmp_path / "nowhere", "SELECT 1 FROM spans")
    with pytest.raises(HistoryError, match="is empty: nothing is recorded yet"):
        asked(tmp_path, "SELECT 1 FROM spans")
    assert asked(tmp_path, "SELECT 1") == [(1,)]
