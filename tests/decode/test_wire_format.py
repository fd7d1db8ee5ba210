"""Bytes that no library writes but that are valid, or just not: upb decides, and the native decoder follows."""

from collections.abc import Sequence

import pytest
from agreement import assert_same
from wire_writer import fixed64, group, message, overlong, tag, varint, varint_field

from tocsin.decode import reference, wire
from tocsin.model.columns import Projection, SpanColumns, ValueKind

PROJECTION = Projection(
    attributes={"k": 8, "other": 1024, "service.name": 64},
    indexed=[("d.", ".s")],
    event_times=["e"],
    event_attributes=[("e", "k")],
    log_events=["wanted"],
)
NATIVE, PLAIN = wire.Decoder(PROJECTION), reference.Decoder(PROJECTION)


def traces(*parts: bytes) -> SpanColumns:
    """Decode one request with both; it must be accepted."""
    native, plain = NATIVE.traces([b"".join(parts)]), PLAIN.traces([b"".join(parts)])
    assert_same(native, plain)
    assert native.errors == [None]
    return native.columns


def refused(*parts: bytes) -> None:
    native, plain = NATIVE.traces([b"".join(parts)]), PLAIN.traces([b"".join(parts)])
    assert_same(native, plain)
    assert native.errors[0] is not None
    assert len(native.columns) == 0


def in_span(*fields: bytes) -> bytes:
    return message(1, message(2, message(2, *fields)))


def pair(key: bytes, *values: bytes) -> bytes:
    return message(9, message(1, key), *(message(2, value) for value in values))


def string(text: bytes) -> bytes:
    return message(1, text)


def only(columns: SpanColumns, key: str = "k") -> tuple[ValueKind, object]:
    column = columns.attributes[key]
    assert len(column.kind) == 1
    code = int(column.code[0])
    return ValueKind(int(column.kind[0])), column.values[code] if code >= 0 else float(column.number[0])


def test_of_a_repeated_key_the_last_value_counts_and_the_others_leave_no_trace() -> None:
    columns = traces(in_span(pair(b"k", string(b"one")), pair(b"k", string(b"two")), pair(b"k", string(b"3"))))
    assert only(columns) == (ValueKind.STRING, "3")
    assert list(columns.attributes["k"].values) == ["3"]


def test_codes_stay_right_when_repeated_keys_take_values_back() -> None:
    rows = []
    for row in range(40):
        pairs = [pair(b"k", string(f"v{(row + index) % 11}".encode())) for index in range(1 + row % 4)]
        rows.append(message(2, *pairs))
    columns = traces(message(1, message(2, *rows)))
    column = columns.attributes["k"]
    expected = [f"v{(row + row % 4) % 11}" for row in range(40)]
    assert [column.values[code] for code in column.code] == expected


def test_a_last_value_that_is_empty_removes_the_attribute() -> None:
    assert "k" not in traces(in_span(pair(b"k", string(b"one")), pair(b"k", b""))).attributes


def test_the_last_field_of_a_oneof_wins() -> None:
    assert only(traces(in_span(pair(b"k", string(b"a") + varint_field(3, 7))))) == (ValueKind.INT, 7.0)
    assert only(traces(in_span(pair(b"k", varint_field(3, 7) + string(b"a"))))) == (ValueKind.STRING, "a")


def test_several_values_of_one_attribute_are_merged() -> None:
    assert only(traces(in_span(pair(b"k", varint_field(3, 7), b"")))) == (ValueKind.INT, 7.0)
    assert only(traces(in_span(pair(b"k", b"", string(b"a"), message(99))))) == (ValueKind.STRING, "a")
    refused(in_span(pair(b"k", string(b"a"), b"\x0a")))


def test_a_value_may_stand_before_its_key() -> None:
    columns = traces(in_span(message(9, message(2, string(b"a")), message(1, b"x"), message(1, b"k"))))
    assert only(columns) == (ValueKind.STRING, "a")


def test_a_field_of_another_wire_type_is_unknown() -> None:
    assert traces(in_span(message(9, message(1, b"k"), varint_field(2, 3)))).attributes == {}
    assert traces(in_span(pair(b"k", varint_field(1, 3)))).attributes == {}
    assert traces(in_span(varint_field(5, 3), message(6, b"x"))).kind[0] == 0


def test_unread_values_are_not_looked_into_and_read_ones_are() -> None:
    broken = b"\x0a\xff\xff"
    assert len(traces(in_span(pair(b"unread", broken)))) == 1
    refused(in_span(pair(b"k", broken)))
    refused(in_span(pair(b"d.1.s", broken)))
    array = message(5, broken)
    assert only(traces(in_span(pair(b"k", array)))) == (ValueKind.ARRAY, broken)


def test_invalid_utf8_is_replaced_where_it_is_read_and_ignored_where_not() -> None:
    columns = traces(
        in_span(message(5, b"a\xffb"), pair(b"unread", string(b"\xff")), pair(b"k", string(b"\xed\xa0\x80")))
    )
    assert list(columns.name.values) == ["a�b"]
    assert only(columns) == (ValueKind.STRING, "���")


def test_two_invalid_strings_that_are_replaced_alike_are_one_value() -> None:
    rows = [message(2, pair(b"k", string(text))) for text in (b"\xff", "�".encode(), b"\xfe", b"\xff")]
    column = traces(message(1, message(2, *rows))).attributes["k"]
    assert list(column.values) == ["�"]
    assert column.code.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (b"12345678", "12345678"),
        (b"123456789", "12345678"),
        ("1234567é".encode(), "1234567"),
        ("123456é9".encode(), "123456é"),
        ("12345日本".encode(), "12345日"),
        ("1234567🔔".encode(), "1234567"),
        ("12345🔔".encode(), "12345"),
        (b"\x80" * 12, "\ufffd" * 5),
        (b"\xf0\x9f\x94" * 4, "\ufffd" * 2),
    ],
)
def test_a_string_over_its_cap_is_cut_where_a_character_begins(text: bytes, kept: str) -> None:
    assert only(traces(in_span(pair(b"k", string(text))))) == (ValueKind.STRING, kept)


def test_bytes_and_lists_over_their_cap_are_kept_empty() -> None:
    for number, kind in ((5, ValueKind.ARRAY), (6, ValueKind.KVLIST), (7, ValueKind.BYTES)):
        assert only(traces(in_span(pair(b"k", message(number, b"x" * 9))))) == (kind, b"")
        assert only(traces(in_span(pair(b"k", message(number, b""))))) == (kind, b"")
        kept = message(1, b"x" * 6)
        assert only(traces(in_span(pair(b"k", message(number, kept))))) == (kind, kept)


def test_fields_may_come_in_any_order_and_singular_messages_are_merged() -> None:
    scope = message(1, message(1, b"lib")), message(1, message(2, b"2"))
    spans = message(2, message(15, varint_field(3, 2)), message(15, message(2, b"why")))
    name = message(1, message(1, message(1, b"service.name"), message(2, string(b"shop"))))
    more = message(1, message(1, message(1, b"other"), message(2, string(b"x"))))
    columns = traces(message(1, message(2, scope[1], spans, scope[0]), name, more))
    assert [(own.name, own.version) for own in columns.scopes] == [("lib", "2")]
    assert columns.status.tolist() == [2]
    assert set(columns.resources) == {"service.name", "other"}
    assert columns.resource.tolist() == [0]


def test_equal_resources_and_scopes_are_one() -> None:
    entry = message(
        1,
        message(1, message(1, message(1, b"service.name"), message(2, string(b"shop")))),
        message(2, message(1, message(1, b"lib")), message(2)),
    )
    columns = traces(entry, entry, message(1, message(2, message(2))))
    assert columns.resource.tolist() == [0, 0, 1]
    assert columns.scope.tolist() == [0, 0, 1]
    assert columns.resources["service.name"].kind.tolist() == [1, 0]


def test_scopes_that_are_replaced_alike_are_one() -> None:
    entries = [message(1, message(2, message(1, message(1, name)), message(2))) for name in (b"\xff", b"\xfe", b"a")]
    columns = traces(*entries)
    assert columns.scope.tolist() == [0, 0, 1]


def test_event_times_are_the_earliest_and_event_attributes_the_first() -> None:
    def event(time: int, *values: bytes) -> bytes:
        pairs = [message(3, message(1, b"k"), message(2, string(value))) for value in values]
        return message(11, fixed64(1, time), message(2, b"e"), *pairs)

    columns = traces(in_span(event(0), event(9), event(5, b"a", b"b"), event(7, b"c")))
    assert columns.event_time["e"].tolist() == [5]
    assert only(columns, "e/k") == (ValueKind.STRING, "b")


def test_flattened_lists_are_counted_and_their_maximum_kept() -> None:
    pairs = [pair(b"d.0.s", varint_field(3, 5)), pair(b"d.12.s", tag(4, 1) + b"\0\0\0\0\0\0\x22\x40")]
    pairs += [pair(b"d..s", varint_field(3, 99)), pair(b"d.x.s", varint_field(3, 99)), pair(b"d.1.s", string(b"z"))]
    column = traces(in_span(*pairs)).indexed["d.", ".s"]
    assert (column.count.tolist(), column.maximum.tolist()) == ([3], [9.0])


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("place", ["tag", "unknown tag", "length", "unknown length", "number", "unknown number"])
def test_overlong_numbers_are_limited_as_upb_limits_them(place: str, size: int) -> None:
    field = {
        "tag": overlong(6 << 3, size) + b"\x03",
        "unknown tag": overlong(100 << 3, size) + b"\x03",
        "length": tag(5, 2) + overlong(1, size) + b"n",
        "unknown length": tag(100, 2) + overlong(1, size) + b"n",
        "number": tag(6, 0) + overlong(3, size),
        "unknown number": tag(100, 0) + overlong(3, size),
    }[place]
    (traces if size <= (10 if "number" in place else 5) else refused)(in_span(field))


@pytest.mark.parametrize(
    "number", [b"\xff" * 9 + b"\x01", b"\xff" * 9 + b"\x7f", b"\x83" + b"\x80" * 8 + b"\x02", b"\x83\x80\x80\x80\x10"]
)
def test_bits_over_the_64th_are_dropped_and_enums_have_32(number: bytes) -> None:
    columns = traces(in_span(tag(6, 0) + number, pair(b"k", tag(3, 0) + number), pair(b"other", tag(2, 0) + number)))
    assert columns.attributes["other"].number.tolist() == [1.0]
    assert columns.kind[0] in (0, 3)


BAD_FIELDS: Sequence[bytes] = (
    tag(0, 0) + b"\x01",
    tag(0, 2) + b"\x00",
    tag(2**29, 0) + b"\x01",
    b"\xf8\xff\xff\xff\x1f\x01",
    tag(100, 6),
    tag(100, 7),
    tag(100, 4),
    tag(100, 3),
    tag(100, 3) + tag(101, 4),
    tag(100, 3) + tag(0, 4) + tag(100, 4),
    tag(100, 1) + b"1234567",
    tag(100, 5) + b"123",
    tag(5, 2) + varint(2**31) + b"x",
    tag(5, 2) + varint(2**64 - 1) + b"x",
    tag(5, 2) + b"\x02x",
    tag(6, 0) + b"\x80",
)


@pytest.mark.parametrize("field", BAD_FIELDS)
def test_broken_fields_refuse_the_request_wherever_they_stand(field: bytes) -> None:
    places = [field, message(1, field), message(1, message(1, field)), message(1, message(2, field))]
    places += [message(1, message(2, message(1, field))), in_span(field), in_span(message(9, field))]
    places += [in_span(message(15, field)), in_span(message(11, field)), in_span(message(11, message(3, field)))]
    for request in places:
        refused(request)


def test_groups_are_skipped_as_deep_as_upb_goes() -> None:
    def nested(depth: int) -> bytes:
        inner = tag(0, 0) + b"\x01"  # inside a group even field number 0 passes
        for _ in range(depth):
            inner = group(100, inner)
        return inner

    for levels in range(3):
        for depth, decode in ((100 - levels, traces), (101 - levels, refused)):
            request = nested(depth)
            for field in range(levels, 0, -1):
                request = message(field, request)
            decode(request)
    traces(in_span(nested(97), message(9, nested(96)), message(15, nested(96)), message(11, nested(100))))
    refused(in_span(message(9, nested(97))))
    refused(in_span(message(11, nested(101))))


def test_the_three_places_of_a_log_records_name_have_an_order() -> None:
    def record(*fields: bytes) -> bytes:
        return message(1, message(2, message(2, *fields)))

    def named(key: bytes, value: bytes) -> bytes:
        return message(6, message(1, key), message(2, value))

    wanted = [
        record(message(12, b"wanted"), named(b"event.name", string(b"x"))),
        record(named(b"event.name", string(b"wanted")), named(b"event_name", string(b"x"))),
        record(named(b"event_name", string(b"wanted")), named(b"event.name", varint_field(3, 1))),
        record(message(12, b"wanted"), fixed64(11, 5)),
    ]
    unwanted = [
        record(message(12, b"x"), named(b"event.name", string(b"wanted"))),
        record(named(b"event.name", string(b"wanted")), named(b"event.name", string(b"x"))),
        record(),
    ]
    native, plain = NATIVE.logs(wanted + unwanted), PLAIN.logs(wanted + unwanted)
    assert_same(native, plain)
    assert len(native.columns) == 4
    assert native.columns.skipped == 3
    assert native.columns.end.tolist() == [0, 0, 0, 5]
    assert list(native.columns.name.values) == ["wanted"]
