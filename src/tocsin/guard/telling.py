"""What a watcher is told next, whichever way it came: everything, or what changed since the version that it knows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from tocsin.guard.block import Block, Key
from tocsin.guard.blocks import Blocks

__all__ = ["Part", "told_since"]

_PART: Final = 2_000
"""Blocks in one message: some hundred kilobytes."""
_PART_BYTES: Final = 1024 * 1024


@dataclass(slots=True)
class Part:
    """One message; see `WatchResponse` in proto/tocsin/v1/guard.proto."""

    instance: str
    version: int
    now: int
    reset: bool = False
    complete: bool = False
    removed: list[Key] = field(default_factory=list)
    blocked: list[Block] = field(default_factory=list)


def told_since(blocks: Blocks, version: int) -> list[Part]:
    """Return messages of a bounded size, of which the last is complete; without changes it is a sign of life.

    A whole set is copied first: what changes between two parts comes as changes, after it.
    """
    changes = blocks.feed.since(version)
    if changes is not None:
        return list(_parts(blocks, changes))
    parts = list(_parts(blocks, [(block.key, block) for block in list(blocks.latest_first())]))
    parts[0].reset = True
    return parts


def _parts(blocks: Blocks, changes: Iterable[tuple[Key, Block | None]]) -> Iterator[Part]:
    feed, now = blocks.feed, blocks.now
    part = Part(feed.instance, feed.version, now)
    number = size = 0
    for (label, value), block in dict(changes).items():
        if number >= _PART or size >= _PART_BYTES:
            yield part
            part = Part(feed.instance, feed.version, now)
            number = size = 0
        if block is None:
            part.removed.append((label, value))
        else:
            part.blocked.append(block)
        number += 1
        size += len(label) + len(value) + (200 if block is None else 400 + len(block.reason))
    part.complete = True
    yield part
