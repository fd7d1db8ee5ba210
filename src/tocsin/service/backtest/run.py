"""The library call: rules over a source, to a report. Prints nothing, keeps nothing, and may run in any thread."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tocsin.engine.config import LimitsConfig, TraceConfig
from tocsin.model.batch import Needs
from tocsin.rules.needs import needs_of
from tocsin.rules.rule import Rule
from tocsin.service.backtest.failures import BacktestError, CancelledBacktestError
from tocsin.service.backtest.findings import compared, rule_report
from tocsin.service.backtest.period import Period
from tocsin.service.backtest.reading import lacking, widened
from tocsin.service.backtest.replay import Outcome, Replay
from tocsin.service.backtest.report import VERSION, Report, RuleReport, time_of
from tocsin.service.backtest.sources import Part, Source

__all__ = ["Progress", "Version", "backtest"]

_LOOKS: Final = 720
_TOLD_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a backtest is."""

    done: float
    """Of the input: 0 to 1."""
    spans: int
    time: int
    """Event time that was reached, Unix nanoseconds."""


@dataclass(frozen=True, slots=True)
class Version:
    """A set of rules that is put side by side with another one."""

    name: str
    rules: Sequence[Rule]


def backtest(
    rules: Sequence[Rule],
    source: Source,
    *,
    period: Period | None = None,
    trace: TraceConfig | None = None,
    limits: LimitsConfig | None = None,
    name: str = "a",
    against: Version | None = None,
    pairs: Sequence[tuple[Rule, Rule]] = (),
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Report:
    """Return what rules would have done over a source of spans. Blocks; call it in a thread from an event loop.

    Args:
        rules: compiled, in the order of the report.
        source: `History` or `Files`; it is read once.
        period: of the events that are wanted; the windows are filled from before it. None: all there is.
        trace: see `Engine`.
        limits: see `Engine`.
        name: of these rules, beside those of `against`.
        against: other versions; rules of the same project and name are compared.
        pairs: rules out of `rules` that are compared with each other.
        progress: told a few times a second, in this thread.
        cancelled: asked a few times a second; True ends it.

    Raises:
        BacktestError: there is nothing to replay there, or no rule.
        CancelledBacktestError: `cancelled` said so.
    """
    if not rules:
        raise BacktestError("there is no rule to test; enable one, or name another with --rule")
    period = period or Period()
    replays = [
        Replay(each, trace or TraceConfig(), limits or LimitsConfig(), period, _step_of(period))
        for each in (rules, *([] if against is None else [against.rules]))
    ]
    run = _Run(source, replays, progress, cancelled)
    begun = time.perf_counter()
    run.read(widened(period, [rule for each in replays for rule in each.rules]))
    if not run.spans:
        raise BacktestError(_nothing(source, period))
    outcomes = [each.finish() for each in replays]
    reports = [_reports(each.rules, outcome, source) for each, outcome in zip(replays, outcomes, strict=True)]
    by_key = {(report.project, report.name): report for report in reports[0]}
    comparisons = [compared(left.name, right.name, by_key[left.key], by_key[right.key]) for left, right in pairs]
    if against is not None:
        others = {(report.project, report.name): report for report in reports[1]}
        comparisons += [
            compared(name, against.name, report, others[key]) for key, report in by_key.items() if key in others
        ]
    return Report(
        version=VERSION,
        source=source.name,
        begin=time_of(period.begin if period.begin is not None else run.first),
        end=time_of(period.end if period.end is not None else outcomes[0].time),
        spans=run.spans,
        seconds=time.perf_counter() - begun,
        problems=tuple(map(str, source.problems.told)),
        problem_count=source.problems.count,
        rejected=dict(source.problems.rejected),
        skipped_metrics=source.problems.skipped,
        rules=tuple(reports[0]),
        comparisons=tuple(comparisons),
        notes=_unmatched(replays, against),
    )


class _Run:
    """One pass over the source."""

    def __init__(
        self,
        source: Source,
        replays: Sequence[Replay],
        progress: Callable[[Progress], None] | None,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        self._source = source
        self._replays = replays
        self._progress = progress
        self._cancelled = cancelled
        self._told = 0.0
        self.spans = 0
        self.first = 0
        """The earliest end of a span."""

    def read(self, period: Period) -> None:
        """Give the replays what there is in a period."""
        needs = [needs_of(each.rules) for each in self._replays]
        every = Needs(
            frozenset().union(*(each.labels for each in needs)), frozenset().union(*(each.numbers for each in needs))
        )
        for part in self._source.parts(every, period):
            if part.batch is not None and len(part.batch):
                earliest = int(part.batch.end.min())
                self.first = min(self.first or earliest, earliest)
                self.spans += len(part.batch)
            self._expect(part)
            for each in self._replays:
                if part.time is not None:
                    each.take(part.wall, part.time, part.batch)
                elif part.batch is not None:
                    each.take_sorted(part.batch)
            self._tell(part.done)
        self._tell(1.0, now=True)

    def _expect(self, part: Part) -> None:
        """Say how long it will be: the first part in a thousand may mislead, and costs a few looks too many."""
        reached = max(part.time or 0, 0 if part.batch is None else int(part.batch.end[-1]))
        if part.done > 0 and self.first and reached > self.first:
            for each in self._replays:
                each.expect(int((reached - self.first) / max(part.done, 0.001)))

    def _tell(self, done: float, *, now: bool = False) -> None:
        if self._cancelled is None and self._progress is None:
            return
        clock = time.perf_counter()
        if clock - self._told < _TOLD_SECONDS and not now:
            return
        self._told = clock
        if self._cancelled is not None and self._cancelled():
            raise CancelledBacktestError("the backtest was cancelled; nothing is kept of it")
        if self._progress is not None:
            self._progress(Progress(done, self.spans, self._replays[0].engine.time))


def _step_of(period: Period) -> int | None:
    if period.begin is None or period.end is None:
        return None
    return max(1, (period.end - period.begin) // _LOOKS)


def _reports(rules: Sequence[Rule], outcome: Outcome, source: Source) -> list[RuleReport]:
    return [rule_report(rule, outcome, lacking(rule, source)) for rule in rules]


def _nothing(source: Source, period: Period) -> str:
    what = f"{source.name} has no spans"
    if source.problems.count:
        return f"{what} that can be read; the first problem: {source.problems.told[0]}"
    if period.begin is None and period.end is None:
        return f"{what}; let the service record some, or name files with --input"
    return f"{what} {period}; choose a longer period (--from and --to)"


def _unmatched(replays: Sequence[Replay], against: Version | None) -> tuple[str, ...]:
    if against is None:
        return ()
    first, second = ({rule.key: rule.name for rule in each.rules} for each in replays)
    gone = [name for key, name in first.items() if key not in second]
    new = [name for key, name in second.items() if key not in first]
    return tuple(
        [f"{name!r} is not in {against.name}, and is compared with nothing" for name in gone]
        + [f"{name!r} is in {against.name} alone, and is compared with nothing" for name in new]
    )
