"""The queue's files: what is broken costs only itself."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.forward.entry import Entry, Signal, client_of
from tocsin.forward.segment import HEADER_SIZE, Segment, encoded, found_in

BODIES = st.lists(st.one_of(st.binary(max_size=50), st.just(b"\xf1TcQ" * 30), st.just(bytes(3000))), max_size=8)


def entry(data: bytes, number: int = 0) -> Entry:
    return Entry(list(Signal)[number % 3], number * 7919 % 2**32, 1_700_000_000_000_000_000 + number, len(data), data)


def written(directory: Path, bodies: list[bytes]) -> tuple[Segment, list[int]]:
    segment = Segment(1, directory)
    offsets: list[int] = []
    for number, body in enumerate(bodies):
        offsets += segment.append([encoded(entry(body, number), body)], sync=False)
        segment.size += HEADER_SIZE + len(body)
    return segment, offsets


@given(BODIES)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes]) -> None:
    segment, offsets = written(tmp_path_factory.mktemp("files"), bodies)
    if not bodies:
        return
    found = list(found_in(segment.path))
    assert [each.offset for each in found if each] == offsets
    for number, (each, body) in enumerate(zip(found, bodies, strict=True)):
        assert each is not None
        again = each.entry(1)
        expected = entry(body, number)
        assert (again.signal, again.client, again.at, again.size) == (
            expected.signal,
            expected.client,
            expected.at,
            expected.size,
        )
        assert segment.read(each.offset) == body


@settings(max_examples=150)
@given(BODIES.filter(len), st.data())
def test_a_broken_byte_costs_only_its_own_record(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes], data: st.DataObject
) -> None:
    segment, offsets = written(tmp_path_factory.mktemp("files"), bodies)
    content = bytearray(segment.path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    segment.path.write_bytes(content)
    hit = max(index for index, offset in enumerate(offsets) if offset <= at)
    readable = {each.offset: segment.read(each.offset) for each in found_in(segment.path) if each}
    for index, offset in enumerate(offsets):
        if index != hit:
            assert readable[offset] == bodies[index]
        else:
            padding = at - offset >= HEADER_SIZE - 8 and at - offset < HEADER_SIZE
            assert readable.get(offset) is None or padding
    assert set(readable) <= set(offsets) or b"\xf1TcQ" in bodies[hit]


@given(BODIES.filter(len), st.data())
def test_a_torn_end_costs_only_what_is_torn(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes], data: st.DataObject
) -> None:
    segment, offsets = written(tmp_path_factory.mktemp("files"), bodies)
    content = segment.path.read_bytes()
    end = data.draw(st.integers(0, len(content)))
    segment.path.write_bytes(content[:end])
    whole = [offset for offset, body in zip(offsets, bodies, strict=True) if offset + HEADER_SIZE + len(body) <= end]
    assert [each.offset for each in found_in(segment.path) if each] == whole
    opened = Segment.opened(segment.path)
    assert opened.waiting == len(whole)
    assert sum(each is None for each in found_in(segment.path)) == (end not in (0, *_ends(offsets, bodies)))


def _ends(offsets: list[int], bodies: list[bytes]) -> list[int]:
    return [offset + HEADER_SIZE + len(body) for offset, body in zip(offsets, bodies, strict=True)]


def test_what_is_done_with_is_not_counted_and_a_torn_mark_costs_only_itself(tmp_path: Path) -> None:
    segment, offsets = written(tmp_path, [b"a", b"bb", b"ccc", b"dddd"])
    segment.mark(offsets[:2])
    segment.done_path.write_bytes(segment.done_path.read_bytes()[:-3])
    opened = Segment.opened(segment.path)
    assert opened.done == {offsets[0]}
    opened.mark([offsets[3]])
    again = Segment.opened(segment.path)
    assert again.done == {offsets[0], offsets[3]}
    assert (again.waiting, again.waiting_bytes) == (2, 5)


def test_noise_in_place_of_a_file_has_nothing_in_it(tmp_path: Path) -> None:
    draw = random.Random(5)
    path = tmp_path / "000000000001.requests"
    path.write_bytes(draw.randbytes(300_000) + b"\xf1TcQ" * 1000 + draw.randbytes(1_200_000))
    assert list(found_in(path)) == [None]
    assert Segment.opened(path).waiting == 0


def test_bytes_without_a_resource_are_of_client_zero() -> None:
    for data in (b"", b"\x0a", b"\x0a\x00", b"\x0a\x02\x0a\x00", b"\x12\x00", b"\xff" * 30, b"\x0a\x05\x0a\x7f"):
        assert client_of(data) == 0
    assert client_of(b"\x0a\x04\x0a\x02ab") == client_of(b"\x10\x05\x0a\x06\x12\x00\x0a\x02ab") != 0
