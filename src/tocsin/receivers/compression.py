"""Compressed bodies, opened in steps of bounded size: a bomb costs no more than the limit that stops it."""

import zlib
from collections.abc import Callable, Iterator
from typing import Final

import zstandard

from tocsin.errors import DecodeError

__all__ = ["DECOMPRESSORS", "STEP"]

STEP: Final = 1024 * 1024
"""The most bytes that one step yields: about a millisecond of work."""
_SLICE = 64 * 1024  # zlib copies the input it has not read, so it is fed little at a time
_ZSTD_WINDOW = 8 * 1024 * 1024  # what a decoder must support and need not exceed: RFC 9659
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_ZSTD_BLOCKS = 1_000_000  # 64 MiB in blocks of 64 bytes; encoders write blocks of up to 128 KiB


def _gunzip(body: bytes) -> Iterator[bytes]:
    return _inflate(body, zlib.MAX_WBITS | 16, "gzip")


def _open_deflate(body: bytes) -> Iterator[bytes]:
    # RFC 9110 means zlib's format; some senders write bare deflate. Two bytes tell which (RFC 1950, 2.2).
    is_zlib = len(body) >= 2 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    return _inflate(body, zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS, "deflate")


def _inflate(body: bytes, window: int, name: str) -> Iterator[bytes]:
    opened = zlib.decompressobj(window)
    try:
        for start in range(0, len(body), _SLICE):
            left = body[start : start + _SLICE]
            while left:
                if opened.eof:  # gzip members and zlib streams may follow each other
                    opened = zlib.decompressobj(window)
                yield opened.decompress(left, STEP)
                left = opened.unused_data if opened.eof else opened.unconsumed_tail
        while not opened.eof and (rest := opened.decompress(b"", STEP)):
            yield rest
    except zlib.error as error:
        raise DecodeError(f"the body is not {name}, though Content-Encoding says so: {error}") from error
    if not opened.eof:
        raise DecodeError(f"the {name} body ends before its end mark")


def _open_zstd(body: bytes) -> Iterator[bytes]:
    try:
        _check_zstd_frames(body)
        with zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(
            body, read_across_frames=True
        ) as reader:
            while step := reader.read(STEP):
                yield step
    except zstandard.ZstdError as error:
        raise DecodeError(f"the body is not zstd, though Content-Encoding says so: {error}") from error


def _check_zstd_frames(body: bytes) -> None:
    """Walk the block headers, as the stream reader takes a truncated frame for the end (RFC 8878, 3.1.1)."""
    at = blocks = 0
    while at < len(body):
        magic = int.from_bytes(body[at : at + 4], "little")
        if magic in _ZSTD_SKIPPABLE:
            at += 8 + int.from_bytes(body[at + 4 : at + 8], "little")
            continue
        if body[at : at + 4] != _ZSTD_MAGIC:
            raise DecodeError("the body is not zstd, though Content-Encoding says so: a frame has no magic number")
        header = body[at : at + 18]
        has_checksum = zstandard.get_frame_parameters(header).has_checksum
        at += zstandard.frame_header_size(header)
        last = False
        while not last:
            block = int.from_bytes(body[at : at + 3], "little")
            at += 3 + (1 if block >> 1 & 3 == 1 else block >> 3)  # a run's size is that of its output
            last = bool(block & 1)
            blocks += 1
            if at > len(body):
                raise DecodeError("the zstd body ends within a block")
            if blocks > _ZSTD_BLOCKS:
                raise DecodeError(f"the zstd body has more than {_ZSTD_BLOCKS} blocks")
        at += 4 if has_checksum else 0
    if at > len(body) or not body:
        raise DecodeError("the zstd body ends within a frame")


DECOMPRESSORS: Final[dict[str, Callable[[bytes], Iterator[bytes]]]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _open_deflate,
    "zstd": _open_zstd,
}
"""Content-Encoding to what yields the body in steps of at most `STEP` bytes, or raises DecodeError."""
