"""A watch: rules that differ only in a constant or a threshold, over one window; their conditions and their alerts.

`tenant == X` for ten thousand tenants is one grouping by tenant with a threshold per group. Conditions are compared by
the batch; only groups whose condition holds, or whose alert is not at rest, are looked at one by one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.alerts import state as alert_state
from tocsin.alerts.state import Alert, AlertState, Change, due, elapse, observe, worse
from tocsin.model.sections import Section
from tocsin.model.state import Frozen, State
from tocsin.rules.rule import Aggregate, Condition, NoData, Rule
from tocsin.windows.groups import Groups, Key, grown
from tocsin.windows.sums import Samples

__all__ = ["Compare", "Watch", "compare_of", "levels_of"]

Compare = Callable[[Any, Any], NDArray[np.bool_]]
Count = Callable[[NDArray[Any]], NDArray[np.int64]]
_UNKNOWN = -2
_NO_RULE = -1
_COUNTERS = ("samples", "late", "ungrouped")


def compare_of(condition: Condition) -> Compare:
    """Return the comparison of a condition; absence is a comparison of the number of samples."""
    comparisons: dict[Condition, Compare] = {
        Condition.GT: np.greater,
        Condition.GTE: np.greater_equal,
        Condition.LT: np.less,
        Condition.LTE: np.less_equal,
        Condition.EQ: np.equal,
        Condition.NE: np.not_equal,
        Condition.ABSENT: np.equal,
        Condition.PRESENT: lambda values, lines: np.ones(np.broadcast(values, lines).shape, np.bool_),
    }
    return comparisons[condition]


def levels_of(rule: Rule) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return [levels] thresholds and [levels] recovery thresholds, in the rule's unit."""
    thresholds = [float(level.threshold) for level in rule.levels]
    recoveries = [
        threshold if level.recovery_threshold is None else float(level.recovery_threshold)
        for level, threshold in zip(rule.levels, thresholds, strict=True)
    ]
    return np.array(thresholds), np.array(recoveries)


class Watch:
    """Alert state for some rules over the groups of one grouping; at most one rule a group.

    `dispatch` maps a value of the first label of the grouping to an index in `rules`; None: the one rule is for all.
    """

    def __init__(self, rules: Sequence[Rule], dispatch: dict[str, int] | None, groups: Groups) -> None:
        self.rules = list(rules)
        self.dispatch = dispatch
        self.groups = groups
        first = rules[0]
        self.condition = first.condition
        self.compare = compare_of(first.condition)
        self.falls_to_zero = first.condition in (Condition.GT, Condition.GTE) and first.aggregate in (
            Aggregate.SUM,
            Aggregate.COUNT,
            Aggregate.RATE,
        )
        self.alerts_on_silence = any(rule.no_data is NoData.ALERT for rule in rules)
        """Whether a group without samples may be in breach."""
        self.samples = np.zeros(len(rules) + 1, np.int64)
        """[rules + 1] samples counted per rule; the last is of groups that no rule is for."""
        self.late = np.zeros(len(rules) + 1, np.int64)
        self.ungrouped = np.zeros(len(rules) + 1, np.int64)
        self.alerts: dict[int, Alert] = {}
        self.scheduled: dict[int, int] = {}
        """Slot -> the due time that is in the schedule of what time alone changes."""
        self._cooling: dict[Key, int] = {}
        self._lines = np.array([*(float(rule.levels[0].threshold) for rule in rules), np.nan])
        self._minima = np.array([*(max(rule.min_samples, 1) for rule in rules), np.iinfo(np.int64).max])
        is_above = first.condition in (Condition.GT, Condition.GTE)
        self._nearest = float((np.nanmin if is_above else np.nanmax)(self._lines))
        """Of the rules' thresholds the one that is passed first."""
        self.reach = self._nearest if is_above else None
        """What a value is compared with, at the least, for any rule's condition to hold; None: it may be small."""
        self._levels = [levels_of(rule) for rule in rules]
        self._rule_at = np.full(groups.capacity, _UNKNOWN, np.int32)
        self.active = np.zeros(groups.capacity, np.bool_)

    def resize(self) -> None:
        """Follow the groups' capacity."""
        if len(self.active) < self.groups.capacity:
            self.active = grown(self.active, self.groups.capacity, False)  # type: ignore[assignment]  # noqa: FBT003  # a fill value
            self._rule_at = grown(self._rule_at, self.groups.capacity, _UNKNOWN)  # type: ignore[assignment]  # grown keeps the dtype

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Slots are to be used for other groups."""
        self._rule_at[slots] = _UNKNOWN

    def rule_indexes(self, slots: NDArray[Any]) -> NDArray[np.int32] | int:
        """Return [n] the rule of each slot, -1 where none is for it; one number where one rule is for all."""
        if self.dispatch is None:
            return 0
        found = self._rule_at[slots]
        if (found == _UNKNOWN).any():
            for slot in np.unique(slots[found == _UNKNOWN]).tolist():
                key = self.groups.keys[slot]
                self._rule_at[slot] = self.dispatch.get(key[0], _NO_RULE) if key else _NO_RULE
            found = self._rule_at[slots]
        return found

    def count(self, totals: NDArray[np.int64], slots: NDArray[Any]) -> None:
        """Add one to `totals` ([rules + 1]) for the rule of each slot."""
        indexes = self.rule_indexes(slots)
        if isinstance(indexes, int):
            totals[0] += len(slots)
        else:
            np.add.at(totals, indexes, 1)

    def is_breached(self, slots: NDArray[Any], values: NDArray[np.float64], count: Count) -> NDArray[np.bool_]:
        """Return [n] whether the least severe condition of the slot's rule holds; `count` gives samples by slot."""
        indexes = self.rule_indexes(slots)
        if self.condition is Condition.ABSENT:
            holds = count(slots) == 0
            return holds if isinstance(indexes, int) else holds & (indexes >= 0)
        holds = self.compare(values, self._lines[indexes])
        return holds & (count(slots) >= self._minima[indexes]) if np.count_nonzero(holds) else holds

    def may_exceed(self, slots: NDArray[Any], bounds: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return [n] whether a value that is at most `bounds` could hold the condition."""
        if self.condition not in (Condition.GT, Condition.GTE):
            return np.ones(len(slots), np.bool_)
        return bounds >= self._lines[self.rule_indexes(slots)]

    def held(self, slot: int, values: NDArray[np.float64], counts: NDArray[np.int64]) -> bool:
        """Return whether the least severe condition held at any of [n] values of a slot with so many samples."""
        index = self.rule_of(slot)
        if self.condition is Condition.ABSENT:
            return index >= 0 and bool((counts == 0).any())
        holds = self.compare(values, self._lines[index])
        return bool((holds & (counts >= self._minima[index])).any())

    def may_hold(self, slots: NDArray[Any], low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return [n] whether a value from `low` to `high` could hold the least severe condition of the slot's rule."""
        indexes = self.rule_indexes(slots)
        has_rule = np.ones(len(slots), np.bool_) if isinstance(indexes, int) else indexes >= 0
        if self.condition in (Condition.GT, Condition.GTE):
            return has_rule & (high >= self._lines[indexes])
        return has_rule & (low <= self._lines[indexes]) if self.condition in (Condition.LT, Condition.LTE) else has_rule

    def may_hold_any(self, low: float, high: float) -> bool:
        """Return whether a value from `low` to `high` could hold the condition of any of the rules."""
        if self.condition in (Condition.GT, Condition.GTE):
            return bool(self.compare(high, self._nearest))
        return self.condition not in (Condition.LT, Condition.LTE) or bool(self.compare(low, self._nearest))

    def rule_of(self, slot: int) -> int:
        """Return the index of the rule for a slot, -1 where there is none."""
        index = self.rule_indexes(np.array([slot]))
        return index if isinstance(index, int) else int(index[0])

    def alert_of(self, slot: int) -> Alert:
        """Return the alert of a slot, a new one at rest where there is none."""
        alert = self.alerts.get(slot)
        if alert is None:
            alert = self.alerts[slot] = Alert(self.rules[self.rule_of(slot)], {})
            key = self.groups.keys[slot] or ()
            alert.notified_at = self._cooling.pop(key, None)
        return alert

    def absorbs(self, slot: int, value: float, at: int) -> bool:
        """Count a further hit of a rule without a window, if that is all that it changes; return whether it was."""
        alert = self.alerts.get(slot)
        if alert is None or alert.state is not AlertState.FIRING or len(alert.rule.levels) > 1:
            return False
        if not alert.suppressed:
            return False  # the first further hit makes a reminder due
        ends = due(alert)
        if ends is None or at >= ends:
            return False
        alert.suppressed += 1
        alert.peak = worse(alert.rule, alert.peak, value)
        alert.last_hit = max(alert.last_hit, at)
        return True

    def settle(self, slot: int, alert: Alert) -> None:
        """Keep what an alert needs after a step: all while it is not at rest, its cooldown afterwards."""
        self.active[slot] = alert.state is not AlertState.INACTIVE
        if alert.state is AlertState.INACTIVE:
            self.alerts.pop(slot, None)
            key = self.groups.keys[slot]
            if alert.notified_at is not None and alert.rule.cooldown_ns and key is not None:
                self._cooling[key] = alert.notified_at

    def forget_cooldowns(self, now: int) -> None:
        """Drop cooldowns that are over."""
        longest = max(rule.cooldown_ns for rule in self.rules)
        over = [key for key, since in self._cooling.items() if since + longest <= now]
        for key in over:
            del self._cooling[key]

    def adopt(self, old: "Watch") -> None:
        """Take over alerts and cooldowns of rules that did not change their meaning (same project and name)."""
        for slot, alert in old.alerts.items():
            index = self.rule_of(slot)
            if index >= 0 and self.rules[index].key == alert.rule.key:
                alert.rule = self.rules[index]
                alert.level = min(alert.level, len(alert.rule.levels) - 1)
                self.alerts[slot] = alert
                self.active[slot] = True
        if {rule.key for rule in self.rules} & {rule.key for rule in old.rules}:
            self._cooling.update(old._cooling)  # of its own class

    def effective_levels(
        self, index: int, values: NDArray[np.float64], counts: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return [n] the level whose threshold is passed and [n] the one whose recovery threshold still is, or -1."""
        if self.condition is Condition.ABSENT:
            level = np.where(counts == 0, 0, -1)
            return level, level
        thresholds, recoveries = self._levels[index]
        enough = counts >= self._minima[index]
        reached = self.compare(values[:, None], thresholds[None, :]).sum(axis=1) - 1
        held = self.compare(values[:, None], recoveries[None, :]).sum(axis=1) - 1
        return np.where(enough, reached, -1), np.where(enough, held, -1)

    def step(
        self,
        slot: int,
        values: NDArray[np.float64],
        counts: NDArray[np.int64],
        times: NDArray[np.int64],
        *,
        hits: bool,
    ) -> list[tuple[Change, int]]:
        """Move the alert of a slot along a series of evaluations in time; return (change, row) pairs.

        Args:
            slot: the group.
            values: [n] in the rule's unit.
            counts: [n] samples in the window.
            times: [n] event times, never falling.
            hits: whether a sample caused each evaluation.
        """
        index = self.rule_of(slot)
        if index < 0:
            return []
        reached, held = self.effective_levels(index, values, counts)
        silent = (counts == 0) & (self.condition is not Condition.ABSENT)
        return self.move(slot, (reached, held), silent, values, times, hits=hits)

    def move(
        self,
        slot: int,
        levels: tuple[NDArray[np.int64], NDArray[np.int64]],
        silent: NDArray[np.bool_],
        values: NDArray[np.float64],
        times: NDArray[np.int64],
        *,
        hits: bool,
    ) -> list[tuple[Change, int]]:
        """Move the alert of a slot along [n] evaluations of which the levels are known; as `step` otherwise.

        Args:
            slot: the group.
            levels: [n] the level whose threshold is passed and [n] the one whose recovery threshold still is, or -1.
            silent: [n] whether there is no data.
            values: [n] in the rule's unit.
            times: [n] event times, never falling.
            hits: whether a sample caused each evaluation.
        """
        reached, held = levels
        alert = self.alert_of(slot)
        changes: list[tuple[Change, int]] = []
        cuts = np.flatnonzero((np.diff(reached) != 0) | (np.diff(held) != 0) | np.diff(silent)) + 1
        for begin, end in zip([0, *cuts.tolist()], [*cuts.tolist(), len(values)], strict=True):
            level = self._level(alert, int(reached[begin]), int(held[begin]), silent=bool(silent[begin]))
            if level is None:
                changes += [(change, begin) for change in elapse(alert, int(times[begin]), float(values[begin]))]
                continue
            found = observe(
                alert,
                level,
                float(values[begin]),
                int(times[begin]),
                hits=(end - begin) if hits and level >= 0 else 0,
            )
            changes += [(change, begin) for change in found]
            if level >= 0 and alert.state is not AlertState.INACTIVE:
                for value in values[begin + 1 : end].tolist():
                    alert.peak = worse(alert.rule, alert.peak, value)
                alert.last_hit = int(times[end - 1])
        return changes

    def _level(self, alert: Alert, reached: int, held: int, *, silent: bool) -> int | None:
        """Return the level that holds, -1 for none, None where there is no data and nothing is to change."""
        if silent:
            if alert.rule.no_data is NoData.ALERT:
                return len(alert.rule.levels) - 1
            firing = alert.state is AlertState.FIRING
            return None if firing and alert.rule.no_data is NoData.KEEP and not self.falls_to_zero else -1
        if alert.state is not AlertState.FIRING:
            return reached
        return max(reached, min(alert.level, held))

    def freeze(self) -> Frozen:
        """Return alerts, cooldowns and counters; everything else follows from the rules."""
        alerts, scheduled, cooling = alert_state.freeze(self.alerts), self.scheduled.copy(), self._cooling.copy()
        counters: dict[str, State] = {name: getattr(self, name).copy() for name in _COUNTERS}

        def state() -> State:
            return {
                **counters,
                "alerts": alerts(),
                "scheduled": np.array(list(scheduled.items()), np.int64).reshape(-1, 2),
                "cooling": [list(key) for key in cooling],
                "since": np.array(list(cooling.values()), np.int64),
            }

        return state

    def thaw(self, section: Section) -> None:
        """Take the alerts, cooldowns and counters of a state; the groups have theirs already."""
        for name in _COUNTERS:
            setattr(self, name, section.array(name, np.int64, len(self.rules) + 1))
        alerts = section.part("alerts")
        slots = np.unique(alerts.array("slots", np.int64, least=0, below=self.groups.used)).tolist()
        self.alerts = alert_state.thaw(
            alerts, {slot: self.rules[index] for slot in slots if (index := self.rule_of(slot)) >= 0}
        )
        self.active[list(self.alerts)] = True
        self.scheduled = dict(section.array("scheduled", np.int64, shape=(2,)).tolist())
        keys = section.text_lists("cooling")
        if any(len(key) != self.groups.width for key in keys):
            raise section.unfit("has a cooldown of a group that can't be")
        since = section.array("since", np.int64, len(keys)).tolist()
        self._cooling = {tuple(key): at for key, at in zip(keys, since, strict=True)}

    def due(self, slot: int) -> int | None:
        """Return when time alone next changes the alert of a slot."""
        alert = self.alerts.get(slot)
        return None if alert is None else due(alert)

    def part_of(self, samples: Samples, slot: int) -> NDArray[np.intp]:
        """Return the rows of a slot."""
        return np.flatnonzero(samples.slots == slot)
