"""The plain splice: messages are put together again around what is new. Right by definition, and the fallback."""

import math
import struct
from collections.abc import Sequence
from typing import Final

from tocsin.errors import DecodeError
from tocsin.forward.wire import BYTES, MalformedError, Reader, tag, varint

__all__ = ["COST_KEY", "cost_attribute", "splice"]

COST_KEY: Final = b"app.llm.cost_usd"
_ATTRIBUTES: Final = tag(9, BYTES)
_KEY: Final = tag(1, BYTES)
_PATH: Final = (tag(1, BYTES), tag(2, BYTES), tag(2, BYTES))
"""ExportTraceServiceRequest.resource_spans, ResourceSpans.scope_spans, ScopeSpans.spans."""
_VALUE: Final = struct.Struct("<d")


def splice(request: bytes, costs: Sequence[float]) -> bytes:
    """See `tocsin.forward.splice.splice`."""
    given = _Costs(costs)
    try:
        changed = _rewritten(Reader(request, 0), 0, given)
    except MalformedError as error:
        raise DecodeError(f"no cost can be added: {error}") from error
    if given.spans != len(costs):
        raise ValueError(f"the request has {given.spans} spans, and {len(costs)} costs were given")
    return request if changed is None else changed


def cost_attribute(cost: float) -> bytes:
    """Return Span.attributes with the cost, tag and length included."""
    value = b"\x12\x09\x21" + _VALUE.pack(cost)  # KeyValue.value, of which AnyValue.double_value
    pair = bytes([_KEY, len(COST_KEY)]) + COST_KEY + value
    return bytes([_ATTRIBUTES, len(pair)]) + pair


class _Costs:
    """Gives one cost after another, and counts; NaN where there are no more."""

    def __init__(self, costs: Sequence[float]) -> None:
        self._costs = costs
        self.spans = 0

    def next(self) -> float:
        self.spans += 1
        return self._costs[self.spans - 1] if self.spans <= len(self._costs) else math.nan


def _rewritten(reader: Reader, depth: int, costs: "_Costs") -> bytes | None:
    """Return the message that `reader` reads with the costs in it; None where nothing changes."""
    data, copied = reader.data, reader.position
    parts: list[bytes] = []
    while (found := reader.next_tag()) is not None:
        if found != _PATH[depth]:
            reader.skip(found)
            continue
        length_at = reader.position
        begin, end = reader.payload()
        inner = Reader(data, depth + 1, begin, end)
        is_span = depth == len(_PATH) - 1
        changed = _priced(inner, costs.next()) if is_span else _rewritten(inner, depth + 1, costs)
        if changed is not None:
            parts += (data[copied:length_at], varint(len(changed)), changed)
            copied = end
    return b"".join((*parts, data[copied : reader.end])) if parts else None


def _priced(reader: Reader, cost: float) -> bytes | None:
    span = reader.rest()
    states_it = False
    while (found := reader.next_tag()) is not None:
        if found == _ATTRIBUTES:
            states_it |= _key_of(Reader(reader.data, 4, *reader.payload())) == COST_KEY
        else:
            reader.skip(found)
    return None if states_it or not math.isfinite(cost) else span + cost_attribute(cost)


def _key_of(reader: Reader) -> bytes:
    """Return the key of a KeyValue: the last one, as for any field that should be there once."""
    key = b""
    while (found := reader.next_tag()) is not None:
        if found == _KEY:
            begin, end = reader.payload()
            key = reader.data[begin:end]
        else:
            reader.skip(found)
    return key
