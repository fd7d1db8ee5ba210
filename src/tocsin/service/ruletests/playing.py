"""One test through the engine: every alert event, what fires at instants that are asked for, and the nearest values.

The wall clock is event time. The engine stops at every span, at every second (every 1/3600 of longer tests), and at
the instants that are asked for; what time alone changes in between happens at its own time all the same.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.engine.batches import parted
from tocsin.engine.config import LimitsConfig, TraceConfig
from tocsin.engine.engine import Engine
from tocsin.engine.leaf import Leaf
from tocsin.engine.statistics import EngineStatistics
from tocsin.model.batch import SpanBatch
from tocsin.rules.rule import Condition, Rule
from tocsin.service.backtest.values import nearness, samples_of
from tocsin.windows.sums import Samples

__all__ = ["Firing", "Nearest", "Played", "play"]

RuleKey = tuple[str, str]
Group = tuple[tuple[str, str], ...]
_TICK_NS: Final = 10**9
_MOST_TICKS: Final = 3600
_MOST_STOPS: Final = 5000
"""Spans of more moments than these are taken a tick at a time."""
_MOST_HEARD: Final = 64


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert that fires at an instant."""

    event: AlertEvent
    """What last happened to it."""
    value: float
    """What the rule measures then; of a rule that judges each sample, the sample that was judged last."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """How near a group came to the limit."""

    value: float
    at: int
    """Nanoseconds after the test's start."""
    limit: float
    """NaN where there is nothing to compare with."""
    samples: int
    near: float


@dataclass(slots=True)
class Played:
    """What happened."""

    start: int
    """Unix nanoseconds."""
    end: int
    """Nanoseconds after the start."""
    events: list[AlertEvent] = field(default_factory=list)
    firing: dict[int, list[Firing]] = field(default_factory=dict)
    """Instant, nanoseconds after the start -> alerts."""
    nearest: dict[RuleKey, dict[Group, Nearest]] = field(default_factory=dict)
    statistics: EngineStatistics | None = None

    def when(self, event: AlertEvent) -> int:
        """Return when an event happened, nanoseconds after the start."""
        return event.evidence.window_to - self.start


def play(
    rules: Sequence[Rule],
    batch: SpanBatch | None,
    start: int,
    end: int,
    asked: Collection[int],
    trace: TraceConfig | None = None,
    limits: LimitsConfig | None = None,
) -> Played:
    """Return what rules do with some spans.

    Args:
        rules: compiled.
        batch: spans in order of time; None for none.
        start: of the test, Unix nanoseconds.
        end: of the test, nanoseconds after the start.
        asked: instants at which it is to be known what fires, nanoseconds after the start, none after the end.
        trace: see `Engine`.
        limits: see `Engine`.
    """
    return _Player(rules, start, end, trace, limits).play(batch, asked)


class _Player:
    def __init__(
        self, rules: Sequence[Rule], start: int, end: int, trace: TraceConfig | None, limits: LimitsConfig | None
    ) -> None:
        self._engine = Engine(rules, trace, limits)
        self._engine.heard = self._hear
        self._played = Played(start, end)
        self._active: dict[str, AlertEvent] = {}

    def play(self, batch: SpanBatch | None, asked: Collection[int]) -> Played:
        played, engine, begin = self._played, self._engine, 0
        ends = np.zeros(0, np.int64) if batch is None else batch.end
        wanted = set(asked)
        for at in _stops(ends - played.start, played.end, wanted):
            now = played.start + at
            upto = int(np.searchsorted(ends, now, side="right"))
            if batch is not None and upto > begin:
                self._keep(engine.ingest(_rows(batch, begin, upto), now))
                begin = upto
            if engine.time:
                self._keep(engine.replay(now, now))
                self._look(at)
            if at in wanted:
                played.firing[at] = self._firing()
        played.statistics = engine.statistics
        return played

    def _keep(self, events: Sequence[AlertEvent]) -> None:
        for event in events:
            self._played.events.append(event)
            if event.transition is Transition.RESOLVED:
                self._active.pop(event.alert_id, None)
            else:
                self._active[event.alert_id] = event
            if event.transition is not Transition.RESOLVED:
                limit = event.threshold if event.rule.condition is not Condition.PRESENT else math.nan
                self._note(event.rule, event.group, event.evidence.value, limit, event.evidence.samples, None)

    def _look(self, at: int) -> None:
        for each in self._engine.values():
            self._note(each.rule, each.group, each.value, each.limit, each.samples, at)

    def _hear(self, leaf: Leaf, samples: Samples) -> None:
        if leaf.window is not None:
            return
        for reading, times in samples_of(leaf, samples, _MOST_HEARD):
            limit = float(reading.rule.levels[0].threshold)
            for key, value, at in zip(reading.keys, reading.values.tolist(), times.tolist(), strict=True):
                self._note(reading.rule, reading.group(key), value, limit, 1, at - self._played.start)

    def _note(
        self, rule: Rule, group: Mapping[str, str], value: float, limit: float, samples: int, at: int | None
    ) -> None:
        if not math.isfinite(value):
            return
        at = self._engine.time - self._played.start if at is None else at
        near = float(nearness(rule.condition, np.array([value]), np.array([limit]))[0])
        if samples and samples < rule.min_samples:
            near = -math.inf  # below it the condition does not hold, whatever the value
        known = self._played.nearest.setdefault(rule.key, {})
        before = known.get(key := tuple(group.items()))
        if before is None or (near, samples if math.isinf(near) else 0) > (
            before.near, before.samples if math.isinf(before.near) else 0,
        ):  # fmt: skip
            known[key] = Nearest(value, at, limit, samples, near)

    def _firing(self) -> list[Firing]:
        present = {(each.rule.key, tuple(each.group.items())): each.value for each in self._engine.values()}
        return [
            Firing(event, present.get((event.rule.key, tuple(event.group.items())), event.evidence.value))
            for event in self._active.values()
        ]


def _stops(ends: np.ndarray[tuple[int], np.dtype[np.int64]], end: int, asked: set[int]) -> list[int]:
    tick = max(_TICK_NS, -(-end // _MOST_TICKS // _TICK_NS) * _TICK_NS)
    stops = {*range(0, end + 1, tick), *asked, end}
    distinct = np.unique(ends)
    if len(distinct) <= _MOST_STOPS:
        stops.update(distinct[distinct <= end].tolist())
    return sorted(stops)


def _rows(batch: SpanBatch, begin: int, end: int) -> SpanBatch:
    part = parted(batch, slice(begin, end))
    return replace(part, labels={name: column.compacted() for name, column in part.labels.items()})
