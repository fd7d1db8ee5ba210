"""Holds the two decoders against each other on bytes that nobody should send.

`python tests/fuzz.py --seconds 600 [--seed N]`. Requests from the recorded payloads and from generators are mutated,
mostly along their structure (a field is dropped, doubled, moved, renumbered, given another wire type or length), at
times without regard to it. Both decoders must refuse the result, or accept it with equal columns. A difference, a
panic or any other exception saves the case under `tests/decode/found/` and ends the run with 1.
"""

import argparse
import contextlib
import random
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from agreement import assert_same
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as with_seed
from strategies import PREFIX_PROJECTION, PROJECTION, export_logs, export_requests
from wire_writer import group, overlong, tag, varint

from tocsin.decode import reference, wire

__all__ = ["Fuzzer", "main"]

_TESTS = Path(__file__).parent
_FOUND = _TESTS / "decode" / "found"
_BIGGEST = 20_000
"""Bytes of a payload that is used as a seed: small cases are tried more often, and break as well."""


def main(arguments: list[str] | None = None) -> int:
    """Fuzz for a time; return 1 where the decoders disagreed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    fuzzer = Fuzzer(seed)
    _say(f"seed {seed}, {len(fuzzer.corpus)} requests to start from")
    failure = fuzzer.run(options.seconds)
    _say(", ".join(f"{name} {count}" for name, count in sorted(fuzzer.counts.items())))
    if failure is not None:
        _say(f"the decoders disagree; saved as {failure}")
    return 0 if failure is None else 1


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Fuzzer:
    """Mutates requests, and compares what both decoders make of them."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self.corpus = [*_recorded(), *_generated(seed)]
        self.counts: Counter[str] = Counter()
        self._decoders = [
            (wire.Decoder(projection), reference.Decoder(projection)) for projection in (PROJECTION, PREFIX_PROJECTION)
        ]

    def run(self, seconds: float) -> Path | None:
        """Try cases until the time is over; return where the first failure was saved."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            signal, requests = self._case()
            try:
                self._compare(signal, requests)
            except BaseException as error:  # a Rust panic is no Exception
                if isinstance(error, KeyboardInterrupt):
                    raise
                _say(f"{type(error).__name__}: {str(error)[:2000]}")
                return _saved(signal, requests)
        return None

    def _case(self) -> tuple[str, list[bytes]]:
        signal, data = self._draw.choice(self.corpus)
        count = self._draw.choice((1, 1, 1, 3))
        requests = [self._mutated(data) for _ in range(count)]
        if count > 1:
            requests.insert(self._draw.randrange(3), data)
        return signal, requests

    def _compare(self, signal: str, requests: list[bytes]) -> None:
        decoders = self._draw.choice(self._decoders)
        left, right = (getattr(decoder, signal)(requests) for decoder in decoders)
        assert_same(left, right)
        self.counts["cases"] += 1
        self.counts["accepted requests"] += sum(error is None for error in left.errors)
        self.counts["refused requests"] += sum(error is not None for error in left.errors)
        self.counts["rows"] += len(left.columns)

    def _mutated(self, data: bytes) -> bytes:
        for _ in range(self._draw.choice((1, 1, 1, 2, 3, 6))):
            data = self._bent(data) if self._draw.random() < 0.75 else self._broken(data)
        return data

    def _broken(self, data: bytes) -> bytes:
        """Change bytes without regard to what they mean."""
        draw = self._draw
        if not data:
            return draw.randbytes(draw.randrange(8))
        at = draw.randrange(len(data))
        match draw.randrange(6):
            case 0:
                return data[:at]
            case 1:
                return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
            case 2:
                return data[:at] + draw.randbytes(draw.randrange(1, 5)) + data[at:]
            case 3:
                return data[:at] + data[at + draw.randrange(1, 9) :]
            case 4:
                _, other = draw.choice(self.corpus)
                begin = draw.randrange(len(other) + 1)
                return data[:at] + other[begin : begin + draw.randrange(200)] + data[at:]
            case _:
                return data[:at] + bytes([draw.choice((0, 1, 0x7F, 0x80, 0xFF))]) + data[at + 1 :]

    def _bent(self, data: bytes, depth: int = 0) -> bytes:
        """Change a field somewhere in the tree of messages; lengths around it stay right."""
        draw = self._draw
        fields = _fields_of(data)
        if not fields:
            return self._broken(data)
        at = draw.randrange(len(fields))
        number, wire_type, payload = fields[at]
        if wire_type == 2 and depth < 7 and payload and draw.random() < 0.8:
            fields[at] = (number, 2, self._bent(payload, depth + 1))
            return _written(fields)
        encoded = [_written([field]) for field in fields]
        self._bend_field(fields[at], encoded, at)
        return b"".join(encoded)

    def _bend_field(self, field: tuple[int, int, bytes], encoded: list[bytes], at: int) -> None:
        draw = self._draw
        number, wire_type, payload = field
        match draw.randrange(11):
            case 0:
                encoded[at] = b""
            case 1:
                encoded.insert(draw.randrange(len(encoded) + 1), encoded[at])
            case 2:
                draw.shuffle(encoded)
            case 3:
                other = draw.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 16, 2**29 - 1, 2**29))
                encoded[at] = _field(other, wire_type, payload)
            case 4:
                encoded[at] = tag(number, draw.randrange(8)) + encoded[at][1:]
            case 5:
                length = max(0, len(payload) + draw.choice((-2, -1, 1, 2, 2**31, 2**32, 2**63)))
                encoded[at] = tag(number, 2) + varint(length) + payload
            case 6:
                encoded[at] = overlong(number << 3 | wire_type, draw.randrange(2, 12)) + encoded[at][1:]
            case 7:
                head = overlong(len(payload), draw.randrange(2, 12)) if wire_type == 2 else b""
                encoded[at] = tag(number, wire_type) + head + payload
            case 8:
                encoded.insert(at, self._group())
            case 9:
                encoded[at] = tag(number, 0) + draw.choice(_VARINTS)
            case _:
                encoded[at] = _field(number, wire_type, self._broken(payload))

    def _group(self) -> bytes:
        draw = self._draw
        inner = draw.choice((b"", tag(0, 0) + b"\x01", tag(9, 2) + b"\x00", tag(3, 4), b"\x0f"))
        for _ in range(draw.choice((1, 1, 2, 94, 95, 96, 97, 98, 99, 100, 101))):
            inner = group(draw.choice((1, 2, 9, 100)), inner)
        return inner if draw.random() < 0.8 else inner[: draw.randrange(len(inner))]


_VARINTS = (
    b"\x00", b"\x01", b"\x05", b"\x06", b"\xff" * 9 + b"\x01", b"\xff" * 9 + b"\x7f", b"\xff" * 10 + b"\x01",
    b"\x83\x80\x80\x80\x10", b"\x80" * 9 + b"\x00", b"\x80" * 9 + b"\x02", b"\x80\x80\x80\x80\x10",
)  # fmt: skip


def _field(number: int, wire_type: int, payload: bytes) -> bytes:
    return tag(number, wire_type) + (varint(len(payload)) if wire_type == 2 else b"") + payload


def _written(fields: list[tuple[int, int, bytes]]) -> bytes:
    return b"".join(_field(*field) for field in fields)


def _fields_of(data: bytes) -> list[tuple[int, int, bytes]]:
    """Return (number, wire type, payload) of each field; nothing where `data` is no message."""
    fields = []
    at = 0
    with contextlib.suppress(IndexError, struct.error):
        while at < len(data):
            key, at = _varint_at(data, at)
            begin = at
            match key & 7:
                case 0:
                    _, at = _varint_at(data, at)
                case 1:
                    at += 8
                case 2:
                    length, begin = _varint_at(data, at)
                    at = begin + length
                case 5:
                    at += 4
                case _:
                    return []
            if at > len(data):
                return []
            fields.append((key >> 3, key & 7, data[begin:at]))
        return fields
    return []


def _varint_at(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(10):
        value |= (data[at + index] & 0x7F) << 7 * index
        if data[at + index] < 0x80:
            return value, at + index + 1
    raise IndexError


def _recorded() -> list[tuple[str, bytes]]:
    found = []
    for path in sorted((_TESTS / "payloads").glob("*.pb")):
        data = path.read_bytes()
        if len(data) <= _BIGGEST:
            found.append((path.suffixes[-2][1:], data))
    return found


def _generated(seed: int) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []

    def collect(signal: str) -> Callable[..., None]:
        return lambda message: found.append((signal, message.SerializeToString()))

    quiet = settings(
        max_examples=60, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        derandomize=True, deadline=None,
    )  # fmt: skip
    for signal, messages in (("traces", export_requests()), ("logs", export_logs())):
        with_seed(seed)(quiet(given(messages)(collect(signal))))()
    return found


def _saved(signal: str, requests: list[bytes]) -> Path:
    directory = _FOUND / f"{signal}-{int(time.time())}"
    directory.mkdir(parents=True, exist_ok=True)
    for index, request in enumerate(requests):
        (directory / f"{index}.{signal}.pb").write_bytes(request)
    return directory


if __name__ == "__main__":
    sys.exit(main())
