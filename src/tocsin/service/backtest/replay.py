"""Rules over a source, through the engine of the live service: what fired, and what was measured on the way.

The wall clock is event time: between two portions of spans the engine's clock goes on to where the next one begins, so
that windows drain, `for` elapses and absence fires as they do live. At the end what still fires is taken as such.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
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
from tocsin.service.backtest.period import Period
from tocsin.service.backtest.series import Follower
from tocsin.service.backtest.values import Reading, judges_samples, nearness, readings_of, samples_of
from tocsin.windows.groups import Key
from tocsin.windows.sums import Samples

__all__ = ["Outcome", "Replay"]

MOST_GROUPS: Final = 16
"""Read of a rule at a time."""
MOST_SAMPLES: Final = 64
"""Followed of a portion, of a rule without a window."""
_FIRST_STEP_NS: Final = 10**9
_LOOKS: Final = 720
_MOST_LOOKS: Final = 2880
"""Where windows are short."""
_LOOKS_IN_SILENCE: Final = 64
_MOST_FOLLOWED_RULES: Final = 200
"""Series are kept for; a thousand rules have no use for a thousand charts."""
_MOST_EXPRESSION_GROUPS: Final = 10_000
"""Of which a value is read at a time."""
RuleKey = tuple[str, str]


@dataclass(slots=True)
class Outcome:
    """What a replay found."""

    events: dict[RuleKey, list[AlertEvent]]
    """Those of the period, in order."""
    unfinished: dict[str, AlertEvent]
    """Alerts that fire at the end, by alert id: how they stand."""
    followers: dict[RuleKey, Follower]
    statistics: EngineStatistics
    time: int
    """Event time at the end."""


class Replay:
    """One set of rules, and what is known of them so far."""

    def __init__(
        self,
        rules: Sequence[Rule],
        trace: TraceConfig,
        limits: LimitsConfig,
        period: Period,
        step_ns: int | None = None,
    ) -> None:
        """Make an engine of the rules.

        Args:
            rules: compiled.
            trace: see `Engine`.
            limits: see `Engine`.
            period: only events of it are kept; what comes before it fills the windows.
            step_ns: between two looks at the values; None: a second, until `expect` says how long it is.
        """
        self.rules = rules
        self.engine = Engine(rules, trace, limits)
        self._period = period
        self._is_fixed = step_ns is not None
        self._step = step_ns or _FIRST_STEP_NS
        self._look_at = period.begin or 0
        self._events: dict[RuleKey, list[AlertEvent]] = defaultdict(list)
        self._followers = {rule.key: Follower(self._step) for rule in rules[:_MOST_FOLLOWED_RULES]}
        self._has_expressions = any(rule.expression is not None for rule in rules)
        if any(judges_samples(rule) for rule in rules):
            self.engine.heard = self._hear

    def expect(self, total_ns: int) -> None:
        """Look at the values as often as so long a stretch of event time asks for; it can be told again."""
        if self._is_fixed:
            return
        shortest = min((rule.window_ns for rule in self.rules if rule.window_ns), default=total_ns)
        self._step = max(self._step, min(total_ns // _LOOKS, max(shortest // 2, total_ns // _MOST_LOOKS)))

    def take(self, wall: int, time: int, batch: SpanBatch | None) -> None:
        """Take what was recorded, as it came."""
        self._pass(time)
        self._keep(self.engine.replay(wall, time, batch))
        if self.engine.time >= self._look_at:
            self._look()

    def take_sorted(self, batch: SpanBatch) -> None:
        """Take rows in order of time; looks are in between them."""
        begin = 0
        while begin < len(batch):
            first = int(batch.end[begin])
            if first >= self._look_at:
                self._pass(first)
                self._look_at = self._after(first)
            end = int(np.searchsorted(batch.end, self._look_at, side="left"))
            part = batch if begin == 0 and end == len(batch) else parted(batch, slice(begin, end))
            self._keep(self.engine.ingest(part, int(part.end[-1])))
            begin = end

    def finish(self) -> Outcome:
        """Let the rest of the period pass and return what was found. Nothing may be taken afterwards."""
        engine, end = self.engine, self._period.end
        if engine.time and end is not None:
            self._pass(end)
            self._keep(engine.replay(end, end))
        if engine.time:
            self._look()
        statistics, time = engine.statistics, engine.time
        unfinished = {event.alert_id: event for event in engine.replace_rules((), time)}
        return Outcome(dict(self._events), unfinished, self._followers, statistics, time)

    def _pass(self, until: int) -> None:
        """Let time pass up to a moment, with looks on the way; of a long silence a few."""
        engine = self.engine
        if not engine.time or self._look_at > until:
            return
        between = max(self._step, (until - engine.time) // _LOOKS_IN_SILENCE)
        at = self._look_at
        while at <= until:
            self._keep(engine.replay(at, at))
            self._look()
            at = max(at + between, self._look_at)

    def _keep(self, events: Sequence[AlertEvent]) -> None:
        for event in events:
            at = event.evidence.window_to
            if self._period.begin is not None and at < self._period.begin:
                continue
            if self._period.end is not None and at > self._period.end:
                continue
            self._events[event.rule.key].append(event)
            follower = self._followers.get(event.rule.key)
            if follower is not None:
                self._note(follower, event, at)

    def _hear(self, leaf: Leaf, samples: Samples) -> None:
        """Follow the samples of rules that judge each on its own: of a portion the nearest ones."""
        if leaf.window is not None:
            return
        begin = self._period.begin
        for reading, times in samples_of(leaf, samples, MOST_SAMPLES):
            follower = self._followers.get(reading.rule.key)
            if follower is not None:
                for at, *of in zip(
                    times.tolist(), reading.keys, reading.values.tolist(), reading.near.tolist(), strict=True
                ):
                    if begin is None or at >= begin:
                        _follow_one(follower, reading, at, *of)

    @staticmethod
    def _note(follower: Follower, event: AlertEvent, at: int) -> None:
        rule, value = event.rule, event.evidence.value
        limit = float(rule.levels[0].threshold)
        group = tuple(event.group.items())
        near = float(nearness(rule.condition, np.array([value]), np.array([limit]))[0])
        if rule.condition is Condition.ABSENT:
            value = float(event.evidence.samples)
        if event.transition is not Transition.RESOLVED or not judges_samples(rule):
            follower.note(group, at, value, limit, near, kept=True)

    def _look_at_expressions(self, at: int) -> None:
        """Read the rules that are made of several windows; the engine computes their values and limits."""
        if not self._has_expressions:
            return
        expressions = (each for each in self.engine.values(at) if each.rule.expression is not None)
        for each in islice(expressions, _MOST_EXPRESSION_GROUPS):
            follower = self._followers.get(each.rule.key)
            if follower is not None:
                near = nearness(each.rule.condition, np.array([each.value]), np.array([each.limit]))
                follower.note(tuple(each.group.items()), at, each.value, each.limit, float(near[0]))

    def _after(self, at: int) -> int:
        return (at // self._step + 1) * self._step

    def _look(self) -> None:
        """Read what the rules measure now, and set when to do so next."""
        engine = self.engine
        at = engine.time
        if self._period.begin is None or at >= self._period.begin:
            for reading in readings_of(engine, MOST_GROUPS):
                follower = self._followers.get(reading.rule.key)
                if follower is not None:
                    _follow(follower, reading, at)
            self._look_at_expressions(at)
        self._look_at = self._after(max(at, self._look_at))


def _follow(follower: Follower, reading: Reading, at: int) -> None:
    for key, value, near in zip(reading.keys, reading.values.tolist(), reading.near.tolist(), strict=True):
        _follow_one(follower, reading, at, key, value, near)


def _follow_one(follower: Follower, reading: Reading, at: int, key: Key, value: float, near: float) -> None:
    limit = float(reading.rule.levels[0].threshold)
    follower.note(tuple(reading.group(key).items()), at, value, limit, near)
