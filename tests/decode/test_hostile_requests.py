"""Requests made to hurt: what they cost is bounded, and both decoders say the same."""

import resource
import time
from collections.abc import Callable

import pytest
from agreement import assert_same
from wire_writer import message, varint, varint_field

from tocsin.decode import limits, reference, wire
from tocsin.model.columns import Decoded, Projection

KEYS = {f"key.{number}": 1024 for number in range(150)}
PROJECTION = Projection(
    attributes=KEYS, indexed=[("docs.", ".score")], event_times=["e"], event_attributes=[("e", "k")], log_events=["x"]
)
NATIVE, PLAIN = wire.Decoder(PROJECTION), reference.Decoder(PROJECTION)


def timed(work: Callable[[], Decoded], seconds: float) -> Decoded:
    begun = time.thread_time()
    decoded = work()
    assert time.thread_time() - begun < seconds
    return decoded


def in_span(*fields: bytes) -> bytes:
    return message(1, message(2, message(2, *fields)))


def pair(key: bytes, value: bytes) -> bytes:
    return message(9, message(1, key), message(2, value))


def nested_array(depth: int) -> bytes:
    """An AnyValue with `depth` arrays around a string; from the inside out, in linear time."""
    heads = []
    length = 0
    for _ in range(depth):
        inner = b"\x0a" + varint(length)
        outer = b"\x2a" + varint(len(inner) + length)
        heads.append(outer + inner)
        length += len(outer) + len(inner)
    return b"".join(reversed(heads))


def test_a_value_of_50_megabytes_costs_a_kilobyte() -> None:
    value = message(1, b"x" * 50_000_000)
    for key in (b"key.1", b"unread"):
        request = in_span(pair(key, value))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        native = timed(lambda data=request: NATIVE.traces([data]), 0.1)  # type: ignore[misc]  # bound on purpose
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000, "kilobytes"
        assert_same(native, PLAIN.traces([request]))
        assert all(len(text) <= 1024 for column in native.columns.attributes.values() for text in column.values)


def test_values_nested_100_000_deep_are_never_entered() -> None:
    value = nested_array(100_000)
    for key in (b"key.1", b"unread", b"docs.1.score"):
        request = in_span(pair(key, value))
        native = timed(lambda data=request: NATIVE.traces([data]), 0.1)  # type: ignore[misc]  # bound on purpose
        assert native.errors == [None]
        assert_same(native, PLAIN.traces([request]))


def test_groups_nested_100_000_deep_are_refused() -> None:
    request = in_span(b"\xa3\x06" * 100_000 + b"\xa4\x06" * 100_000)
    native = timed(lambda: NATIVE.traces([request]), 0.1)
    assert native.errors[0] is not None
    assert_same(native, PLAIN.traces([request]))


@pytest.mark.parametrize("kind", ["one key", "many keys", "list elements", "one key, other values"])
def test_a_million_attributes_on_a_span_take_a_second_at_most(kind: str) -> None:
    make: dict[str, Callable[[int], bytes]] = {
        "one key": lambda _: pair(b"key.1", varint_field(3, 1)),
        "many keys": lambda number: pair(b"%d" % number, varint_field(3, 1)),
        "list elements": lambda number: pair(b"docs.%d.score" % number, varint_field(3, number)),
        "one key, other values": lambda number: pair(b"key.1", message(1, b"%d" % number)),
    }
    request = in_span(b"".join(map(make[kind], range(1_000_000))))
    native = timed(lambda: NATIVE.traces([request]), 1.0)
    assert native.errors == [None]
    assert len(native.columns) == 1
    assert sum(len(column.values) for column in native.columns.attributes.values()) <= 1
    if kind == "list elements":
        assert native.columns.indexed["docs.", ".score"].count.tolist() == [1_000_000]


def test_values_that_begin_and_end_alike_do_not_collide() -> None:
    rows = [
        message(2, pair(b"key.1", message(1, b"same-beginning-%012d-same-ending" % number)))
        for number in range(100_000)
    ]
    native = timed(lambda: NATIVE.traces([message(1, message(2, *rows))]), 1.0)
    assert len(native.columns.attributes["key.1"].values) == 100_000


def test_more_rows_than_a_request_may_have_are_refused_and_harm_no_other() -> None:
    full = message(1, message(2, b"\x12\x00" * limits.MOST_ROWS))
    over = message(1, message(2, b"\x12\x00" * (limits.MOST_ROWS + 1)))
    native = timed(lambda: NATIVE.traces([over, in_span(), full]), 2.0)
    assert [error is None for error in native.errors] == [False, True, True]
    assert len(native.columns) == limits.MOST_ROWS + 1


def test_the_reference_has_the_same_limit_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "MOST_ROWS", 3)
    monkeypatch.setattr(wire, "MOST_ROWS", 3)
    native, plain = wire.Decoder(PROJECTION), reference.Decoder(PROJECTION)
    record = message(2, message(12, b"x"))
    for rows in (3, 4):
        requests = [message(1, message(2, message(2) * rows)), message(1, message(2, message(2)) * rows)]
        requests += [message(1) * rows, message(1, message(2) * rows), message(1, message(2)) * rows]
        assert_same(native.traces(requests), plain.traces(requests))
        logs = [message(1, message(2, record * rows, message(2) * 9))]
        assert_same(native.logs(logs), plain.logs(logs))
        assert (native.logs(logs).errors == [None]) is (rows == 3)


def test_zero_length_everything_is_accepted() -> None:
    nothing = [message(1), message(1, message(1)), message(1, message(2)), in_span(), in_span(message(9), message(11))]
    nothing += [in_span(message(9, message(1), message(2))), in_span(message(15), message(5)), b""]
    native = NATIVE.traces(nothing)
    assert native.errors == [None] * len(nothing)
    assert_same(native, PLAIN.traces(nothing))
    assert_same(NATIVE.logs(nothing), PLAIN.logs(nothing))


def test_what_is_no_bytes_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        NATIVE.traces(["text"])  # type: ignore[list-item]  # the point of the test
