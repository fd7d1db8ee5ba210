"""The library call: rules and a source to suggestions. Two passes: what was measured, then what candidates would do."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tocsin.alerts.event import AlertEvent
from tocsin.engine.config import LimitsConfig, TraceConfig
from tocsin.engine.engine import Engine
from tocsin.model.batch import SpanBatch
from tocsin.notify.sentence import measured as shown_rule
from tocsin.notify.wording import duration, quantity
from tocsin.rules.needs import needs_of
from tocsin.rules.rule import Condition, Level, Metric, Rule
from tocsin.service.backtest.failures import BacktestError
from tocsin.service.backtest.findings import rule_report
from tocsin.service.backtest.period import Period
from tocsin.service.backtest.reading import lacking, widened
from tocsin.service.backtest.replay import Outcome
from tocsin.service.backtest.report import RuleReport, time_of
from tocsin.service.backtest.sources import Source
from tocsin.service.suggest.candidates import candidates_of, is_suggestible, with_threshold
from tocsin.service.suggest.distribution import Distribution
from tocsin.service.suggest.measuring import Measuring
from tocsin.service.suggest.suggestion import (
    VERSION,
    Candidate,
    LevelSuggestion,
    Measured,
    RuleSuggestion,
    Suggestions,
)

__all__ = ["suggest"]

_NS: Final = 10**9
_DAY: Final = 86_400 * _NS
_SHORTEST_NS: Final = 3_600 * _NS
"""Of a shorter history nothing is said a week."""
_STOPS: Final = {
    Condition.ABSENT: "it compares with nothing: what can be changed is 'window', the silence that is too long",
    Condition.PRESENT: "its expression ends in no comparison with a number, so there is no threshold to change",
    Condition.EQ: "it fires on one value, not past a line; there is no threshold to move",
    Condition.NE: "it fires on all but one value, not past a line; there is no threshold to move",
}
_MOVES: Final = "it compares with a line that moves, and the values are without it; try other distances with a backtest"


@dataclass(slots=True)
class _Seen:
    """What there was of the period."""

    spans: int = 0
    first: int = 0
    last: int = 0


@dataclass(slots=True)
class _Trial:
    """One candidate."""

    rule: Rule
    level: Level
    threshold: float
    sources: tuple[str, ...]
    candidate: Rule
    events: list[AlertEvent] = field(default_factory=list)


def suggest(
    rules: Sequence[Rule],
    source: Callable[[], Source],
    *,
    period: Period | None = None,
    trace: TraceConfig | None = None,
    limits: LimitsConfig | None = None,
    per_week: float = 1.0,
    progress: Callable[[float], None] | None = None,
) -> Suggestions:
    """Return thresholds from history, and what each would have done. Blocks.

    Args:
        rules: compiled; as they are, with `for`, cooldown and all, but for their thresholds.
        source: gives the spans anew each time; it is asked twice.
        period: whose values and alerts are wanted; the windows are filled from before it. None: all there is.
        trace: see `Engine`.
        limits: see `Engine`.
        per_week: how many notifications of a rule a week are few enough.
        progress: told how far it is, 0 to 1.

    Raises:
        BacktestError: there is nothing to replay, or no rule.
    """
    if not rules:
        raise BacktestError("there is no rule to suggest for; enable one, name one with --rule, or use --template")
    period, trace, limits = period or Period(), trace or TraceConfig(), limits or LimitsConfig()
    wide = widened(period, rules)
    tell = progress or _nobody
    seen, first = _Seen(), source()
    measuring = Measuring(rules, trace, limits, period.begin)
    for batch in _batches(first, rules, wide, lambda done: tell(done / 2)):
        _note(seen, batch, period)
        measuring.take(batch)
    if not seen.spans:
        raise BacktestError(f"{first.name} has no spans {period}".rstrip() + "; widen it with --from and --to")
    found = measuring.finish(period.end)
    trials = _trials(rules, found)
    engine, outcome = _replayed(trials, source(), wide, period, trace, limits, lambda done: tell(0.5 + done / 2))
    begin = seen.first if period.begin is None else period.begin
    end = max(seen.last, period.end or 0)
    weeks = (end - begin) / (7 * _DAY) if end - begin >= _SHORTEST_NS else math.nan
    samples = engine.statistics.samples
    return Suggestions(
        version=VERSION,
        source=first.name,
        begin=time_of(begin),
        end=time_of(end),
        days=(end - begin) / _DAY,
        spans=seen.spans,
        per_week=per_week,
        problem_count=first.problems.count,
        rules=tuple(
            _suggestion(
                rule,
                found[rule.key],
                [(trial, rule_report(trial.candidate, outcome)) for trial in trials if trial.rule is rule],
                (weeks, per_week),
                (samples, lacking(rule, first)),
            )
            for rule in rules
        ),
    )


def _nobody(done: float) -> None:
    """Nobody is told."""


def _note(seen: _Seen, batch: SpanBatch, period: Period) -> None:
    wanted = batch.end if period.begin is None else batch.end[batch.end >= period.begin]
    if len(wanted):
        seen.spans += len(wanted)
        seen.first = seen.first or int(wanted[0])
        seen.last = int(wanted[-1])


def _batches(
    source: Source, rules: Sequence[Rule], period: Period, tell: Callable[[float], None]
) -> Iterator[SpanBatch]:
    """Yield what there is in a period, in order of time."""
    for part in source.parts(needs_of(rules), period):
        if part.batch is not None and len(part.batch):
            if part.time is not None:
                raise BacktestError("a source for suggestions gives spans in order of time: History(…, sort=True)")
            yield part.batch
        tell(part.done)


def _trials(rules: Sequence[Rule], found: Mapping[tuple[str, str], Distribution]) -> list[_Trial]:
    trials: list[_Trial] = []
    for rule in rules:
        for level in rule.levels:
            own = candidates_of(rule, level, found[rule.key]) if is_suggestible(rule) else [(level.threshold, ("now",))]
            for threshold, sources in own:
                candidate = with_threshold(rule, level, threshold, len(trials))
                trials.append(_Trial(rule, level, float(threshold), sources, candidate))
    return trials


def _replayed(
    trials: Sequence[_Trial],
    source: Source,
    wide: Period,
    period: Period,
    trace: TraceConfig,
    limits: LimitsConfig,
    tell: Callable[[float], None],
) -> tuple[Engine, Outcome]:
    """Replay once with all candidates: rules that differ in their threshold alone share their windows."""
    candidates = [trial.candidate for trial in trials]
    engine = Engine(candidates, trace, limits)
    events: dict[tuple[str, str], list[AlertEvent]] = {}

    def keep(some: Sequence[AlertEvent]) -> None:
        for event in some:
            at = event.evidence.window_to
            if (period.begin or 0) <= at and (period.end is None or at <= period.end):
                events.setdefault(event.rule.key, []).append(event)

    for batch in _batches(source, candidates, wide, tell):
        keep(engine.ingest(batch, int(batch.end[-1])))
    if period.end is not None and engine.time:
        keep(engine.replay(period.end, period.end))
    statistics, time = engine.statistics, engine.time
    unfinished = {event.alert_id: event for event in engine.replace_rules((), time)}
    return engine, Outcome(events, unfinished, {}, statistics, time)


def _suggestion(
    rule: Rule,
    found: Distribution,
    tried: Sequence[tuple[_Trial, RuleReport]],
    seldom: tuple[float, float],
    known: tuple[Mapping[tuple[str, str], int], Sequence[str]],
) -> RuleSuggestion:
    samples = known[0].get(tried[0][0].candidate.key, 0)
    notes = list(known[1])
    if rule.expression is not None and not found.count:
        notes.append("no value: no span that it is about, or never enough of them in all its windows")
    elif not samples and not found.count:
        notes.append("no sample: no span that its metric, filters and groups are about")
    elif not found.count:
        notes.append(f"no value: no group ever had min_samples {rule.min_samples}")
    elif found.least == found.most and is_suggestible(rule):
        notes.append(f"it was always {quantity(found.most, rule.unit)}: history does not say where a line should be")
    if rule.condition in _STOPS:
        notes.append(_STOPS[rule.condition])
    elif not is_suggestible(rule):
        notes.append(_MOVES)
    if not any(level.notify for level in rule.levels):
        notes.append("it has no contact point; notified is how often one would have been told")
    return RuleSuggestion(
        project=rule.project,
        name=rule.name,
        description=rule.description,
        what=_what(rule),
        condition=rule.condition.value,
        unit=rule.unit,
        samples=samples,
        measured=_measured(found),
        has_line=rule.condition not in _STOPS and (rule.expression is None or rule.expression.limits is None),
        levels=tuple(
            LevelSuggestion(
                level.severity.value,
                float(level.threshold),
                _candidates([(trial, report) for trial, report in tried if trial.level is level], *seldom),
            )
            for level in rule.levels
        ),
        notes=tuple(notes),
    )


def _candidates(tried: Sequence[tuple[_Trial, RuleReport]], weeks: float, per_week: float) -> tuple[Candidate, ...]:
    most = 1.0 if math.isnan(weeks) else max(1.0, weeks * per_week)
    found: list[Candidate] = []
    for trial, report in tried:
        breached, notified = report.breached, report.notified
        is_first = notified <= most and not any(each.suggested for each in found)
        found.append(
            Candidate(
                threshold=trial.threshold,
                sources=trial.sources,
                breached=breached,
                notified=notified,
                breached_per_week=None if math.isnan(weeks) else breached / weeks,
                notified_per_week=None if math.isnan(weeks) else notified / weeks,
                suggested=is_first and len(tried) > 1,
            )
        )
    return tuple(found)


def _measured(found: Distribution) -> Measured:
    def at(rank: float) -> float | None:
        value = found.quantile(rank)
        return value if math.isfinite(value) else None

    return Measured(
        values=found.count,
        p50=at(0.5),
        p95=at(0.95),
        p99=at(0.99),
        maximum=found.most if found.count else None,
        minimum=found.least if found.count else None,
        p5=at(0.05),
        p1=at(0.01),
    )


def _what(rule: Rule) -> str:
    """Return `sum of cost over 5m by conversation`, or the expression itself."""
    if rule.expression is not None:
        return " ".join(rule.expression.text.split())
    own = shown_rule(rule)
    metric = own.attribute if own.metric is Metric.ATTRIBUTE else own.metric.value
    window = "" if own.window_ns is None else f" over {duration(own.window_ns / _NS)}"
    if own.calendar is not None:
        window = f" since the {own.calendar.period.value} began"
    aggregate = f"p{own.quantile * 100:g}" if own.quantile is not None else own.aggregate.value
    groups = ", ".join(" or ".join(entry) for entry in own.group_by)
    of = f"{aggregate} of {metric}{window}" if window else f"{metric} of each {own.scope.value}"
    return f"{of} by {groups}" if groups else of
