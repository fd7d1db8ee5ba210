"""Silences: for a while, nobody is told of what their matchers find. Times in Unix nanoseconds, of the wall clock."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tocsin.notify.routing.matchers import Matchers, matches

__all__ = ["Silence", "SilenceState", "Silences", "new_silence_id"]

MOST_ACTIVE: Final = 10_000
"""Silences that are pending or active at once."""


class SilenceState(StrEnum):
    """Where a silence stands, as in Alertmanager."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Silence:
    """Nobody is told of an alert for which all matchers hold, from `starts_at` until before `ends_at`."""

    id: str
    matchers: Matchers
    starts_at: int
    ends_at: int
    comment: str
    created_by: str
    created_at: int
    updated_at: int
    ended_by: str = ""
    """Who ended it before its time."""
    told: bool = False
    """Whether its end was told to whom it kept things from."""

    def state(self, now: int) -> SilenceState:
        """Return where it stands."""
        if now >= self.ends_at:
            return SilenceState.EXPIRED
        return SilenceState.PENDING if now < self.starts_at else SilenceState.ACTIVE

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Whether its matchers hold, whatever the time."""
        return bool(self.matchers) and matches(self.matchers, labels)

    @property
    def version(self) -> str:
        """A text that changes with it: its entity tag."""
        return f"{self.updated_at:x}"


class Silences:
    """Those that are pending or active, and those whose end is not told yet."""

    def __init__(self) -> None:
        self._all: dict[str, Silence] = {}

    def __len__(self) -> int:
        return len(self._all)

    def replace(self, silences: Iterable[Silence]) -> None:
        """Take these in place of all."""
        self._all = {one.id: one for one in silences}

    def put(self, silence: Silence) -> None:
        """Add or change one."""
        self._all[silence.id] = silence

    def drop(self, silence_id: str) -> None:
        """Forget one whose end was told."""
        self._all.pop(silence_id, None)

    def matching(self, labels: Mapping[str, str], now: int) -> tuple[str, ...]:
        """Return the ids of active silences that cover an alert."""
        return tuple(
            one.id for one in self._all.values() if one.state(now) is SilenceState.ACTIVE and one.covers(labels)
        )

    def ended(self, now: int) -> tuple[Silence, ...]:
        """Return those that are over and whose end is not told."""
        return tuple(one for one in self._all.values() if one.state(now) is SilenceState.EXPIRED and not one.told)


def new_silence_id() -> str:
    """Return an id that was never used."""
    return f"sil_{secrets.token_hex(16)}"
