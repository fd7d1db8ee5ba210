"""When rules with expressions are evaluated, and what follows for their alerts.

After samples: the groups whose windows they touched, once all windows of the same spans have them. When time changes
windows: the groups that changed, at that instant. With an interval: all groups at each bucket's end, and before it only
what can't become untrue again until then.

An expression that is local (all its windows have the labels of its groups) is looked at for the touched groups alone,
after each sample of a group. One that looks across groups is computed anew for what was touched, once for all samples
that came together; how much it looked at decides how long it rests then, in event time, so that no rule takes more than
its share and a replay rests as often.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tocsin.alerts.event import AlertEvent
from tocsin.engine.alarms import Span
from tocsin.engine.judge import Fed, Judge
from tocsin.engine.leaf import Leaf
from tocsin.engine.vectors.following import Followed, Round, counted
from tocsin.engine.vectors.moments import Moment, Touched, union
from tocsin.engine.vectors.nodes import LeafNode, Node
from tocsin.engine.vectors.numbers import Column
from tocsin.engine.vectors.planning import Planned
from tocsin.engine.vectors.spaces import Slots
from tocsin.engine.vectors.watching import Formula
from tocsin.model.sections import Section
from tocsin.model.state import Frozen, State

__all__ = ["Expressions"]

_SECOND: Final = 1_000_000_000
_FREE: Final = 4096
"""Elements that an evaluation across groups may look at without resting."""
_REST_NS: Final = 2_000
"""Event time that it rests for each further one: at about 50 ns an element a rule takes 2 to 3 % of a core."""
_GRID_NS: Final = 100_000_000
_MOST_PATIENCE: Final = 64
"""Evaluations between two looks for what is far from its limit, at the most: each is over all groups."""
_NEVER: Final = -1
"""Stands for an expression that was not evaluated yet."""


class Expressions:
    """The rules with expressions."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._planned: Sequence[Planned] = ()
        self._readers: dict[int, list[Planned]] = {}
        self._ends: dict[int, int] = {}
        """Length of buckets -> the last end at which they were evaluated; empty before the time is known."""
        self._ticked = _NEVER
        """The second up to which expressions were evaluated that change with time alone."""
        self._changed: dict[int, list[Slots]] = {}
        """Leaf (its id) -> groups that time has changed, to be looked at."""
        self._renewed: dict[tuple[object, ...], LeafNode] = {}
        """Windows whose extents are to be found anew."""

    def follow(self, planned: Sequence[Planned], time: int) -> None:
        """Evaluate these from now on; `time` is event time, 0 before it is known."""
        former = {id(each) for each in self._planned}
        self._planned = planned
        self._renewed = {}
        self._readers = {}
        for each in planned:
            for formula in (each.formula, *([each.running] if each.running else ())):
                for leaf in formula.leaf_ids:
                    self._readers.setdefault(leaf, []).append(each)
            if id(each) not in former and time and not each.complete_from and each.ready_at == _NEVER:
                each.complete_from = time
        intervals = {each.interval_ns for each in planned if each.interval_ns}
        self._ends = {interval: self._ends.get(interval, _floor(time, interval)) for interval in intervals if time}
        self._moving = [each for each in planned if each.formula.moves and each.interval_ns is None]
        self._ticked = max(self._ticked, _floor(time, _SECOND)) if time and self._moving else self._ticked

    # When

    def begin(self, time: int) -> None:
        """Event time is known now, or goes on; nothing happens before the first time."""
        for each in self._planned:
            if each.interval_ns and each.interval_ns not in self._ends and not each.complete_from:
                each.complete_from = time
        for interval in {each.interval_ns for each in self._planned if each.interval_ns} - self._ends.keys():
            self._ends[interval] = _floor(time, interval)
        if self._moving and self._ticked == _NEVER:
            self._ticked = _floor(time, _SECOND)

    def horizon(self, after: int) -> int | None:
        """Return the first instant after another at which something is evaluated though no sample decides it."""
        times = [_floor(after, each.interval_ns) + each.interval_ns for each in self._planned if each.interval_ns]
        if self._moving:
            times.append(_floor(after, _SECOND) + _SECOND)
        return min(times, default=None)

    @property
    def next_due(self) -> int | None:
        """The next event time at which an expression is to be evaluated without a sample."""
        times = [end + interval for interval, end in self._ends.items()]
        if self._moving and self._ticked != _NEVER:
            times.append(self._ticked + _SECOND)
        times += [each.ready_at for each in self._planned if each.is_pending]
        return min(times, default=None)

    def changed(self, leaf: Leaf, slots: Slots) -> None:
        """Note that time has changed a window's groups; `elapsed` looks at them."""
        if leaf.readers:
            self._changed.setdefault(id(leaf), []).append(slots)

    def elapsed(self, now: int) -> list[AlertEvent]:
        """Return what time changes at `now`: windows, ends of buckets, and what rested."""
        events: list[AlertEvent] = []
        changed, self._changed = self._changed, {}
        moment = Moment(now)
        if changed:
            touched = Touched(changed)
            for each in self._reading(changed):
                if each.interval_ns is None:
                    events += [] if self._misses(each, now, now) else self._look(each, touched, moment, ())
        for interval in [interval for interval, end in self._ends.items() if end + interval <= now]:
            self._ends[interval] = end = _floor(now, interval)
            for each in self._planned:
                if each.interval_ns == interval and (end - interval >= each.complete_from or each.judges_parts):
                    events += self._all(each, Moment(end), hits=False)
        if self._moving and self._ticked + _SECOND <= now:
            self._ticked = _floor(now, _SECOND)
            for each in self._moving:
                events += [] if self._misses(each, now, now) else self._look(each, None, moment, ())
        for each in self._planned:
            if each.is_pending and each.ready_at <= now:
                events += self._look(each, None, moment, ())
        return events

    def sampled(self, now: int) -> list[AlertEvent]:
        """Return what the samples change that windows were given since this was asked last."""
        fed, self._judge.fed = self._judge.fed, []
        new = [each for each in self._planned if each.ready_at == _NEVER and each.interval_ns is None]
        events = self._of_samples(fed, now) if fed else []
        for each in new:  # what no sample touches may have an element as well
            events += self._all(each, Moment(now), hits=False)
        self._tidy(fed)
        return events

    def _of_samples(self, fed: Sequence[Fed], now: int) -> list[AlertEvent]:
        events: list[AlertEvent] = []
        given: dict[int, list[Fed]] = {}
        for one in fed:
            if (enters := counted(one)) is not None:
                given.setdefault(id(one.leaf), []).append(enters)
        touched = Touched({leaf: [one.samples.slots for one in each] for leaf, each in given.items()})
        moment, round_ = Moment(now), Round(given, now)
        for each in self._reading(given):
            if self._misses(each, now, self._judge.since):
                continue
            own = round_.of((each.formula if each.running is None else each.running).leaf_ids)
            if each.interval_ns is None:
                events += self._look(each, touched, moment, own, round_)
            elif each.running is not None and own:
                events += self._early(each, each.running, touched, moment, own)
        return events

    def restarted(self, now: int) -> list[AlertEvent]:
        """Return what is so now that rules or their limits have changed."""
        moment = Moment(now)
        return [
            event
            for each in self._planned
            if now and each.interval_ns is None
            for event in self._all(each, moment, hits=False)
        ]

    def _reading(self, leaves: Iterable[int]) -> Iterator[Planned]:
        """Yield the expressions that read any of some leaves, in the order of the rules."""
        found = {id(each) for leaf in leaves for each in self._readers.get(leaf, ())}
        return (each for each in self._planned if id(each) in found)

    # What

    def _look(
        self,
        planned: Planned,
        touched: Touched | None,
        moment: Moment,
        fed: Sequence[Fed],
        round_: "Round | None" = None,
    ) -> list[AlertEvent]:
        """Evaluate what was touched (None: everything), at once or when it has rested."""
        formula = planned.formula
        if not formula.is_local and moment.now < planned.ready_at:
            planned.is_pending = True
            return []
        if touched is None or planned.is_pending:
            return self._all(planned, moment, hits=bool(fed))
        followed = None if round_ is None or not formula.is_local else round_.followed(fed, self._judge.since)
        if followed is not None:
            planned.ready_at = int(moment.now)
            return self._along(planned, followed)
        if formula.is_local:
            planned.ready_at = int(moment.now)
            slots = touched.of_any(formula.leaf_ids)
            return self._judged(planned, formula, slots, moment, fed)
        before = moment.cost
        found = _touched_by(formula, touched)
        if found is None:
            return self._all(planned, moment, hits=bool(fed), before=before)
        events = self._judged(planned, formula, found, moment, fed)
        self._rest(planned, moment, before)
        return events

    def _misses(self, planned: Planned, now: int, since: int) -> bool:
        """Return whether an expression need not be evaluated: no limit is near, and no alert is there.

        Args:
            planned: the expression.
            now: event time.
            since: event time before the samples that it would be evaluated for; else `now`.
        """
        watch = planned.watch
        if not planned.may_miss or watch.alerts:
            return False
        if planned.formula.misses((min(since, now), now)):
            planned.patience, planned.waits = 1, 0
            planned.ready_at = now
            watch.resize()
            return True
        if planned.waits:
            planned.waits -= 1
        else:
            self._renewed |= {(id(node.leaf), node.measure[:2]): node for node in planned.formula.leaves}
            planned.patience = min(2 * planned.patience, _MOST_PATIENCE)
            planned.waits = planned.patience
        return False

    def _tidy(self, fed: Sequence[Fed]) -> None:
        """Let windows wait for more samples, and find extents anew that were too wide.

        They are true from now on: what a group was on the way through these samples they don't say.
        """
        for one in fed:
            one.leaf.later.unheeded()
        renewed, self._renewed = self._renewed, {}
        for node in renewed.values():
            if not node.leaf.extents.is_tight(node.measure[:2]):
                node.leaf.renew(*node.measure[:2])

    def _all(self, planned: Planned, moment: Moment, *, hits: bool, before: int | None = None) -> list[AlertEvent]:
        """Evaluate every group that has an element or an alert."""
        planned.is_pending = False
        cost = moment.cost if before is None else before
        slots = np.union1d(planned.formula.value.candidates(), list(planned.watch.alerts)).astype(np.int64)
        events = self._judged(planned, planned.formula, slots, moment, (), hits=hits)
        self._rest(planned, moment, cost)
        return events

    @staticmethod
    def _rest(planned: Planned, moment: Moment, before: int) -> None:
        over = 0 if planned.formula.is_local else max(0, moment.cost - before - _FREE)
        ready_at = int(moment.now) + over * _REST_NS
        # At common instants: each one at which something is due splits what came together.
        planned.ready_at = -(-ready_at // _GRID_NS) * _GRID_NS if over else ready_at

    def _judged(
        self,
        planned: Planned,
        formula: Formula,
        slots: Slots,
        moment: Moment,
        fed: Sequence[Fed],
        *,
        hits: bool = False,
    ) -> list[AlertEvent]:
        """Judge groups at an instant; those of samples at the time of their last one."""
        watch = planned.watch
        watch.resize()
        if not len(slots):
            return []
        column = formula.value.evaluate(slots, moment)
        looked_at = watch.active[slots]  # also those whose element is gone
        holds = watch.compare(column.values, formula.first_limit(slots, moment))
        if column.present is not None:
            holds &= column.present
        if watch.alerts_on_silence and column.present is not None:
            looked_at = looked_at | ~column.present
        rows = np.flatnonzero(holds | looked_at)
        if not len(rows):
            return []
        own = slots[rows]
        counts = formula.counts(own)
        found = column.at(rows)
        levels = formula.levels(watch, own, found, counts, moment)
        events: list[AlertEvent] = []
        for row in np.flatnonzero((levels[0] >= 0) | looked_at[rows]).tolist():
            slot, here = int(own[row]), slice(row, row + 1)
            cause = _cause(formula, fed, slot)
            at = int(moment.now) if cause is None else max(cause.end, self._judge.since)
            events += self._moved(
                planned, slot, (levels[0][here], levels[1][here]), found.at(np.array([row])), np.array([at]), cause,
                hits=hits or bool(fed),
            )  # fmt: skip
        return events

    def _along(self, planned: Planned, followed: Followed) -> list[AlertEvent]:
        """Judge the groups of samples after each of them."""
        formula, watch, steps = planned.formula, planned.watch, followed.steps
        watch.resize()
        column = formula.value.evaluate(steps.slots, followed)
        wanted = watch.compare(column.values, formula.first_limit(steps.slots, followed))
        if column.present is not None:
            wanted &= column.present
            if watch.alerts_on_silence:
                wanted |= ~column.present
        if watch.alerts:
            wanted |= watch.active[steps.slots]
        if not wanted.any():
            return []
        counts = np.full(len(steps.slots), np.iinfo(np.int64).max)
        if formula.leading is not None:
            counts = followed.counts(formula.leading.leaf)
        levels = formula.levels(watch, steps.slots, column, counts, followed)
        wanted = levels[0] >= 0
        wanted |= watch.active[steps.slots]
        if watch.alerts_on_silence:
            wanted |= ~column.mask
        events: list[AlertEvent] = []
        for slot in np.unique(steps.slots[wanted]).tolist():
            own = np.arange(*np.searchsorted(steps.slots, [slot, slot + 1]))
            last = int(steps.rows[own[-1]])
            cause = Span(int(followed.occasion.ends[last]), int(followed.occasion.arrivals[last]))
            at = levels[0][own], levels[1][own]
            events += self._moved(planned, slot, at, column.at(own), followed.now[own], cause, hits=True)
        return events

    def _early(
        self, planned: Planned, running: Formula, touched: Touched, moment: Moment, fed: Sequence[Fed]
    ) -> list[AlertEvent]:
        """Judge what the present bucket has: a breach that no further sample can end."""
        slots = _touched_by(running, touched)
        if slots is None or not len(slots):
            return []
        watch = planned.watch
        watch.resize()
        column = running.value.evaluate(slots, moment)
        reached, _ = running.levels(watch, slots, column, running.counts(slots), moment)
        events: list[AlertEvent] = []
        for row in np.flatnonzero(reached >= 0).tolist():
            slot, cause = int(slots[row]), _cause(running, fed, int(slots[row]))
            alert = watch.alerts.get(slot)
            level = reached[row : row + 1] if alert is None else np.maximum(reached[row : row + 1], alert.level)
            at = int(moment.now) if cause is None else max(cause.end, self._judge.since)
            row_column = column.at(np.array([row]))
            events += self._moved(planned, slot, (level, level), row_column, np.array([at]), cause, hits=True)
        return events

    def _moved(
        self,
        planned: Planned,
        slot: int,
        levels: tuple[NDArray[np.int64], NDArray[np.int64]],
        column: Column,
        times: NDArray[np.int64],
        cause: Span | None,
        *,
        hits: bool,
    ) -> list[AlertEvent]:
        watch, subject = planned.watch, planned.subject
        values = np.where(column.mask, column.values, np.nan)
        changes = watch.move(slot, levels, ~column.mask, values, times, hits=hits)
        count = subject.samples(np.array([slot]))[0] if changes else 0
        events = [self._judge.event(subject, watch, slot, change, count, cause) for change, _ in changes]
        self._judge.settle(subject, watch, slot)
        return events

    # State

    def freeze(self) -> Frozen:
        """Return when expressions were evaluated; their alerts are in the plan's state."""
        ends, ticked = list(self._ends.items()), self._ticked

        def state() -> State:
            return {"ends": np.array(ends, np.int64).reshape(-1, 2), "ticked": ticked}

        return state

    def thaw(self, section: Section) -> None:
        """Take the state of the same rules."""
        self._ends = dict(section.array("ends", np.int64, least=0, shape=(2,)).tolist())
        self._ticked = section.integer("ticked", _NEVER)
        if not self._ends.keys() <= {each.interval_ns for each in self._planned}:
            raise section.unfit("has buckets of a length that no rule has")


def _floor(time: int, length: int) -> int:
    return time // length * length


def _touched_by(formula: Formula, touched: Touched) -> Slots | None:
    """Return the groups, rising, that a change of windows may concern; None: all."""
    found = [formula.value.touched(touched)]
    for limit in formula.limits or ():
        if isinstance(limit, Node):
            found.append(limit.touched(touched))
        elif limit.is_touched(touched):
            return None
    if formula.gate is not None:
        node, projection = formula.gate
        own = node.touched(touched)
        if own is None or found[0] is None:
            return None
        projection.follow(found[0])
        found.append(projection.members(own))
    return union(found)


def _cause(formula: Formula, fed: Sequence[Fed], slot: int) -> Span | None:
    """Return the last span that concerns a group: of its own samples, else of all."""
    last: tuple[int, int] | None = None
    for one in fed:
        rows = one.rows[one.samples.slots == slot] if formula.is_local else one.rows
        if len(rows):
            row = int(rows[-1])
            span = int(one.occasion.ends[row]), int(one.occasion.arrivals[row])
            last = span if last is None or span > last else last
    return None if last is None else Span(*last)
