"""Adding costs to a request's bytes: nothing else changes, a full decode agrees, and both ways give the same."""

import math
import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from fuzz import Fuzzer
from google.protobuf.message import DecodeError as ProtobufDecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from recorded_requests import TRACES, request_of
from strategies import export_requests
from wire_writer import fixed64, group, message, overlong, tag, varint_field

from tocsin.errors import DecodeError
from tocsin.forward import splice as native
from tocsin.forward import splice_reference
from tocsin.forward.splice_reference import COST_KEY, cost_attribute
from tocsin.forward.wire import BYTES, Reader
from tocsin.forward.wire import tag as tag_of

KEY = COST_KEY.decode()
PIECE = len(cost_attribute(0.0))
COSTS = st.one_of(st.just(math.nan), st.floats(0, 100), st.sampled_from([0.0, 1e-9, math.inf, -0.0]))

Splice = Callable[[bytes, Sequence[float]], bytes]


def native_splice(request: bytes, costs: Sequence[float]) -> bytes:
    return native.splice(request, np.array(costs, np.float64))


BOTH = pytest.mark.parametrize("splice", [native_splice, splice_reference.splice], ids=["native", "reference"])


def spans_in(request: bytes) -> int:
    parsed = ExportTraceServiceRequest.FromString(request)
    return sum(len(scope.spans) for resource in parsed.resource_spans for scope in resource.scope_spans)


def decoded_with(request: bytes, costs: Sequence[float]) -> ExportTraceServiceRequest:
    """The slow way: decode everything and add the attributes to the objects."""
    parsed = ExportTraceServiceRequest.FromString(request)
    left = iter(costs)
    for resource in parsed.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                cost = next(left)
                if math.isfinite(cost) and all(pair.key != KEY for pair in span.attributes):
                    span.attributes.append(KeyValue(key=KEY, value=AnyValue(double_value=cost)))
    return parsed


def restored(original: bytes, spliced: bytes) -> bytes:
    """Take the costs out of `spliced` again and give the messages their lengths in `original`."""
    return _restored(Reader(original, 0), Reader(spliced, 0), 0)


def _restored(before: Reader, after: Reader, depth: int) -> bytes:
    """Walk both at once: they have the same fields but for a span's last one."""
    nested = (tag_of(1, BYTES), tag_of(2, BYTES), tag_of(2, BYTES))
    if depth == 3:
        rest = after.rest()
        inserted = len(rest) - (before.end - before.position)
        assert inserted in (0, PIECE)
        return rest[: len(rest) - inserted]
    out = b""
    while True:
        begun_before, begun_after = before.position, after.position
        found = before.next_tag()
        assert after.next_tag() == found
        if found is None:
            return out
        if found == nested[depth]:
            written = before.data[begun_before : before.position]
            assert after.data[begun_after : after.position] == written
            length_at = before.position
            inner_before = Reader(before.data, depth + 1, *before.payload())
            inner_after = Reader(after.data, depth + 1, *after.payload())
            length = before.data[length_at : inner_before.position]
            out += written + length + _restored(inner_before, inner_after, depth + 1)
        else:
            before.skip(found)
            after.skip(found)
            out += after.data[begun_after : after.position]


def check(splice: Splice, request: bytes, costs: Sequence[float]) -> bytes:
    spliced = splice(request, costs)
    assert ExportTraceServiceRequest.FromString(spliced) == decoded_with(request, costs)
    assert restored(request, spliced) == request
    return spliced


@BOTH
@settings(max_examples=60)
@given(export_requests(), st.data())
def test_a_full_decode_agrees_and_every_other_byte_is_untouched(
    splice: Splice, request_message: ExportTraceServiceRequest, data: st.DataObject
) -> None:
    request = request_message.SerializeToString()
    count = spans_in(request)
    costs = data.draw(st.lists(COSTS, min_size=count, max_size=count))
    for resource in request_message.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                # NaN is equal to nothing, so messages with one can't be compared.
                kept = [pair for pair in span.attributes if "nan" not in str(pair)]
                del span.attributes[:]
                span.attributes.extend(kept)
    check(splice, request_message.SerializeToString(), costs)


@BOTH
@pytest.mark.parametrize("file", [entry["file"] for entry in TRACES])
def test_recorded_requests_keep_every_other_byte(splice: Splice, file: str) -> None:
    request = request_of(file)
    count = spans_in(request)
    draw = random.Random(file)
    costs = [draw.choice((math.nan, draw.random())) for _ in range(count)]
    check(splice, request, costs)
    assert splice(request, [math.nan] * count) == request


def odd_request() -> tuple[bytes, int]:
    """A request of three spans as no library writes it."""
    attribute = message(9, message(1, b"k"), message(2, varint_field(3, 5)))
    first = b"".join(
        (attribute, group(77, fixed64(3, 9)), message(5, b"late"), tag(1, 2) + overlong(16, 4) + bytes(16), attribute)
    )
    second = b"".join((overlong(5 << 3 | 2, 3) + b"\x01n", varint_field(99, 2**64 - 1), group(200, group(201))))
    scope = b"".join(
        (
            tag(2, 2) + overlong(len(first), 5) + first,
            varint_field(55, 7),
            message(2, second),
            message(1, message(1, b"scope")),  # a scope after its spans
            message(2),  # an empty span
            message(3, b"schema"),
        )
    )
    resource = b"".join(
        (
            group(88),
            overlong(2 << 3 | 2, 2) + overlong(len(scope), 3) + scope,
            message(1, message(9, b"odd")),
            message(2),
            message(1),
            message(1),
        )
    )
    return message(1) + tag(1, 2) + overlong(len(resource), 4) + resource + message(6, b"?") + group(9) + message(1), 3


@BOTH
@pytest.mark.parametrize(
    "costs", [(1.0, 2.0, 3.0), (math.nan, math.nan, 3.0), (1.0, math.nan, math.nan), (math.nan, 2.0, math.nan)]
)
def test_what_no_library_writes_is_kept_too(splice: Splice, costs: Sequence[float]) -> None:
    request, _ = odd_request()
    spliced = check(splice, request, costs)
    assert len(spliced) > len(request)


@BOTH
def test_a_message_whose_spans_have_no_cost_keeps_its_odd_length(splice: Splice) -> None:
    request, count = odd_request()
    other = message(1, message(2, message(2)))
    spliced = splice(request + other, [math.nan] * count + [1.0])
    assert spliced.startswith(request)


@BOTH
def test_a_cost_that_a_span_states_is_left_as_it_is(splice: Splice) -> None:
    states = message(9, message(1, COST_KEY), message(2, fixed64(4, 1)))
    by_its_last_key = message(9, message(1, b"other"), message(2), message(1, COST_KEY))
    not_by_its_last_key = message(9, message(1, COST_KEY), message(1, b"other"))
    spans = [message(2, part) for part in (states, by_its_last_key, not_by_its_last_key)]
    request = message(1, message(2, *spans))
    spliced = check(splice, request, [1.0, 2.0, 3.0])
    assert spliced == message(1, message(2, spans[0], spans[1], message(2, not_by_its_last_key, cost_attribute(3.0))))
    assert splice(spliced, [1.0, 2.0, 3.0]) == spliced


@BOTH
@pytest.mark.parametrize("size", [96, 97, 127, 128, 16_000, 16_352, 16_353, 16_384, 2_097_100, 2_097_152])
def test_lengths_grow_over_the_borders_of_their_numbers(splice: Splice, size: int) -> None:
    for offset in range(-8, 9):
        check(splice, message(1, message(2, message(2, message(5, b"x" * (size - 31 + offset))))), [1.0])


@BOTH
def test_another_number_of_costs_than_spans_is_refused(splice: Splice) -> None:
    request, count = odd_request()
    for costs in ([1.0] * (count - 1), [1.0] * (count + 1), []):
        with pytest.raises(ValueError, match="3 spans"):
            splice(request, costs)
    assert splice(b"", []) == b""


@BOTH
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x0a",
        b"\x0a\x05\x12",
        b"\x0a\xff\xff\xff\xff\xff\x01",
        message(1, b"\x12\x09"),
        message(1, message(2, b"\x12\x7f")),
        message(1, message(2, message(2, b"\x4a\x03\x0a\x09k"))),
        message(1, message(2, message(2, tag(0, 2) + b"\x00"))),
        message(1, message(2, message(2, tag(4, 4)))),
        tag(5, 3),
        message(1, message(2, message(2, b"".join(tag(5, 3) for _ in range(98)) + b"".join([tag(5, 4)] * 98)))),
        tag(3, 6),
        b"\xff\xff\xff\xff\xff\x01",
    ],
)
def test_bytes_that_are_no_request_are_refused(splice: Splice, request_bytes: bytes) -> None:
    with pytest.raises(ProtobufDecodeError):
        ExportTraceServiceRequest.FromString(request_bytes)
    with pytest.raises(DecodeError, match="no cost can be added"):
        splice(request_bytes, [])


def outcome(splice: Splice, request: bytes, costs: Sequence[float]) -> bytes | type[Exception]:
    try:
        return splice(request, costs)
    except (DecodeError, ValueError) as error:
        return type(error)


@pytest.mark.parametrize("seed", range(3))
def test_both_ways_agree_on_bytes_that_nobody_should_send(seed: int) -> None:
    fuzzer = Fuzzer(seed)
    draw = random.Random(seed)
    tried: dict[object, int] = {}
    for _ in range(800):
        _, requests = fuzzer._case()
        for request in requests:
            spans = _spans_or_none(request)
            count = draw.randrange(4) if spans is None or draw.random() < 0.2 else spans
            costs = [draw.choice((math.nan, 0.25, 1e6)) for _ in range(count)]
            left, right = outcome(native_splice, request, costs), outcome(splice_reference.splice, request, costs)
            assert left == right
            kind = left if isinstance(left, type) else left == request
            tried[kind] = tried.get(kind, 0) + 1
    assert min(tried.get(kind, 0) for kind in (DecodeError, ValueError, True, False)) > 10, tried


def _spans_or_none(request: bytes) -> int | None:
    try:
        return spans_in(request)
    except ProtobufDecodeError:
        return None


@BOTH
def test_every_cut_of_a_request_is_refused_or_kept(splice: Splice) -> None:
    request, count = odd_request()
    for end in range(len(request)):
        other = native_splice if splice is splice_reference.splice else splice_reference.splice
        assert outcome(splice, request[:end], [1.0] * count) == outcome(other, request[:end], [1.0] * count)
