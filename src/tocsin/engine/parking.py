"""Rows that wait for what their trace may still say, and agents whose usage may turn out to be a model call's."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tocsin.engine.ancestry import Ancestry, Keys
from tocsin.engine.leaf import Leaf
from tocsin.engine.view import View
from tocsin.engine.waiting import Parked, Waiting
from tocsin.model.batch import SpanBatch, SpanClass

__all__ = ["Parking"]


class Parking:
    """Decides which rows wait, and has them evaluated when they need not wait any more."""

    def __init__(
        self,
        waiting: Waiting,
        bill: Callable[[SpanBatch, Keys, NDArray[np.bool_]], None],
        evaluate: Callable[[View], None],
    ) -> None:
        self.waiting = waiting
        self._bill = bill
        self._evaluate = evaluate
        self._span_leaves: Sequence[Leaf] = ()

    def follow(self, ancestry: Ancestry, span_leaves: Sequence[Leaf]) -> None:
        """Let rows wait for what these leaves ask of their traces."""
        self._ancestry = ancestry
        self._span_leaves = span_leaves

    def park(
        self,
        batch: SpanBatch,
        keys: Keys,
        slots: NDArray[np.int32],
        counted: NDArray[np.bool_],
        missing: NDArray[np.uint64] | None,
    ) -> None:
        """Keep the rows that some leaf waits for, and agents' own usage until it is known whose it is."""
        waits = self._agents_with_usage(batch)
        if missing is not None:
            for bits in {bits for leaf in self._span_leaves for bits in leaf.awaited}:
                waits = waits | ((missing & np.uint64(bits)) == bits)
            waits &= batch.span_class != SpanClass.DUPLICATE
            if not self._reads_others:
                waits &= batch.span_class != SpanClass.OTHER
        if not waits.any():
            return
        rows = np.flatnonzero(waits & self._ancestry.traces.column("open")[slots])
        closed = np.flatnonzero(waits & ~self._ancestry.traces.column("open")[slots])
        everything = Parked(
            batch, keys, slots, np.zeros(len(batch), np.uint64) if missing is None else missing, counted
        )
        if len(closed):
            self.release(everything.part(closed))
        if len(rows):
            over = self.waiting.park(everything.part(rows))
            if over and (released := self.waiting.release(over)) is not None:
                self.release(released)

    @property
    def _reads_others(self) -> bool:
        return any(SpanClass.OTHER in leaf.key.classes for leaf in self._span_leaves)

    @staticmethod
    def _agents_with_usage(batch: SpanBatch) -> NDArray[np.bool_]:
        agents = batch.span_class == SpanClass.AGENT
        if not agents.any():
            return agents
        return agents & ((batch.input_tokens > 0) | (batch.output_tokens > 0) | (batch.cost_nano > 0))

    def retry(self, batch: SpanBatch, slots: NDArray[np.int32]) -> None:
        """Look again at rows whose trace brought something that they waited for."""
        held = self.waiting.holds(slots)
        if not held:
            return
        news = np.zeros(len(batch), np.bool_)
        for label in self._ancestry.labels:
            news |= batch.labels[label].code >= 0
        told = set(slots[news].tolist())
        parked = self.waiting.release([slot for slot in held if slot in told], batch)
        if parked is None:
            return
        found, missing = self._ancestry.inherit(parked.batch, parked.keys, parked.slots)
        before = parked.missing
        if missing is not None and (missing == before).all():
            self.waiting.park(parked)
            return
        self._evaluate(View(found, parked.counted, missing, before))
        left = np.zeros(len(found), np.uint64) if missing is None else missing
        rows = np.flatnonzero((left != 0) | self._agents_with_usage(found))
        if len(rows):
            self.waiting.park(Parked(found, parked.keys, parked.slots, left, parked.counted).part(rows))

    def release(self, parked: Parked) -> None:
        """Count rows of which nothing more will become known, and the agents whose usage is nobody else's."""
        batch, missing = self._ancestry.inherit(parked.batch, parked.keys, parked.slots)
        if parked.missing.any():
            self._evaluate(View(batch, parked.counted, missing, parked.missing, final=True))
        agents = self._agents_with_usage(batch)
        if agents.any():
            own = agents & ~self._ancestry.lineage.has_call_below(parked.keys.span)
            rows = np.flatnonzero(own)
            if len(rows):
                mine, keys, slots = batch.take(rows), parked.keys.part(rows), parked.slots[rows]
                every = np.ones(len(rows), np.bool_)
                self._bill(mine, keys, every)
                self._ancestry.traces.add_sums(slots, _usage_of(mine))
                self._ancestry.lineage.mark_billed(keys.parent)
                self._evaluate(View(mine, every, agents_only=True))


def _usage_of(batch: SpanBatch) -> dict[str, NDArray[np.int64]]:
    """Return what agent spans that are billed themselves add to their traces."""
    read, written = np.maximum(batch.input_tokens, 0), np.maximum(batch.output_tokens, 0)
    return {"cost": batch.cost_nano, "input_tokens": read, "output_tokens": written, "tokens": read + written}
