"""What rules measure over a source of spans, whatever their thresholds are.

A rule over a window, or an expression, is read after the last span of every second in which a span ended: every group
that has a value, and `min_samples` of them. After 5,000 such seconds it is every two seconds, and so on, up to five
minutes; a value then counts for as many seconds. A rule that judges each sample has the samples themselves, a rule
that judges each trace the traces as they are when they are complete.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from tocsin.engine.batches import parted
from tocsin.engine.config import LimitsConfig, TraceConfig
from tocsin.engine.engine import Engine
from tocsin.engine.leaf import Leaf
from tocsin.model.batch import SpanBatch
from tocsin.model.settings import nanoseconds
from tocsin.rules.rule import Rule, Scope
from tocsin.service.suggest.distribution import Distribution
from tocsin.windows.sums import Samples

__all__ = ["Measuring"]

RuleKey = tuple[str, str]
_SECOND: Final = 10**9
_LOOKS: Final = 5_000
"""At one width; then it is twice as wide."""
_WIDEST: Final = 300 * _SECOND
_TRACE_WINDOW: Final = 600 * _SECOND
_TRACE_GAP: Final = 60 * _SECOND


class Measuring:
    """One pass over spans in order of time."""

    def __init__(
        self, rules: Sequence[Rule], trace: TraceConfig, limits: LimitsConfig, begin: int | None = None
    ) -> None:
        """Make it.

        Args:
            rules: compiled.
            trace: see `Engine`.
            limits: see `Engine`.
            begin: values before it, Unix nanoseconds, are not wanted; spans before it fill the windows.
        """
        self.found: dict[RuleKey, Distribution] = {rule.key: Distribution() for rule in rules}
        self._begin = begin or 0
        self._single = {rule.key for rule in rules if rule.judges_each and rule.scope is Scope.SPAN}
        self._traces: dict[RuleKey, dict[tuple[str, ...], float]] = {
            rule.key: {} for rule in rules if rule.judges_each and rule.scope is Scope.TRACE
        }
        self._idle = nanoseconds(trace.idle) + nanoseconds(trace.grace)
        # Apart, so that expressions are asked for their values without all the others' groups being listed.
        plain = [_probe(rule) for rule in rules if rule.expression is None]
        asking = [rule for rule in rules if rule.expression is not None]
        self._plain, self._asking = (Engine(some, trace, limits) if some else None for some in (plain, asking))
        if self._plain is not None and self._single:
            self._plain.heard = self._hear
        self._width = _SECOND
        self._looks = 0
        self._stretch = -1
        """In which spans were taken that were not looked at yet; -1 before the first."""

    def take(self, batch: SpanBatch) -> None:
        """Take spans in order of time, none before those that were taken."""
        for part in self._parts(batch):
            first = int(part.end[0])
            if first // self._width != self._stretch:
                self._look()
                self._stretch = first // self._width
            self._pass(first)
            for engine in self._engines():
                engine.ingest(part, int(part.end[-1]))

    def finish(self, end: int | None = None) -> dict[RuleKey, Distribution]:
        """Let the rest of the time pass and return what was measured."""
        self._look()
        self._pass((end or 0) or self._time() + self._idle + _TRACE_GAP)
        for key, traces in self._traces.items():
            self.found[key].add(np.array(list(traces.values()), np.float64))
            traces.clear()
        return self.found

    def _engines(self) -> Iterator[Engine]:
        yield from (engine for engine in (self._plain, self._asking) if engine is not None)

    def _time(self) -> int:
        return max((engine.time for engine in self._engines()), default=0)

    def _parts(self, batch: SpanBatch) -> Iterator[SpanBatch]:
        """Yield the spans of one stretch after the other; stretches are aligned to the Unix epoch."""
        begin = 0
        while begin < len(batch):
            until = (int(batch.end[begin]) // self._width + 1) * self._width
            end = int(np.searchsorted(batch.end, until, side="left"))
            part = parted(batch, slice(begin, end))
            yield part.with_labels({name: column.compacted() for name, column in part.labels.items()})
            begin = end

    def _pass(self, until: int) -> None:
        """Let time pass; traces are complete a while after their last span, and are read then."""
        time = self._time()
        if self._traces and self._plain is not None and time and until - time > _TRACE_GAP:
            at = min(until, time + self._idle + _SECOND)
            self._plain.replay(at, at)
            self._look_at_traces()
        for engine in self._engines():
            if engine.time:
                engine.replay(until, until)

    def _look(self) -> None:
        """Read what was measured after the last span of the stretch."""
        self._look_at_traces()
        if self._stretch < 0 or self._time() < self._begin:
            return
        weight = self._width / _SECOND
        if self._plain is not None:
            for leaf in self._plain.leaves:
                self._read(leaf, weight)
        if self._asking is not None:
            values: dict[RuleKey, list[float]] = {}
            for each in self._asking.values():
                values.setdefault(each.rule.key, []).append(each.value)
            for key, some in values.items():
                self.found[key].add(np.array(some, np.float64), weight)
        self._looks += 1
        if self._looks >= _LOOKS and self._width < _WIDEST:
            self._looks, self._width = 0, min(self._width * 2, _WIDEST)

    def _read(self, leaf: Leaf, weight: float) -> None:
        window = leaf.window
        if window is None or not leaf.groups.used:
            return
        leaf.resize()
        counts = window.samples(np.arange(leaf.groups.used))
        for watch in leaf.watches:
            for index, rule in enumerate(watch.rules):
                if rule.key in self._traces:
                    continue
                slots = np.flatnonzero(counts >= max(1, rule.min_samples))
                indexes = watch.rule_indexes(slots)
                if not isinstance(indexes, int):
                    slots = slots[indexes == index]
                if len(slots):
                    self.found[rule.key].add(leaf.values(watch, window, slots), weight)

    def _look_at_traces(self) -> None:
        """Keep what each trace came to; its group is its own, and stays for a while."""
        if not self._traces or self._plain is None:
            return
        for leaf in self._plain.leaves:
            window = leaf.window
            for watch in leaf.watches if window is not None else ():
                for index, rule in enumerate(watch.rules):
                    if rule.key in self._traces and window is not None:
                        leaf.resize()
                        slots = np.flatnonzero(window.samples(np.arange(leaf.groups.used)) > 0)
                        indexes = watch.rule_indexes(slots)
                        if not isinstance(indexes, int):
                            slots = slots[indexes == index]
                        values = leaf.values(watch, window, slots).tolist() if len(slots) else []
                        if self._time() >= self._begin:
                            keys = (watch.groups.keys[slot] or () for slot in slots.tolist())
                            self._traces[rule.key].update(zip(keys, values, strict=True))

    def _hear(self, leaf: Leaf, samples: Samples) -> None:
        """Take the samples of rules that judge each on its own."""
        if leaf.window is not None:
            return
        wanted = samples.times >= self._begin
        if samples.unpriced is not None:
            wanted &= ~samples.unpriced
        if samples.counts is not None:
            wanted &= samples.counts > 0
        rows = np.flatnonzero(wanted)
        values = samples.values[rows] / leaf.scale
        for watch in leaf.watches:
            indexes = watch.rule_indexes(samples.slots[rows])
            for index, rule in enumerate(watch.rules):
                if rule.key in self._single:
                    self.found[rule.key].add(values if isinstance(indexes, int) else values[indexes == index])


def _probe(rule: Rule) -> Rule:
    """Return the rule as it is measured: one that judges each trace has a group for each of them."""
    if not (rule.judges_each and rule.scope is Scope.TRACE):
        return rule
    labels = {label for entry in rule.group_by for label in entry}
    own = () if "trace" in labels else (("trace",),)
    return replace(rule, window_ns=_TRACE_WINDOW, group_by=(*own, *rule.group_by))
