"""Damage to the end of a write-ahead log of SQLite, as a power loss or a bad disk leaves it.

Source: sqlite.org/fileformat2.html, "The Write-Ahead Log".
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random

__all__ = ["garble", "newest_log", "tear"]

_HEADER, _FRAME = 32, 24


def newest_log(directory: Path) -> Path | None:
    """Return the write-ahead log of the journal that was written last and holds a commit; None where there is none."""
    logs = [path for path in directory.rglob("journal*-wal") if any(True for _ in _frames(path.read_bytes()))]
    return max(logs, key=lambda path: path.stat().st_mtime_ns, default=None)


def tear(path: Path, random: Random) -> str:
    """Damage the last frame: cut the file inside it, or flip a byte of it; return what was done."""
    data = path.read_bytes()
    *_, (begin, end) = _frames(data)
    at = random.randrange(begin, end)
    if random.random() < 0.5:
        path.write_bytes(data[:at])
        return "cut inside the last frame"
    path.write_bytes(data[:at] + bytes([data[at] ^ random.randrange(1, 256)]) + data[at + 1 :])
    return "a byte of the last frame flipped"


def garble(path: Path, random: Random) -> str:
    """Put the beginning of a frame that was never finished behind the last one; return what was done."""
    data = path.read_bytes()
    *_, (begin, end) = _frames(data)
    unfinished = data[begin : begin + random.randrange(1, end - begin)]
    path.write_bytes(data[:end] + unfinished)
    return "an unfinished frame behind the last one"


def _frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the bounds of the frames that belong to the log's present round."""
    if len(data) < _HEADER:
        return
    page = struct.unpack_from(">I", data, 8)[0]
    salts = data[16:24]
    begin = _HEADER
    while begin + _FRAME + page <= len(data) and data[begin + 8 : begin + 16] == salts:
        yield begin, begin + _FRAME + page
        begin += _FRAME + page
