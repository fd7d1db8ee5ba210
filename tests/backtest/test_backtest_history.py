"""A backtest of recorded history says what the service said when it recorded it."""

import asyncio
import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from recording import ids_of, recorded
from samples import EPOCH, MINUTE, SECOND, Span, batch_of, histories, rule_of, rules, splits

from tocsin.journal.config import JournalConfig
from tocsin.journal.record import Record
from tocsin.journal.sqlite import SqliteLog
from tocsin.model.batch import CostSource
from tocsin.rules.rule import Condition, Metric, NoData, Rule
from tocsin.service.backtest import (
    BacktestError,
    CancelledBacktestError,
    History,
    Period,
    Progress,
    Report,
    Version,
    as_json,
    backtest,
)

DOLLAR = 10**9


def paid(number: int, at: int, usd: float = 1.0, conversation: str = "a") -> Span:
    return Span(
        time=EPOCH + at,
        trace=number,
        span=number,
        labels={"conversation": conversation},
        cost_nano=round(usd * DOLLAR),
        computed_nano=round(usd * DOLLAR),
        cost_source=CostSource.COMPUTED,
    )


def spending(**more: Any) -> Rule:  # noqa: ANN401  # any field of Rule
    return rule_of(name="spending", **{"threshold": 5, "group_by": (("conversation",),), **more})


@settings(
    max_examples=60,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.target),
    suppress_health_check=[HealthCheck.too_slow],
)
@given(data=st.data(), sort=st.booleans())
def test_the_recorded_history_gives_the_events_of_the_run_that_recorded_it(data: st.DataObject, sort: bool) -> None:
    spans = data.draw(histories(inherited=not sort, trees=not sort, nested=not sort))
    tested = [replace(data.draw(rules(timers=True)), name=f"rule {number}") for number in range(2)]
    tested.append(replace(data.draw(rules(windowless=True)), name="rule without a window"))
    requests = [request for request in data.draw(splits(spans)) if request]
    if not sort:  # late ones among them
        requests = data.draw(st.permutations(requests))
    calls: list[tuple[int, list[Span]]] = []
    now = 0
    for request in requests:
        now = max(now, *(span.time for span in request))
        calls.append((now, request))
        if not sort and data.draw(st.booleans()):
            now += data.draw(st.integers(1, 200)) * SECOND
            calls.append((now, []))
    with TemporaryDirectory() as directory:
        live = recorded(Path(directory), tested, calls)
        report = backtest(tested, History(Path(directory), sort=sort))
    assert ids_of(report) == sorted(event.id for event in live)
    values = {event.id: event.evidence.value for event in live}
    for rule in report.rules:
        for interval in rule.intervals:
            if interval.value is not None:
                assert interval.value == values[interval.event_ids[0]]
        for sending in rule.sendings:
            assert sending.contact_points
            assert sending.value is None or sending.value == values[sending.event_id]


def test_breaches_in_a_cooldown_are_counted_and_not_notified(tmp_path: Path) -> None:
    # Ten bursts of six dollars, 10 minutes apart: each is over in 5, and the cooldown is half an hour.
    spans = [paid(100 * burst + n, burst * 10 * MINUTE + n * SECOND) for burst in range(10) for n in range(6)]
    recorded(tmp_path, [spending()], [(span.time, [span]) for span in spans])
    rule = backtest([spending()], History(tmp_path)).rules[0]
    assert (rule.breached, rule.notified) == (10, 4)
    assert [each.notified for each in rule.intervals] == [True, False, False] * 3 + [True]
    assert all(each.value == 6 and each.peak == 6 and each.threshold == 5 for each in rule.intervals)
    assert rule.intervals[0].fired_at == "2026-09-21T14:13:25.000000Z"
    assert rule.intervals[-1].resolved_at is None


def test_hits_of_a_rule_without_a_window_are_breaches(tmp_path: Path) -> None:
    rule = rule_of(name="dear", threshold=5, window_ns=None, metric=Metric.COST)
    spans = [paid(number, number * MINUTE, usd=6 if number % 3 == 0 else 1) for number in range(36)]
    recorded(tmp_path, [rule], [(span.time, [span]) for span in spans])
    found = backtest([rule], History(tmp_path)).rules[0]
    assert (found.breached, found.notified) == (12, 1)
    assert [sending.transition for sending in found.sendings] == ["firing", "reminder"]
    assert max(high for _, _, high, _ in found.series[0].points if high is not None) == 6
    assert found.series[0].points[0][1] == 6.0


def test_a_period_leaves_out_what_fired_before_and_still_fills_the_windows(tmp_path: Path) -> None:
    spans = [paid(number, number * MINUTE, usd=2) for number in range(60)]
    rule = spending(window_ns=20 * MINUTE, cooldown_ns=0)
    recorded(tmp_path, [rule], [(span.time, [span]) for span in spans])
    period = Period(EPOCH + 30 * MINUTE, EPOCH + 40 * MINUTE)
    found = backtest([rule], History(tmp_path), period=period)
    [interval] = found.rules[0].intervals
    assert interval.fired_at < "2026-09-21T14:43:20"  # before the period, and still firing in it
    assert interval.resolved_at is None
    assert found.rules[0].sent == 0
    points = found.rules[0].series[0].points
    assert all(period.begin <= at * 1e9 <= period.end for at, *_ in points)  # type: ignore[operator]  # both are set
    assert points[0][2] in (40.0, 42.0)  # a full window from the first moment, and at most a pane more
    assert (found.begin, found.end) == ("2026-09-21T14:43:20.000000Z", "2026-09-21T14:53:20.000000Z")


def test_silence_to_the_end_of_a_period_is_noticed(tmp_path: Path) -> None:
    rule = rule_of(name="silence", condition=Condition.ABSENT, metric=Metric.COUNT, window_ns=10 * MINUTE)
    recorded(tmp_path, [rule], [(EPOCH, [paid(1, 0)])])
    assert backtest([rule], History(tmp_path)).rules[0].breached == 0
    found = backtest([rule], History(tmp_path), period=Period(None, EPOCH + 30 * MINUTE)).rules[0]
    assert found.breached == 1
    assert found.intervals[0].fired_at.startswith("2026-09-21T14:23:2")


async def test_history_is_read_while_it_is_written(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path, JournalConfig())
    for number in range(8):
        await log.append(Record(EPOCH + number * SECOND, 0, batch_of([paid(number + 1, number * SECOND)])))
    report = await asyncio.to_thread(backtest, [spending()], History(tmp_path))
    assert report.spans == 8
    assert report.rules[0].breached == 1
    await log.close()


def test_two_versions_are_put_side_by_side(tmp_path: Path) -> None:
    spans = [paid(100 * burst + n, burst * 60 * MINUTE + n * SECOND) for burst in range(4) for n in range(4 + burst)]
    recorded(tmp_path, [spending()], [(span.time, [span]) for span in spans])
    strict = replace(spending(), levels=rule_of(threshold=3).levels)
    report = backtest([spending()], History(tmp_path), name="old", against=Version("new", [strict]))
    [comparison] = report.comparisons
    assert (comparison.first.breached, comparison.second.breached) == (2, 4)
    assert (comparison.both, comparison.only_a, comparison.only_b) == (2, 0, 2)
    assert {each.version for each in comparison.differences} == {"b"}
    both = [spending(), replace(strict, name="strict")]
    paired = backtest(both, History(tmp_path), pairs=[(both[0], both[1])]).comparisons[0]
    assert (paired.a, paired.b, paired.both, paired.only_b) == ("spending", "strict", 2, 2)


def test_labels_that_were_not_recorded_are_named(tmp_path: Path) -> None:
    recorded(tmp_path, [spending()], [(EPOCH, [paid(1, 0), paid(2, SECOND)])])
    rule = replace(spending(), group_by=(("app.feature",),))
    found = backtest([rule], History(tmp_path)).rules[0]
    assert found.notes == ("app.feature was not recorded for 2 spans: no rule read it then; it counts as absent there",)


def test_progress_is_told_and_it_can_be_cancelled(tmp_path: Path) -> None:
    spans = [paid(number, number * SECOND) for number in range(1, 50)]
    recorded(tmp_path, [spending()], [(span.time, [span]) for span in spans])
    told: list[Progress] = []
    backtest([spending()], History(tmp_path), progress=told.append)
    assert told[-1].done == 1.0
    assert told[-1].spans == 49
    with pytest.raises(CancelledBacktestError):
        backtest([spending()], History(tmp_path), cancelled=lambda: True)


def test_a_directory_without_history_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BacktestError, match="nothing is recorded there") as raised:
        backtest([spending()], History(tmp_path / "none"))
    assert "--input" in str(raised.value)


def test_a_period_without_spans_says_so(tmp_path: Path) -> None:
    recorded(tmp_path, [spending()], [(EPOCH, [paid(1, 0)])])
    with pytest.raises(BacktestError, match="has no spans from 2026-09-23"):
        backtest([spending()], History(tmp_path), period=Period(EPOCH + 2 * 24 * 60 * MINUTE))
    with pytest.raises(BacktestError, match="no rule to test"):
        backtest([], History(tmp_path))


def test_an_empty_journal_says_so(tmp_path: Path) -> None:
    with pytest.raises(BacktestError, match="is empty"):
        backtest([spending()], History(tmp_path))


def test_a_report_is_json_as_it_is(tmp_path: Path) -> None:
    rule = rule_of(name="score", metric=Metric.JUDGE_SCORE, condition=Condition.LT, threshold=0.5, no_data=NoData.ALERT)
    spans = [replace(paid(1, 0), numbers={"judge_score": 0.2}), paid(2, MINUTE)]
    recorded(tmp_path, [rule], [(span.time, [span]) for span in spans])
    report = backtest([rule], History(tmp_path), period=Period(None, EPOCH + 60 * MINUTE))
    body = json.dumps(as_json(report), allow_nan=False)
    schema = json.loads(files("tocsin.service.backtest").joinpath("report.schema.json").read_text())
    jsonschema.validate(json.loads(body), schema)


def test_the_committed_schema_is_that_of_the_report() -> None:
    schema = json.loads(files("tocsin.service.backtest").joinpath("report.schema.json").read_text())
    assert schema == TypeAdapter(Report).json_schema(mode="serialization")
