"""What is done with the queue's files in its threads: everything here blocks, and touches no state of the loop."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tocsin.forward.entry import Entry, Place
from tocsin.forward.segment import HEADER_SIZE, Segment, encoded, found_in
from tocsin.telemetry import forward as telemetry

__all__ = ["Listing", "append", "counted", "left", "read_on", "reason_of", "sync"]


@dataclass(frozen=True, slots=True)
class Listing:
    """Some of what waits on disk."""

    entries: Sequence[Entry]
    """In order, their bytes still on disk."""
    broken: int
    """Places that hold no record any more."""
    next: Place
    """Where to read on."""


def left(directory: Path) -> list[Segment]:
    """Return the files that a former process left, not yet read; make the directory if there is none.

    Raises:
        OSError: it can't be made or read.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for stray in directory.glob("*.done"):
        if not stray.with_suffix(".requests").exists():
            stray.unlink()
    paths = sorted(path for path in directory.glob("*.requests") if path.stem.isdecimal())
    return [Segment(int(path.stem), directory, path.stat().st_size) for path in paths]


def counted(segments: Sequence[Segment]) -> list[Segment]:
    """Return the same files with what waits in them counted, but for those that can't be read."""
    found = []
    for segment in segments:
        try:
            found.append(Segment.opened(segment.path))
        except OSError as error:
            telemetry.queue_file_unreadable(name=segment.path.name, reason=reason_of(error))
    return found


def append(segment: Segment, entries: Sequence[Entry], *, sync: bool) -> list[int]:
    """Write entries, which have their data; return their offsets.

    Raises:
        OSError: none of them is written.
    """
    segment.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return segment.append([encoded(entry, entry.data or b"") for entry in entries], sync=sync)


def sync(segments: Sequence[Segment]) -> None:
    """Make the disk keep these files.

    Raises:
        OSError: it does not.
    """
    for segment in segments:
        with contextlib.suppress(FileNotFoundError):  # everything in it was sent
            segment.sync()


def read_on(ends: Sequence[tuple[Segment, int]], begin: int, room: int) -> Listing:
    """List up to `room` records that are not done with, the first of them at `begin` in the first file."""
    entries: list[Entry] = []
    broken = 0
    place = Place(0, 0)
    for segment, end in ends:
        place = Place(segment.number, begin)
        try:
            for found in found_in(segment.path, begin, end) if begin < end else ():
                if found is None:
                    broken += 1
                    continue
                if len(entries) >= room:
                    return Listing(entries, broken, Place(segment.number, found.offset))
                place = Place(segment.number, found.offset + HEADER_SIZE + found.size)
                if found.offset not in segment.done:
                    entries.append(found.entry(segment.number))
        except FileNotFoundError:
            pass  # all of it was sent, or it was dropped
        place = Place(segment.number, end)
        begin = 0
    return Listing(entries, broken, place)


def reason_of(error: BaseException) -> str:
    """Return why a job failed, in words without a path."""
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else type(error).__name__
