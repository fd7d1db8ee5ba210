"""What translating JSON takes is known before it is begun, so that it can be refused."""

import subprocess
import sys

import pytest

from tocsin.decode.json import translation_size

_SIZE = 6 * 1024 * 1024
_SPAN = (
    b'{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"chat","kind":3,'
    b'"startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000001000000000","attributes":['
    b'{"key":"gen_ai.usage.input_tokens","value":{"intValue":1200}},'
    b'{"key":"gen_ai.request.model","value":{"stringValue":"gpt-4o"}}]}'
)


def repeated(before: bytes, unit: bytes, after: bytes) -> bytes:
    return before + b",".join([unit] * (_SIZE // (len(unit) + 1))) + after


_SPANS = b'{"resourceSpans":[{"scopeSpans":[{"spans":['
SHAPES = {
    "spans": lambda: repeated(_SPANS, _SPAN, b"]}]}]}"),
    "empty spans": lambda: repeated(_SPANS, b"{}", b"]}]}]}"),
    "empty attributes": lambda: repeated(_SPANS + b'{"attributes":[', b"{}", b"]}]}]}]}"),
    "empty resources": lambda: repeated(b'{"resourceSpans":[', b"{}", b"]}"),
    "empty values": lambda: repeated(
        _SPANS + b'{"attributes":[{"value":{"arrayValue":{"values":[', b"{}", b"]}}}]}]}]}]}"
    ),
    "unknown numbers": lambda: repeated(b'{"x":[', b"1", b"]}"),
    "unknown fractions": lambda: repeated(b'{"x":[', b"1.5", b"]}"),
    "unknown arrays": lambda: repeated(b'{"x":[', b"[]", b"]}"),
    "unknown pairs of arrays": lambda: repeated(b'{"x":[', b"[1,2]", b"]}"),
    "unknown objects": lambda: repeated(b'{"x":[', b'{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6}', b"]}"),
    "distinct keys": lambda: b'{"x":{' + b",".join(b'"%d":1' % n for n in range(_SIZE // 10)) + b"}}",
    "objects of one key": lambda: repeated(b'{"x":[', b'{"":1}', b"]}"),
    "short texts": lambda: repeated(b'{"x":[', '"é"'.encode(), b"]}"),
    "a long text": lambda: _SPANS + b'{"name":"' + b"x" * _SIZE + b'"}]}]}]}',
    "a long text beyond Latin-1": lambda: _SPANS + b'{"name":"' + "😀".encode() + b"x" * _SIZE + b'"}]}]}]}',
}

PROGRAM = """
import sys
from pathlib import Path
from tocsin.decode.json import traces_from_json

def peak():
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024

data = sys.stdin.buffer.read()
traces_from_json(b"{}")
Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
before = peak()
traces_from_json(data)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("name", SHAPES)
def test_translating_takes_no_more_memory_than_was_foreseen(name: str) -> None:
    data = SHAPES[name]()
    done = subprocess.run([sys.executable, "-c", PROGRAM], input=data, capture_output=True, check=True)  # noqa: S603
    taken = int(done.stdout)
    assert taken <= translation_size(data) + 4 * 1024 * 1024  # the allocator's own


def test_spans_as_exporters_write_them_are_not_overestimated_much() -> None:
    data = SHAPES["spans"]()
    assert translation_size(data) < 16 * len(data)
