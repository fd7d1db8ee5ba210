"""The requests in a file: as the collector's file exporter writes them, or one request as a client sent it.

Told apart by content, never by name:

- JSON, one request a line (`format: json`); also one request over many lines;
- protobuf, each request after its length in 4 bytes, big-endian (`format: proto`), and the same with JSON or with
  each message compressed by itself (`compression: zstd` without native compression);
- one bare ExportTraceServiceRequest or ExportLogsServiceRequest;
- any of these within gzip or zstd.

Source: exporter/fileexporter of opentelemetry-collector-contrib.
"""

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import zstandard

from tocsin.decode.json import logs_from_json, traces_from_json
from tocsin.errors import DecodeError
from tocsin.receivers.intake import Signal
from tocsin.service.backtest.failures import BacktestError, InputProblems
from tocsin.service.backtest.wire import signal_of

__all__ = ["MOST_BYTES", "Message", "messages_of"]

MOST_BYTES: Final = 256 * 1024 * 1024
"""Of one request."""
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_BEGINS: Final = re.compile(rb"\s*(\xef\xbb\xbf)?\s*\{\s*(\"|\}|$)")
_KEY: Final = re.compile(rb'\s*\{\s*"(resourceSpans|resourceLogs|resourceMetrics)"')
_KEYS: Final = {"resourceSpans": Signal.TRACES, "resourceLogs": Signal.LOGS}
_PEEK: Final = 64
_WINDOW: Final = 128 * 1024 * 1024
_BROKEN: Final = (OSError, EOFError, zlib.error, zstandard.ZstdError)


@dataclass(frozen=True, slots=True)
class Message:
    """One request of a file."""

    place: str
    signal: Signal
    data: bytes
    """Protobuf."""


def messages_of(path: Path, problems: InputProblems, read: Callable[[int], None] | None = None) -> Iterator[Message]:
    """Yield the requests of a file in order; what can't be used is noted, and the rest goes on.

    Args:
        path: the file.
        problems: takes what could not be read.
        read: told how many bytes of the file were read so far.

    Raises:
        BacktestError: the file can't be opened.
    """
    try:
        raw = path.open("rb")
    except OSError as error:
        raise BacktestError(f"{path}: {error.strerror}; name files of OTLP requests with --input") from error
    with raw, closing(_opened(raw)) as stream:
        try:
            for message in _each(stream, path, problems):
                if read is not None:
                    read(raw.tell())
                yield message
        except _BROKEN as error:
            problems.add(str(path), f"ends in the middle, or is damaged ({error}); what came before it is used")


def _opened(raw: io.BufferedReader) -> io.BufferedReader:
    """Return the file's content, opened where it is compressed."""
    head = raw.read(4)
    raw.seek(0)
    if head.startswith(_GZIP):
        return io.BufferedReader(gzip.GzipFile(fileobj=raw))
    if head == _ZSTD:
        reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(raw, read_across_frames=True)
        return io.BufferedReader(reader)
    return raw


def _each(stream: io.BufferedReader, path: Path, problems: InputProblems) -> Iterator[Message]:
    head = stream.peek(_PEEK)[:_PEEK]
    if not head:
        problems.add(str(path), "is empty")
    elif _BEGINS.match(head):
        yield from _lines(stream, path, problems)
    elif head[0] == 0x0A:  # field 1 of a request; as a length it would be 160 MiB
        data = stream.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            problems.add(str(path), f"is one request of more than {MOST_BYTES >> 20} MiB; split it")
            return
        yield from _binary(data, str(path), problems)
    else:
        yield from _framed(stream, path, problems)


def _lines(stream: io.BufferedReader, path: Path, problems: InputProblems) -> Iterator[Message]:
    number = 0
    while line := stream.readline(MOST_BYTES):
        number += 1
        place = f"{path}:{number}"
        if len(line) == MOST_BYTES and not line.endswith(b"\n"):
            problems.add(place, f"the line is longer than {MOST_BYTES >> 20} MiB")
            while (rest := stream.readline(MOST_BYTES)) and not rest.endswith(b"\n"):
                pass
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
            if not _is_json(line):  # one request over many lines?
                whole = line + stream.peek(1)[:0] + _rest_of(stream)
                if _is_json(whole):
                    yield from _json(whole, str(path), problems)
                    return
                stream = io.BufferedReader(io.BytesIO(whole[len(line) :]))
        if line.strip():
            yield from _json(line, place, problems)


def _rest_of(stream: io.BufferedReader) -> bytes:
    rest = stream.read(MOST_BYTES)
    if stream.peek(1):
        raise OSError(f"its first line is no JSON, and it is longer than {MOST_BYTES >> 20} MiB")
    return rest


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def _json(data: bytes, place: str, problems: InputProblems) -> Iterator[Message]:
    found = _KEY.match(data)
    try:
        keys = [found[1].decode()] if found else _keys_of(data)
        for key in keys:
            signal = _KEYS.get(key)
            if signal is None:
                problems.skipped += 1
                continue
            translate = traces_from_json if signal is Signal.TRACES else logs_from_json
            yield Message(place, signal, translate(data))
    except DecodeError as error:
        problems.add(place, str(error))


def _keys_of(data: bytes) -> list[str]:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise DecodeError(f"not JSON: {error}") from error
    keys = [
        key for key in ("resourceSpans", "resourceLogs", "resourceMetrics") if isinstance(body, dict) and key in body
    ]
    if not keys and body != {}:
        raise DecodeError("no OTLP request: neither resourceSpans nor resourceLogs stands in it")
    return keys


def _framed(stream: io.BufferedReader, path: Path, problems: InputProblems) -> Iterator[Message]:
    number = 0
    while head := stream.read(4):
        number += 1
        place = f"{path}: message {number}"
        size = int.from_bytes(head, "big")
        if len(head) < 4 or size > MOST_BYTES:
            problems.add(
                place,
                "is no OTLP: expected are JSON lines, protobuf messages behind their length in 4 bytes (both as the "
                "collector's file exporter writes them), or one bare request",
            )
            return
        body = stream.read(size)
        if len(body) < size:
            problems.add(place, f"ends after {len(body)} of {size} bytes")
            return
        if body.startswith(_ZSTD):
            try:
                body = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj().decompress(body)
            except zstandard.ZstdError as error:
                problems.add(place, f"is not zstd, though it begins so: {error}")
                continue
        if _BEGINS.match(body[:_PEEK]):
            yield from _json(body, place, problems)
        elif body:
            yield from _binary(body, place, problems)


def _binary(data: bytes, place: str, problems: InputProblems) -> Iterator[Message]:
    try:
        signal = signal_of(data)
    except DecodeError as error:
        problems.add(place, str(error))
        return
    if signal is None:
        problems.skipped += 1
    else:
        yield Message(place, signal, data)
