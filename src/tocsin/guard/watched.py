"""What a guard knows to be blocked: written by the thread that follows, read by any.

Dictionaries are replaced or changed by single operations that Python makes whole, so that readers take no lock.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Literal

from tocsin.guard import guard_pb2

__all__ = ["Known", "Watched"]

_LATEST = 253_402_300_799
"""The end of the year 9999, Unix seconds."""


@dataclass(frozen=True, slots=True)
class Known:
    """A block, as the service told of it."""

    label: str
    value: str
    reason: str
    rule: str
    alert_id: str
    until: datetime
    ends: float
    """The same on the clock of `time.monotonic`: the service's clock and ours need not agree."""


class Watched:
    """The set."""

    def __init__(self) -> None:
        self.known = threading.Event()
        """Set once a whole set was taken."""
        self.via: Literal["grpc", "http"] | None = None
        """How the service was heard last."""
        self.begun = monotonic()
        """When its owner began to connect."""
        self._heard = float("-inf")
        self._blocks: dict[tuple[str, str], Known] = {}
        self._coming: dict[tuple[str, str], Known] | None = None
        """A new set, of which not all is here yet."""
        self._position = ("", 0)

    @property
    def position(self) -> tuple[str, int]:
        """Instance and version that the set is right for."""
        return self._position

    def find(self, labels: Mapping[str, str | None]) -> Known | None:
        """Return the block of the first of these that is blocked."""
        blocks = self._blocks
        for label, value in labels.items():
            if value is not None:
                known = blocks.get((label, str(value)))
                if known is not None and known.ends > monotonic():
                    return known
        return None

    def is_fresh(self, seconds: float) -> bool:
        """Whether the service was heard that lately, and a whole set is here."""
        return self.known.is_set() and monotonic() - self._heard <= seconds

    def begin(self) -> None:
        """A stream begins: half a set of the one before is of no use."""
        self._coming = None

    def take(self, answer: guard_pb2.WatchResponse, via: Literal["grpc", "http"] = "grpc") -> None:
        """Take what the service told, one way or the other."""
        if answer.reset:
            self._coming = {}
        target = self._blocks if self._coming is None else self._coming
        for key in answer.removed:
            target.pop((key.label, key.value), None)
        for block in answer.blocked:
            target[block.label, block.value] = _known(block, answer.now_unix_nano)
        if answer.complete:
            if self._coming is not None:
                self._blocks, self._coming = self._coming, None
            self._position = (answer.instance, answer.version)
            self._heard = monotonic()
            self.via = via
            self.known.set()


def _known(block: guard_pb2.Block, now: int) -> Known:
    return Known(
        block.label,
        block.value,
        block.reason,
        block.rule,
        block.alert_id,
        datetime.fromtimestamp(min(block.until_unix_nano // 1_000_000_000, _LATEST), UTC),
        monotonic() + (block.until_unix_nano - now) / 1e9,
    )
