"""What requests may take together: both decoders refuse the same ones, and the memory is not taken before."""

import subprocess
import sys
import textwrap
import time

import pytest
from agreement import assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from strategies import PROJECTION, export_logs, export_requests
from wire_writer import message, varint_field

from tocsin.decode import limits, reference, wire
from tocsin.model.columns import Decoded, Projection

KEYS = {f"key.{number}": 1024 for number in range(150)}
NARROW = Projection(
    attributes=KEYS, indexed=[("docs.", ".score")], event_times=["e"], event_attributes=[("e", "k")], log_events=["x"]
)
NATIVE = wire.Decoder(NARROW)


def pair(key: bytes, field: int = 9) -> bytes:
    return message(field, message(1, key), message(2, varint_field(3, 1)))


def spans(*rows: bytes) -> bytes:
    return message(1, message(2, *rows))


def empty(rows: int) -> bytes:
    return b"\x12\x00" * rows


WIDE = message(2, b"".join(pair(key.encode()) for key in KEYS))


def both(requests: list[bytes], most_cells: int, signal: str = "traces") -> Decoded:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "MOST_CELLS", most_cells)
        patch.setattr(reference, "MOST_CELLS", most_cells)
        native = getattr(wire.Decoder(NARROW), signal)(requests)
        plain: Decoded = getattr(reference.Decoder(NARROW), signal)(requests)
    assert_same(native, plain)
    for error, other in zip(native.errors, plain.errors, strict=True):
        assert str(error) == str(other) or "cells" not in str(error)
    return plain


def accepted(requests: list[bytes], most_cells: int, signal: str = "traces") -> list[bool]:
    return [error is None for error in both(requests, most_cells, signal).errors]


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        ([message(2)], 0),
        ([message(2, pair(b"key.1"), pair(b"key.1"), pair(b"unread"))], 1),
        ([message(2, pair(b"key.1")), message(2, pair(b"docs.1.score"), pair(b"docs.2.score"))], 2),
        ([message(2, message(9, message(1, b"key.2")))], 1),
        ([message(2, message(11, message(2, b"e"), pair(b"k", 3)))], 1),
        ([message(2, message(11, b"\x09" + b"\x01" * 8, message(2, b"e"), pair(b"k", 3)))], 2),
    ],
    ids=["empty", "one key", "a list", "an empty value", "an event's attribute", "and its time"],
)
def test_rows_count_as_often_as_there_are_columns(rows: list[bytes], columns: int) -> None:
    request = spans(*rows, empty(8))
    needed = (len(rows) + 8) * (limits.FIXED_CELLS + columns) + 2 * limits.FIXED_CELLS
    assert accepted([request], needed) == [True]
    assert accepted([request], needed - 1) == [False]


def test_resources_count_as_often_as_they_have_attributes() -> None:
    one, other = (message(1, message(1, pair(key, 1))) for key in (b"key.1", b"key.2"))
    request = one + other + message(1) * 5
    needed = 7 * (limits.FIXED_CELLS + 2)
    assert accepted([request], needed) == [True]
    assert accepted([request], needed - 1) == [False]


def test_log_records_that_nobody_wants_take_no_room() -> None:
    record = message(12, b"x")
    unwanted = b"".join(message(2, pair(key.encode(), 6)) for key in KEYS)
    request = message(1, message(2, message(2, record, pair(b"key.1", 6)), unwanted))
    assert accepted([request], 3 * limits.FIXED_CELLS + 1, "logs") == [True]
    assert accepted([request], 3 * limits.FIXED_CELLS, "logs") == [False]


def test_who_asks_for_much_is_refused_and_harms_no_other() -> None:
    small, wide, malformed = spans(message(2, pair(b"key.1"))), spans(WIDE), b"\xff"
    huge, larger = spans(empty(5000)), spans(empty(5001))
    # Each alone has room, but the wide one makes the rows of the others wide.
    assert accepted([huge, small, malformed, larger, wide], 100_000) == [False, True, False, False, True]
    assert accepted([huge, small, malformed, larger], 131_000) == [True, True, False, True]
    assert accepted([huge], 60_024) == [True]
    assert accepted([wide, huge, wide], 60_024) == [True, False, True]


def test_the_refusal_says_what_to_do() -> None:
    (error,) = both([spans(empty(10), WIDE)], 1000).errors
    assert "11 rows of 150 attributes, 1 resources and 1 scopes do not fit into the 1000 cells" in str(error)
    assert "send smaller batches" in str(error)


@given(st.lists(export_requests(), max_size=4), st.integers(0, 3000))
@settings(max_examples=60, deadline=None)
def test_generated_traces_are_refused_alike(requests: list[ExportTraceServiceRequest], most_cells: int) -> None:
    agree("traces", [request.SerializeToString() for request in requests], most_cells)


@given(st.lists(export_logs(), max_size=4), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_generated_logs_are_refused_alike(requests: list[ExportLogsServiceRequest], most_cells: int) -> None:
    agree("logs", [request.SerializeToString() for request in requests], most_cells)


def agree(signal: str, requests: list[bytes], most_cells: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "MOST_CELLS", most_cells)
        patch.setattr(reference, "MOST_CELLS", most_cells)
        native = getattr(wire.Decoder(PROJECTION), signal)(requests)
        assert_same(native, getattr(reference.Decoder(PROJECTION), signal)(requests))
        kept = [request for request, error in zip(requests, native.errors, strict=True) if error is None]
        # Nothing of what was refused is left.
        assert_same(native_of(kept, signal), getattr(reference.Decoder(PROJECTION), signal)(kept))
        assert len(native_of(kept, signal).columns) == len(native.columns)


def native_of(requests: list[bytes], signal: str) -> Decoded:
    decoded = getattr(wire.Decoder(PROJECTION), signal)(requests)
    assert isinstance(decoded, Decoded)
    assert decoded.errors == [None] * len(requests)
    return decoded


def test_a_small_request_of_many_empty_spans_and_a_wide_one_is_refused_at_once() -> None:
    hostile = spans(empty(limits.MOST_ROWS - 1), WIDE)
    assert len(hostile) < 270_000
    begun = time.thread_time()
    refused, kept = NATIVE.traces([hostile, spans(WIDE)]).errors
    assert time.thread_time() - begun < 0.3
    assert "send smaller batches" in str(refused)
    assert kept is None


def test_the_most_rows_with_50_attributes_are_accepted() -> None:
    row = message(2, b"".join(pair(b"key.%d" % number) for number in range(50)))
    decoded = NATIVE.traces([spans(empty(limits.MOST_ROWS - 1), row)])
    assert decoded.errors == [None]
    assert len(decoded.columns.attributes) == 50


PROGRAM = """
    import resource, sys
    sys.path[:0] = {path!r}
    from test_room_for_columns import NATIVE, WIDE, empty, pair, spans
    from tocsin.decode import limits
    from wire_writer import message

    fitting = message(2, b"".join(pair(b"key.%d" % number) for number in range(50)))
    requests = {requests}
    assert sum(map(len, requests)) <= 8 << 20
    NATIVE.traces([spans(WIDE)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    NATIVE.traces(requests)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(
    ("requests", "megabytes"),
    [
        ("[spans(empty(limits.MOST_ROWS - 1), WIDE)]", 60),
        ("[spans(empty(limits.MOST_ROWS - 1), fitting)]", 220),
        ("[spans(empty(limits.MOST_ROWS))] * 31 + [spans(WIDE)] * 8", 220),
        ("[message(1) * 130_000] * 32", 220),
        ("[message(1, message(2) * 130_000)] * 32", 220),
    ],
    ids=["refused", "just fits", "many together", "resources", "scopes"],
)
def test_8_megabytes_of_requests_take_bounded_memory(requests: str, megabytes: int) -> None:
    program = textwrap.dedent(PROGRAM.format(path=sys.path, requests=requests))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)  # noqa: S603  # ours
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < megabytes, "megabytes"
