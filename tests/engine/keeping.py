"""The engine's state through bytes and back, and what differs between two engines, attribute by attribute."""

import io
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

import numpy as np

from tocsin.engine import Engine
from tocsin.engine.config import LimitsConfig
from tocsin.engine.evidence import DRIVERS
from tocsin.model.state import Frozen, State
from tocsin.rules.rule import Rule
from tocsin.windows.index import KeyIndex

__all__ = ["restarted", "roundtrip", "unlike"]


def roundtrip(sections: Mapping[str, Frozen]) -> dict[str, State]:
    """Return sections as a file gives them back: JSON beside arrays, tuples as lists, arrays that can't be written."""
    return {name: _reread(frozen()) for name, frozen in sections.items()}


def _reread(state: State) -> State:
    arrays: list[np.ndarray[Any, Any]] = []
    text = json.dumps(_outside(state, arrays))
    kept = io.BytesIO()
    np.savez(kept, *arrays)
    kept.seek(0)
    with np.load(kept, allow_pickle=False) as loaded:
        back = [
            np.frombuffer(loaded[name].tobytes(), loaded[name].dtype).reshape(loaded[name].shape) for name in loaded
        ]
    return _inside(json.loads(text), back)


def _outside(state: State, arrays: list[np.ndarray[Any, Any]]) -> Any:  # noqa: ANN401  # JSON
    if isinstance(state, np.ndarray):
        assert state.dtype != object
        arrays.append(state)
        return {"array": len(arrays) - 1}
    if isinstance(state, Mapping):
        assert all(isinstance(key, str) for key in state)
        return {"mapping": {key: _outside(each, arrays) for key, each in state.items()}}
    if isinstance(state, Sequence) and not isinstance(state, str):
        return [_outside(each, arrays) for each in state]
    assert state is None or type(state) in (bool, int, float, str), type(state)
    assert not isinstance(state, int) or -(2**63) <= state < 2**64
    return state


def _inside(state: Any, arrays: list[np.ndarray[Any, Any]]) -> State:  # noqa: ANN401  # JSON
    if isinstance(state, dict):
        if "array" in state:
            return arrays[state["array"]]
        return {key: _inside(each, arrays) for key, each in state["mapping"].items()}
    return [_inside(each, arrays) for each in state] if isinstance(state, list) else state  # JSON


def restarted(
    engine: Engine, now: int, limits: LimitsConfig | None = None, rules: Sequence[Rule] | None = None
) -> Engine:
    """Return a new engine that goes on from the state of another."""
    new = Engine(engine.rules if rules is None else rules, limits=limits)
    new.thaw(roundtrip(engine.freeze()), now)
    return new


_LEFT_OUT = {
    ("Engine", "_moved_at"): "what `thaw` sets",
    ("Formula", "leaf_ids"): "places in memory",
    ("Groups", "_remembered"): "what was looked up; looked up again",
    ("Panes", "counts_below"): "follows from when it was moved",
    ("Expressions", "_readers"): "by places in memory",
    ("Projection", "_of"): "found again when it is asked for",
    ("Ancestry", "_texts"): "which number a text has does not matter; the columns are compared by texts",
    ("Lineage", "texts"): "as above",
    ("Traces", "known_texts"): "as above",
    ("TraceLabels", "texts"): "as above",
    ("Watch", "_rule_at"): "found again when it is asked for",
    ("Panes", "_turn"): "spreads work",
    ("NativeIndex", "_table"): "compared by its keys",
    ("Lineage", "_is_shared"): "whether a frozen state reads it",
    ("Waiting", "_chunks"): "how rows lie together does not matter; they are compared by trace",
    ("Waiting", "_live"): "as above",
    ("Waiting", "_next"): "as above",
    ("Ring", "_first"): "the oldest segment; those before it have nothing that is asked for",
    ("Ring", "_logs"): "compared where they belong",
    ("Secret", "_coefficients"): "follow from the value",
    ("Leaf", "extents"): "decide only what is looked at, and are found anew",
    ("Expressions", "_renewed"): "as above",
    ("Planned", "patience"): "as above",
    ("Planned", "waits"): "as above",
}
_IN_ANY_ORDER = {
    ("Agenda", "_times"),
    ("Engine", "_schedule"),
    ("Judge", "_due"),
    ("Panes", "_queue"),
    ("Expiries", "_schedule"),
}
"""Heaps: which of several orders they are in does not matter."""


def unlike(left: object, right: object) -> list[str]:
    """Return in words how two engines differ, walking through everything that they hold."""
    return list(_unlike(left, right, "engine", set()))


def _unlike(left: Any, right: Any, path: str, seen: set[int]) -> Iterator[str]:  # noqa: ANN401  # of any kind
    if type(left) is not type(right):
        yield f"{path}: {type(left).__name__}, not {type(right).__name__}"
    elif isinstance(left, np.ndarray):
        yield from _unlike_arrays(left, right, path)
    elif isinstance(left, float):
        if not (left == right or (left != left and right != right)):
            yield f"{path}: {left}, not {right}"
    elif (
        left is None
        or isinstance(left, (bool, int, str, bytes, Enum, np.generic, frozenset, np.ufunc))
        or callable(left)
    ):
        same = left == right or callable(left)
        if not same:
            yield f"{path}: {left!r}, not {right!r}"
    elif isinstance(left, (dict, set)):
        yield from _unlike_tables(left, right, path, seen)
    elif isinstance(left, (list, tuple, deque)):
        if len(left) != len(right):
            yield f"{path}: {len(left)} of them, not {len(right)}"
        for i, (one, other) in enumerate(zip(left, right, strict=False)):
            yield from _unlike(one, other, f"{path}[{i}]", seen)
    elif id(left) not in seen:
        seen.add(id(left))
        yield from _unlike_objects(left, right, path, seen)


def _unlike_arrays(left: Any, right: Any, path: str) -> Iterator[str]:  # noqa: ANN401  # arrays
    if (left.dtype.kind == "b") != (right.dtype.kind == "b"):
        yield f"{path}: {left.dtype}, not {right.dtype}"
    elif left.shape != right.shape:
        yield f"{path}: shape {left.shape}, not {right.shape}"
    elif not np.array_equal(left, right, equal_nan=left.dtype.kind == "f"):
        yield f"{path}: {left}, not {right}"


def _unlike_tables(left: Any, right: Any, path: str, seen: set[int]) -> Iterator[str]:  # noqa: ANN401  # tables
    if left if isinstance(left, set) else list(left) != (right if isinstance(right, set) else list(right)):
        if isinstance(left, set) and left == right:
            return
        yield f"{path}: has {list(left)}, not {list(right)}"
    elif isinstance(left, dict):
        for key, one in left.items():
            yield from _unlike(one, right[key], f"{path}[{key!r}]", seen)


def _attributes(thing: object) -> dict[str, Any]:
    names = [name for each in type(thing).__mro__ for name in getattr(each, "__slots__", ())]
    return {name: getattr(thing, name) for name in names if hasattr(thing, name)} | getattr(thing, "__dict__", {})


def _unlike_objects(left: Any, right: Any, path: str, seen: set[int]) -> Iterator[str]:  # noqa: ANN401  # of any kind
    kind = type(left).__name__
    if isinstance(left, KeyIndex):
        yield from _unlike_arrays(left.freeze()(), right.freeze()(), path)
        return
    mine, other = _attributes(left), _attributes(right)
    if mine.keys() != other.keys():
        yield f"{path}: has {sorted(mine)}, not {sorted(other)}"
        return
    for name, value in mine.items():
        if (kind, name) in _LEFT_OUT:
            continue
        one, another = value, other[name]
        if (kind, name) in _IN_ANY_ORDER:
            one, another = _sorted(one), _sorted(another)
        else:
            one, another = _meant(kind, name, left, one), _meant(kind, name, right, another)
        yield from _unlike(one, another, f"{path}.{name}", seen)


def _sorted(heap: list[Any]) -> list[Any]:
    return sorted(heap, key=lambda each: each[:2] if isinstance(each, tuple) else each)


def _meant(kind: str, name: str, owner: Any, value: Any) -> Any:  # noqa: ANN401  # of any kind
    """Return the part of a value that means something: arrays have room for more, notes of one time are one."""
    match kind, name:
        case "Sketches", "_held" | "_bucket" | "_slot":
            return value[: owner._index.rows]
        case ("Sketches", "_counters") | ("Groups", "_slots"):
            return dict(sorted(value.items()))
        case "Failures", "_held":
            return {slot: held for slot, held in value.items() if held}
        case "_GoodCalls", "_end":
            return value[: owner._new.rows]
        case "_GoodCalls", "_old_end":
            return value[: owner._old.rows]
        case "Lineage", "_parent" | "_class":
            return value[: owner._split + owner._new.rows]
        case "Lineage", "_codes":
            rows = owner._split + owner._new.rows
            return {label: owner.texts.objects(column[:rows]).tolist() for label, column in value.items()}
        case "TraceLabels", "_first":
            rows = {label: int(column.nonzero()[0].max(initial=-1)) + 1 for label, column in value.items()}
            return {label: owner.texts.objects(column[: rows[label]]).tolist() for label, column in value.items()}
        case "TraceLabels", "_further":
            return {
                label: {slot: [owner.texts.text(code) for code in codes] for slot, codes in sorted(held.items())}
                for label, held in value.items()
            }
        case "_Responses", "_start" | "_end" | "_output" | "_usage" | "_scope":
            return value[: owner._index.rows]
        case "Recent", "_blocks":
            return [_calls(batch, batch.labels) for batch in value]
        case "Recent", "_fresh":
            return _calls(owner._slim(value), None) if value else None
        case "Agenda", "_notes":
            return {at: np.unique(np.concatenate(slots)) for at, slots in value.items()}
        case "Waiting", "_parked":
            return {
                slot: _waiting([owner._chunks[number].part(rows) for number, rows in pieces])
                for slot, pieces in value.items()
            }
        case "Ring", "_segments":
            oldest = max(0, owner.written - owner._size, owner._first * owner._segment_rows)
            places = np.arange(oldest, owner.written)
            return [owner.traces(places), *(owner.texts(places, label)[0] for label in DRIVERS)] if len(places) else []
        case "Traces", "_facts":
            # Of a trace that is complete nobody asks more than its labels.
            live = owner._is_open.nonzero()[0]
            return {name: value.column(name)[live] for name in value._columns}
        case "Panes", "_loose":
            return value & set(owner.chunks)
        case _:
            return value


def _calls(batch: Any, labels: Sequence[str] | None) -> Any:  # noqa: ANN401  # a batch, as a table of columns
    names = batch.labels if labels is None else labels
    columns = {name: value for name, value in _attributes(batch).items() if name not in ("labels", "numbers")}
    texts = {
        name: [batch.labels[name].values[code] if code >= 0 else None for code in batch.labels[name].code]
        for name in names
    }
    return {**columns, **texts, **(dict(batch.numbers) if labels is None else {})}


def _waiting(parts: Sequence[Any]) -> Any:  # noqa: ANN401  # parked rows as a table of columns
    tables = [{**_calls(part.batch, None), **_attributes(part.keys)} for part in parts]
    own = [{"slots": part.slots, "missing": part.missing, "counted": part.counted} for part in parts]
    merged = {}
    for name in {name for table in tables for name in table}:
        columns = [table[name] for table in tables]
        merged[name] = (
            [each for column in columns for each in column] if isinstance(columns[0], list) else np.concatenate(columns)
        )
    return dict(sorted(merged.items())) | {name: np.concatenate([table[name] for table in own]) for name in own[0]}
