"""A state as text and arrays: the plain part as JSON, the arrays beside it, each as the bytes that numpy has.

In the JSON an object with the single key `$` stands for what JSON has not: `{"$": ["array", DTYPE, [SHAPE]]}` for the
next array, `{"$": ["float", "nan"]}` for a number that is not finite, `{"$": ["texts", N, BYTES]}` and
`{"$": ["floats", N]}` for long lists, which lie in arrays too, `{"$": ["text", …]}` for a text that UTF-8 has not, and
`{"$": ["map", …]}` for a mapping that could be mistaken for one of them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from tocsin.errors import SnapshotError
from tocsin.model.state import State

__all__ = ["Arrays", "Take", "plain", "restored"]

Arrays: TypeAlias = list[NDArray[np.generic]]
Take: TypeAlias = Callable[["np.dtype[Any]", tuple[int, ...]], NDArray[Any]]
"""Returns the next array, given its type and shape."""

_Json: TypeAlias = "bool | int | float | str | list[_Json] | dict[str, _Json] | None"
_MARK: Final = "$"
_KINDS: Final = "biufcSUmM"
"""Of array types: no objects, no structures."""
_LONG: Final = 64
_CHUNK: Final = 16_384
"""Texts that are joined at a time: the interpreter is held for less than a millisecond."""
_DEPTH: Final = 100


def plain(state: State) -> tuple[bytes, Arrays]:
    """Return a state as JSON, and the arrays that it refers to, in order.

    Raises:
        TypeError: something in it is no state.
        ValueError: it is nested too deeply, or an integer has more than 64 bits.
    """
    arrays: Arrays = []
    try:
        return orjson.dumps(_plain(state, arrays, 0)), arrays
    except orjson.JSONEncodeError as error:
        raise ValueError(f"the state is none that can be kept: {error}") from error


def restored(text: bytes, take: Take) -> State:
    """Return the state whose JSON this is, with the arrays that `take` gives.

    Raises:
        SnapshotError: the text is no state.
    """
    try:
        return _restored(orjson.loads(text), take)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise SnapshotError(f"its structure is damaged: {error}") from error


def _plain(state: State, arrays: Arrays, depth: int) -> _Json:
    if depth > _DEPTH:
        raise ValueError(f"the state is nested over {_DEPTH} levels deep")
    if state is None or isinstance(state, (bool, int)):
        return state
    if isinstance(state, str):
        return state if state.isascii() else _text(state, arrays)
    if isinstance(state, float):
        return state if math.isfinite(state) else {_MARK: ["float", repr(float(state))]}
    if isinstance(state, np.ndarray):
        return _put(state, arrays)
    if isinstance(state, Mapping):
        mapping: dict[str, _Json] = {_key(key): _plain(value, arrays, depth + 1) for key, value in state.items()}
        return {_MARK: ["map", mapping]} if _MARK in mapping else mapping
    if isinstance(state, Sequence):
        return _plain_list(state, arrays, depth)
    raise TypeError(f"a {type(state).__name__} is no state")


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key of a state is a text, not a {type(key).__name__}")
    return key


def _plain_list(state: "Sequence[State]", arrays: Arrays, depth: int) -> _Json:
    kinds = set(map(type, state))
    if kinds <= {int, bool, type(None)}:
        return list(state)  # type: ignore[arg-type]  # nothing else is in it
    if kinds == {float} and len(state) >= _LONG:
        arrays.append(np.array(state, np.float64))
        return {_MARK: ["floats", len(state)]}
    if kinds == {str} and len(state) >= _LONG:
        return _texts(state, arrays)  # type: ignore[arg-type]  # nothing else is in it
    return [_plain(item, arrays, depth + 1) for item in state]


def _put(array: NDArray[Any], arrays: Arrays) -> _Json:
    if array.dtype.kind not in _KINDS:
        raise TypeError(f"an array of {array.dtype} is no state")
    kept = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    arrays.append(kept)
    return {_MARK: ["array", kept.dtype.str, list(kept.shape)]}


def _text(text: str, arrays: Arrays) -> _Json:
    """Return a text; half of a surrogate pair, which can come from JSON, is more than JSON's writer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return {_MARK: ["text", _texts([text], arrays)]}
    return text


def _texts(texts: Sequence[str], arrays: Arrays) -> _Json:
    """Put texts in two arrays: the number of code points of each, and all of them as UTF-8."""
    arrays.append(np.fromiter(map(len, texts), "<u4", len(texts)))
    parts = [
        "".join(texts[begin : begin + _CHUNK]).encode("utf-8", "surrogatepass")
        for begin in range(0, len(texts), _CHUNK)
    ]
    joined = np.frombuffer(b"".join(parts), np.uint8)
    arrays.append(joined)
    return {_MARK: ["texts", len(texts), len(joined)]}


def _restored(node: Any, take: Take) -> State:  # noqa: ANN401  # whatever JSON holds
    if isinstance(node, list):
        return [_restored(item, take) for item in node]
    if not isinstance(node, dict):
        return node
    if _MARK not in node:
        return {key: _restored(value, take) for key, value in node.items()}
    match node[_MARK]:
        case ["array", str(kind), list(shape)]:
            return take(_dtype(kind), tuple(shape))
        case ["float", ("nan" | "inf" | "-inf") as word]:
            return float(word)
        case ["floats", int(count)]:
            return take(np.dtype("<f8"), (count,)).tolist()
        case ["texts", int(count), int(size)]:
            return _split(take(np.dtype("<u4"), (count,)), take(np.dtype("u1"), (size,)))
        case ["text", {"$": ["texts", 1, int(size)]}]:
            return _split(take(np.dtype("<u4"), (1,)), take(np.dtype("u1"), (size,)))[0]
        case ["map", dict(mapping)]:
            return {key: _restored(value, take) for key, value in mapping.items()}
        case other:
            raise SnapshotError(f"its structure has an unknown part: {str(other)[:60]}")


def _dtype(kind: str) -> "np.dtype[Any]":
    dtype = np.dtype(kind)
    if dtype.kind not in _KINDS:
        raise SnapshotError(f"its structure has an array of {kind}")
    return dtype


def _split(lengths: NDArray[np.uint32], joined: NDArray[np.uint8]) -> list[str]:
    text = joined.tobytes().decode("utf-8", "surrogatepass")
    ends = list(accumulate(lengths.tolist(), initial=0))
    if ends[-1] != len(text):
        raise SnapshotError("its texts do not fit their lengths")
    return [text[begin:end] for begin, end in pairwise(ends)]
