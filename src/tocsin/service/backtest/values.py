"""What rules measure now, group by group: for the charts of a backtest."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.engine.engine import Engine
from tocsin.engine.leaf import Leaf
from tocsin.engine.view import label_of
from tocsin.engine.watch import Watch
from tocsin.rules.rule import Condition, Rule
from tocsin.windows.sums import Samples

__all__ = ["Reading", "judges_samples", "nearness", "readings_of", "samples_of"]


@dataclass(frozen=True, slots=True)
class Reading:
    """The values of some groups of one rule."""

    rule: Rule
    keys: list[tuple[str, ...]]
    """[n] the groups, as `Groups` keeps them."""
    values: NDArray[np.float64]
    """[n] in the rule's unit; NaN where there is nothing to compare."""
    near: NDArray[np.float64]
    """[n] see `nearness`."""
    watch: Watch

    def group(self, key: tuple[str, ...]) -> dict[str, str]:
        """Return a key as labels and values."""
        return group_of(self.rule, self.watch, key)


def readings_of(engine: Engine, most: int) -> Iterator[Reading]:
    """Yield what each rule with a window measures now, of at most so many groups: those nearest to the limit."""
    for leaf in engine.leaves:
        if leaf.window is not None:
            for watch in leaf.watches:
                yield from _of_watch(leaf, watch, most)


def samples_of(leaf: Leaf, samples: Samples, most: int) -> Iterator[tuple[Reading, NDArray[np.int64]]]:
    """Yield, for each rule of a leaf without a window, the samples that are nearest to its limit, and their times."""
    values = samples.values / leaf.scale
    for watch in leaf.watches:
        for index, rows, near in _nearest(watch, samples.slots, values, most):
            keys = [watch.groups.keys[slot] or () for slot in samples.slots[rows].tolist()]
            yield Reading(watch.rules[index], keys, values[rows], near, watch), samples.times[rows]


def judges_samples(rule: Rule) -> bool:
    """Whether a rule has no window of any kind, so that every sample is judged on its own."""
    return rule.window_ns is None and rule.calendar is None and rule.expression is None


def nearness(condition: Condition, values: NDArray[np.float64], limits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return [n] how near values are to breaking their limits, in parts of the limit: over 0 they do; never NaN."""
    size = np.where(np.abs(limits) > 0, np.abs(limits), 1.0)
    with np.errstate(invalid="ignore", over="ignore"):
        over = (values - limits) / size
    match condition:
        case Condition.GT | Condition.GTE:
            near = over
        case Condition.LT | Condition.LTE:
            near = -over
        case Condition.NE:
            near = np.abs(over)
        case _:
            near = -np.abs(over)
    return np.where(np.isnan(near), -np.inf, near)


def group_of(rule: Rule, watch: Watch, key: tuple[str, ...]) -> dict[str, str]:
    """Return a group's labels and values."""
    own = key[1:] if watch.dispatch is not None else key
    return dict(label_of(entry, value) for entry, value in zip(rule.group_by, own, strict=False))


def _of_watch(leaf: Leaf, watch: Watch, most: int) -> Iterator[Reading]:
    window = leaf.window
    used = watch.groups.used
    if window is None or not used:
        return
    leaf.resize()
    every = np.arange(used)
    counts = window.samples(every)
    known = np.array([key is not None for key in watch.groups.keys[:used]])
    slots = every[known & ((counts > 0) | (watch.condition is Condition.ABSENT))]
    if not len(slots):
        return
    values = leaf.values(watch, window, slots)
    if watch.condition is Condition.ABSENT:
        values = counts[slots].astype(np.float64)
    few = {rule.key: max(rule.min_samples, 1) for rule in watch.rules}
    for index, rows, near in _nearest(watch, slots, values, most):
        rule = watch.rules[index]
        enough = (counts[slots[rows]] >= few[rule.key]) | (watch.condition is Condition.ABSENT)
        keys = [watch.groups.keys[slot] or () for slot in slots[rows].tolist()]
        yield Reading(rule, keys, values[rows], np.where(enough, near, -np.inf), watch)


def _nearest(
    watch: Watch, slots: NDArray[Any], values: NDArray[np.float64], most: int
) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.float64]]]:
    """Yield, for each rule, the rows of at most so many values that are nearest to its limit, and how near they are."""
    indexes = watch.rule_indexes(slots)
    if isinstance(indexes, int):
        own = [(0, np.arange(len(slots)))]
    else:
        own = [(index, np.flatnonzero(indexes == index)) for index in np.unique(indexes[indexes >= 0]).tolist()]
    for index, rows in own:
        line = np.array([float(watch.rules[index].levels[0].threshold)])
        near = nearness(watch.condition, values[rows], line)
        best = np.sort(np.argpartition(-near, most)[:most]) if len(rows) > most else np.arange(len(rows))
        yield index, rows[best], near[best]
