"""What a span gets from its trace: attributes that it lacks, and whether another span stands for its call.

A group or filter attribute that a span lacks is inherited from its nearest ancestor, else from any span of its trace.
Attributes that a whole trace shares (conversation, tenant, anything of the application's) are taken as soon as any span
has them. Those that belong to a branch (which agent, which prompt) wait until the ancestors are known, because the
first agent heard of need not be the one above.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tocsin.engine.batches import Recent
from tocsin.engine.growth import Growth
from tocsin.engine.twins import Twins, has_usage, model_calls
from tocsin.model.batch import ABSENT, CostSource, SpanBatch, SpanClass
from tocsin.model.columns import TextColumn
from tocsin.model.sections import Section
from tocsin.model.state import Frozen, State
from tocsin.windows.index import KeyIndex, Secret, keys_of_texts, mix, thawed_index
from tocsin.windows.lineage import Lineage
from tocsin.windows.texts import Texts
from tocsin.windows.traces import SUMS, Contribution, Traces, TraceTimes

__all__ = ["Ancestry", "Keys", "keys_of"]

_OF_A_BRANCH = frozenset({"agent", "prompt_version", "data_source"})
_RESPONSES = 1 << 18
_RECENT = 1 << 14
_KEPT = {"_start": np.int64, "_end": np.int64, "_output": np.int64, "_usage": np.bool_, "_scope": np.uint32}
"""The columns of _Responses."""
_COMPARED = ("start", "end", "input_tokens", "output_tokens", "deferred", "scope")


@dataclass(slots=True)
class Keys:
    """Mixed ids of the rows of a batch."""

    trace: NDArray[np.uint64]
    span: NDArray[np.uint64]
    parent: NDArray[np.uint64]
    """0 for a root."""

    def part(self, rows: slice | NDArray[np.intp]) -> "Keys":
        """Return some of the rows."""
        return Keys(self.trace[rows], self.span[rows], self.parent[rows])


def keys_of(batch: SpanBatch, secret: Secret) -> Keys:
    """Return the mixed ids of a batch."""
    trace = mix(batch.trace_hi, batch.trace_lo, secret)
    parent = np.where(batch.parent_id == 0, np.uint64(0), mix(trace, batch.parent_id, secret))
    return Keys(trace, mix(trace, batch.span_id, secret), parent)


class Ancestry:
    """Traces and lineages for the labels that rules may inherit."""

    def __init__(
        self,
        labels: tuple[str, ...],
        times: TraceTimes,
        limit: int,
        secret: Secret,
        followed: Iterable[str] = (),
    ) -> None:
        """Make it; `followed` are labels that are known of traces, and not filled in where spans lack them."""
        self._secret = secret
        self.labels = labels
        self.followed = tuple(dict.fromkeys((*labels, *followed)))
        """All labels that are known of traces."""
        self._texts = Texts()
        self.marks: Callable[[NDArray[np.bool_]], None] | None = None
        """Sets the flags of the numbers of texts that somebody else holds; see `Texts.sweep`."""
        self.traces = Traces(self.followed, times, limit, self._texts)
        self.lineage = Lineage(self.followed, self._texts)
        self._silent = _Silent()
        self._responses = _Responses(secret)
        self._twins = Twins()
        self.sums_wanted = True
        """Whether any rule is over traces; without one only their roots matter, for when they are complete."""

    def extend(self, labels: tuple[str, ...], followed: Iterable[str] = ()) -> None:
        """Follow more labels from now on; `labels` begins with those that there are."""
        self.labels = labels
        new = tuple(dict.fromkeys(label for label in (*labels, *followed) if label not in self.followed))
        self.followed += new
        self.traces.extend(new)
        self.lineage.extend(new)

    @property
    def texts(self) -> Texts:
        """What the numbers of texts stand for."""
        return self._texts

    def codes_of(self, batch: SpanBatch) -> dict[str, NDArray[np.int32]]:
        """Return [n] the numbers of the texts of each label that is followed, 0 where a span lacks it."""
        return {label: self._texts.numbers(label, batch.labels[label]) for label in self.followed}

    def label_of(self, traces: NDArray[np.uint64], parents: NDArray[np.uint64], label: str) -> NDArray[np.int32]:
        """Return [n] the numbers of what spans that lack a label have from above them or from their traces, else 0."""
        slots = self.traces.find(traces)
        rows = (slots >= 0).nonzero()[0]
        codes = np.zeros(len(slots), np.int32)
        codes[rows] = self._known(parents[rows], slots[rows], label)
        return codes

    def is_open(self, traces: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return [n] which traces are open."""
        slots = self.traces.find(traces)
        known: NDArray[np.bool_] = self.traces.column("open")[slots]
        return known & (slots >= 0)

    def freeze(self) -> dict[str, Frozen]:
        """Return the sections of the state."""
        silent, responses, twins = self._silent.freeze(), self._responses.freeze(), self._twins.freeze()
        return {
            "traces": self.traces.freeze(),
            "lineage": self.lineage.freeze(),
            "calls": lambda: {"silent": silent(), "responses": responses(), "twins": twins()},
        }

    def thaw(self, sections: Section) -> None:
        """Take the state; the labels are the same, and the secret is the one of the state's keys."""
        self.traces.thaw(sections.part("traces"))
        self.lineage.thaw(sections.part("lineage"))
        calls = sections.part("calls")
        self._silent.thaw(calls.part("silent"))
        self._responses.thaw(calls.part("responses"))
        self._twins.thaw(calls.part("twins"))

    def add(
        self, batch: SpanBatch, keys: Keys, times: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_], dict[str, NDArray[np.int32]]]:
        """Learn from spans that came at `times` ([n] event times, never falling).

        Return [n] their traces' slots, [n] which repeat a call that another span stands for, and what `codes_of` does.
        """
        now = int(times[-1])
        slots = self.traces.slots(keys.trace, batch.trace_hi, batch.trace_lo, times)
        if self._texts.is_crowded:
            self._texts.sweep(self._mark_texts)
        codes = self.codes_of(batch)
        is_span = batch.span_class != SpanClass.EVALUATION
        every = bool(is_span.all())
        for label, column in codes.items():
            self.traces.learn(slots, label, column)
        rows = np.arange(len(batch)) if every else np.flatnonzero(is_span)
        repeated = np.zeros(len(batch), np.bool_)
        if len(rows):
            own = keys if every else keys.part(rows)
            classes = batch.span_class[rows]
            held = codes if every else {label: column[rows] for label, column in codes.items()}
            self.lineage.add(own.span, own.parent, classes, held, now)
            repeated[rows] = self.lineage.repeated_calls(own.span, own.parent, classes)
        calls = model_calls(batch)
        self._silent.restore(batch, keys, calls, repeated)
        repeated |= self._responses.repeated(batch, calls & ~repeated)
        repeated |= self._twins.repeated(batch, repeated)
        return slots, repeated, codes

    def contribute(
        self,
        batch: SpanBatch,
        keys: Keys,
        slots: NDArray[np.int32],
        billed: NDArray[np.bool_],
        growth: Growth | None = None,
    ) -> None:
        """Add spans to the sums and extents of their traces; `billed` are those that stand for a paid call."""
        if not self.sums_wanted:
            self.traces.add_roots(slots, batch.start, batch.end, batch.failed, batch.parent_id == 0)
            return
        self.traces.add_numbers(slots, batch.numbers)
        rows = np.flatnonzero((batch.span_class != SpanClass.EVALUATION) & (batch.span_class != SpanClass.DUPLICATE))
        if not len(rows):
            return
        paid = billed[rows].astype(np.int64)
        read, written = (np.maximum(column[rows], 0) * paid for column in (batch.input_tokens, batch.output_tokens))
        calls = (batch.span_class[rows] != SpanClass.USAGE) & billed[rows]
        sums = {
            "cost": batch.cost_nano[rows] * paid,
            "tokens": read + written,
            "input_tokens": read,
            "output_tokens": written,
            "cached_tokens": np.maximum(batch.cache_read_tokens[rows], 0) * paid,
            "reasoning_tokens": np.maximum(batch.reasoning_tokens[rows], 0) * paid,
            "calls": calls.astype(np.int64),
            "unpriced": (batch.cost_source[rows] == CostSource.UNPRICED) * paid,
            "genai": (batch.span_class[rows] != SpanClass.OTHER).astype(np.int64),
        }
        added = Contribution(
            batch.start[rows],
            batch.end[rows],
            batch.parent_id[rows] == 0,
            batch.failed[rows],
            calls,
            keys.parent[rows],
            {name: sums[name] for name in SUMS},
        )
        self.traces.add(slots[rows], added)
        if growth is not None:
            growth.note(rows, added)

    def inherit(
        self, batch: SpanBatch, keys: Keys, slots: NDArray[np.int32]
    ) -> tuple[SpanBatch, NDArray[np.uint64] | None]:
        """Return the batch with what its traces know filled in, and [n] bits of labels still missing (None: none)."""
        missing: NDArray[np.uint64] | None = None
        labels = dict(batch.labels)
        for bit, label in enumerate(self.labels):
            column = labels[label]
            rows = np.flatnonzero(column.code < 0)
            if not len(rows):
                continue
            codes = self._known(keys.parent[rows], slots[rows], label)
            found = codes > 0
            if found.any():
                labels[label] = _filled(column, rows[found], self._texts.objects(codes[found]))
            if not found.all():
                if missing is None:
                    missing = np.zeros(len(batch), np.uint64)
                missing[rows[~found]] |= np.uint64(1 << bit)
        if any(labels[label] is not batch.labels[label] for label in self.labels):
            batch = batch.with_labels(labels)
        return batch, missing

    def _known(self, parents: NDArray[np.uint64], slots: NDArray[np.int32], label: str) -> NDArray[np.int32]:
        codes, whole = self.lineage.inherited(parents, label)
        open_questions = codes == 0
        if label in _OF_A_BRANCH:
            open_questions &= whole
        codes[open_questions] = self.traces.known(slots[open_questions], label)
        return codes

    def _mark_texts(self, used: NDArray[np.bool_]) -> None:
        self.lineage.mark_texts(used)
        self.traces.mark_texts(used)
        if self.marks is not None:
            self.marks(used)


def _filled(column: TextColumn, rows: NDArray[np.intp], texts: NDArray[np.object_]) -> TextColumn:
    values = list(column.values)
    known = {value: code for code, value in enumerate(values)}
    code = column.code.copy()
    for row, text in zip(rows.tolist(), texts.tolist(), strict=True):
        place = known.get(text)
        if place is None:
            place = known[text] = len(values)
            values.append(text)
        code[row] = place
    return TextColumn(code, values)


class _Responses:
    """Calls by response id: two libraries may write a span each for one call, in different traces.

    Ids are not trusted alone (a mock answers everything with the same one): the spans must be two libraries', overlap
    in time, and state the same output.
    """

    def __init__(self, secret: Secret) -> None:
        self._secret = secret
        self._index = KeyIndex()
        self._start = np.zeros(_RESPONSES, np.int64)
        self._end = np.zeros(_RESPONSES, np.int64)
        self._output = np.zeros(_RESPONSES, np.int64)
        self._usage = np.zeros(_RESPONSES, np.bool_)
        self._scope = np.zeros(_RESPONSES, np.uint32)
        self._only: int | None = None
        """The one library that was seen; while there is no other, no call can have two spans by two."""
        self._recent: Recent | None = Recent(_COMPARED, ("response_id",), _RECENT)
        """Its latest calls, for when another one appears; None once it has."""

    def repeated(self, batch: SpanBatch, calls: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return [n] which of the calls are a second span of a call that is counted."""
        result = np.zeros(len(batch), np.bool_)
        ids = batch.labels["response_id"]
        rows = np.flatnonzero(calls & (ids.code >= 0))
        if not len(rows) or self._is_only(batch, rows):
            return result
        for begin in range(0, len(rows), _RESPONSES // 2):
            part = rows[begin : begin + _RESPONSES // 2]
            result[part] = self._part(batch, ids, part)
        return result

    def _is_only(self, batch: SpanBatch, rows: NDArray[np.intp]) -> bool:
        """Whether all calls so far are of one library; once they are not, the latest are looked up like the others."""
        if self._recent is None:
            return False
        scopes = batch.scope[rows]
        self._only = int(scopes[0]) if self._only is None else self._only
        if (scopes == self._only).all():
            self._recent.add(batch, rows)
            return True
        recent, self._recent = self._recent, None
        for past in recent:
            self._part(past, past.labels["response_id"], np.arange(len(past))[-_RESPONSES // 2 :])
        return False

    def _part(self, batch: SpanBatch, ids: TextColumn, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        if self._index.rows + len(rows) > _RESPONSES:
            self._index = KeyIndex()
        result = np.zeros(len(rows), np.bool_)
        own = TextColumn(ids.code[rows], ids.values).compacted()
        keys = keys_of_texts(own.values, self._secret)[own.code]
        places, fresh = self._index.find_or_insert(keys)
        self._keep(batch, places[fresh], rows[fresh])
        again = np.flatnonzero(~fresh)
        if not len(again):
            return result
        there, here = places[again], rows[again]
        if (batch.scope[here] == self._scope[there]).all():
            self._keep(batch, there, here)
            return result
        usage = has_usage(batch)
        for i, place, row in zip(again.tolist(), there.tolist(), here.tolist(), strict=True):
            same = self._is_same(batch, place, row)
            result[i] = same and bool(self._usage[place] or not usage[row])
            if not result[i]:
                self._keep(batch, place, row)
        return result

    def freeze(self) -> Frozen:
        keys, rows = self._index.freeze(), self._index.rows
        columns = {name: getattr(self, name)[:rows].copy() for name in _KEPT}
        only, recent = self._only, None if self._recent is None else self._recent.freeze()

        def state() -> State:
            held: State = None if recent is None else recent()
            return {"keys": keys(), "only": only, "recent": held, "columns": dict(columns)}

        return state

    def thaw(self, section: Section) -> None:
        self._index = thawed_index(section, "keys")
        rows, columns = self._index.rows, section.part("columns")
        if rows > _RESPONSES:
            raise section.unfit("has more responses than are kept")
        for name, dtype in _KEPT.items():
            getattr(self, name)[:rows] = columns.array(name, dtype, rows)
        self._only = section.optional("only")
        if section.is_none("recent") or self._recent is None:
            self._recent = None
        else:
            self._recent.thaw(section.part("recent"))

    def _keep(self, batch: SpanBatch, places: NDArray[np.int32] | int, rows: NDArray[np.intp] | int) -> None:
        """Remember the call that stands for an id; of several the last."""
        self._start[places], self._end[places] = batch.start[rows], batch.end[rows]
        self._output[places], self._scope[places] = batch.output_tokens[rows], batch.scope[rows]
        self._usage[places] = (batch.input_tokens[rows] >= 0) | (batch.output_tokens[rows] >= 0) | batch.deferred[rows]

    def _is_same(self, batch: SpanBatch, place: int, row: int) -> bool:
        output, kept = int(batch.output_tokens[row]), int(self._output[place])
        return bool(
            batch.scope[row] != self._scope[place]
            and self._start[place] <= batch.end[row]
            and batch.start[row] <= self._end[place]
            and (output == kept or ABSENT in (output, kept))
        )


class _Silent:
    """Calls without usage that were counted: one that nests with them and has usage is not dropped for their sake.

    It happens where an outer span tells nothing and came first, or an inner one is a stream without usage. Then the
    money counts and the number of calls is one too high, rather than the other way round.
    """

    def __init__(self) -> None:
        self._spans = KeyIndex()
        self._parents = KeyIndex()

    def freeze(self) -> Frozen:
        spans, parents = self._spans.freeze(), self._parents.freeze()
        return lambda: {"spans": spans(), "parents": parents()}

    def thaw(self, section: Section) -> None:
        self._spans, self._parents = thawed_index(section, "spans"), thawed_index(section, "parents")

    def restore(self, batch: SpanBatch, keys: Keys, calls: NDArray[np.bool_], repeated: NDArray[np.bool_]) -> None:
        """Take back, in place, which calls are repeated where they have the usage that the counted ones lack."""
        usage = has_usage(batch)
        silent = np.flatnonzero(calls & ~usage & ~repeated)
        if len(silent):
            if max(self._spans.rows, self._parents.rows) + len(silent) > _RESPONSES:
                self._spans, self._parents = KeyIndex(), KeyIndex()
            self._spans.find_or_insert(keys.span[silent])
            streams = silent[~batch.failed[silent] & (keys.parent[silent] != 0)]
            self._parents.find_or_insert(keys.parent[streams])
        rows = np.flatnonzero(calls & usage & repeated) if len(self._spans) else silent[:0]
        if not len(rows):
            return
        below = self._spans.find(keys.parent[rows]) >= 0
        above = self._parents.find(keys.span[rows]) >= 0
        repeated[rows[below | above]] = False
        # In one batch nothing is counted yet: the outer span stands for the silent one below it.
        repeated[silent[np.isin(keys.parent[silent], keys.span[rows[above]])]] = True
