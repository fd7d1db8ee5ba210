"""Decompression in bounded steps, against the libraries' own one-shot compressors."""

import contextlib
import gzip
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.errors import DecodeError
from tocsin.receivers.compression import DECOMPRESSORS, STEP

PACKERS: dict[str, list[Callable[[bytes], bytes]]] = {
    "gzip": [gzip.compress, lambda data: gzip.compress(data, 0)],
    "deflate": [zlib.compress, lambda data: zlib.compress(data, wbits=-zlib.MAX_WBITS)],
    "zstd": [
        zstandard.compress,
        zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compress,
        zstandard.ZstdCompressor(level=19).compress,
    ],
}
packings = st.sampled_from([(name, pack) for name, packers in PACKERS.items() for pack in packers])
contents = st.one_of(
    st.binary(max_size=2000),
    st.builds(lambda unit, size: (unit * size)[:size], st.binary(min_size=1, max_size=9), st.integers(0, 3 * STEP)),
    st.builds(bytes, st.sampled_from([STEP - 1, STEP, STEP + 1, 2 * STEP, 5 * STEP])),
)


def opened(name: str, body: bytes) -> bytes:
    parts = list(DECOMPRESSORS[name](body))
    assert all(len(part) <= STEP for part in parts)
    return b"".join(parts)


@settings(max_examples=150, deadline=None)
@given(packings, contents)
def test_what_was_packed_comes_out_in_bounded_steps(packing: tuple[str, Callable[[bytes], bytes]], data: bytes) -> None:
    name, pack = packing
    assert opened(name, pack(data)) == data


@settings(max_examples=150, deadline=None)
@given(packings, contents, st.floats(0, 1, exclude_max=True))
def test_a_truncated_body_is_malformed_wherever_it_ends(
    packing: tuple[str, Callable[[bytes], bytes]], data: bytes, kept: float
) -> None:
    name, pack = packing
    packed = pack(data)
    with pytest.raises(DecodeError):
        opened(name, packed[: int(len(packed) * kept)])


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(DECOMPRESSORS)),
    st.sampled_from([b"", b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd", b"\x78\x9c", b"\x50\x2a\x4d\x18"]),
    st.binary(max_size=200),
)
def test_any_bytes_either_open_or_are_malformed(name: str, start: bytes, rest: bytes) -> None:
    with contextlib.suppress(DecodeError):
        opened(name, start + rest)


def test_a_frame_of_endless_tiny_blocks_is_refused_early() -> None:
    frame = bytearray(b"\x28\xb5\x2f\xfd\x00\x58")  # no content size, a window of 2 MiB
    frame += b"\x0a\x00\x00x" * 1_100_000  # runs of one byte, none of them the last
    with pytest.raises(DecodeError, match="more than 1000000 blocks"):
        opened("zstd", bytes(frame))


def test_a_window_that_would_need_much_memory_is_refused() -> None:
    packer = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=26, write_content_size=False)
    ).compressobj()
    packed = packer.compress(bytes(1000)) + packer.flush()
    with pytest.raises(DecodeError, match="zstd"):
        opened("zstd", packed)
