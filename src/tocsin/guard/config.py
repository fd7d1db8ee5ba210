"""What a user writes under `guard:`."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from tocsin.model.settings import Duration, Settings

__all__ = ["GuardConfig"]

_HEADER = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,100}")
_LONGEST_LABEL = 128


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, label in headers.items():
        if not _HEADER.fullmatch(name.lower()):
            raise ValueError(f"{name[:80]!r} is no name of a header; write one like x-conversation-id")
        if not 0 < len(label) <= _LONGEST_LABEL:
            raise ValueError(f"the label of header {name!r} has 1 to {_LONGEST_LABEL} characters, like conversation")
    return {name.lower(): label for name, label in headers.items()}


def _heartbeat(interval: timedelta) -> timedelta:
    if not timedelta(milliseconds=100) <= interval <= timedelta(minutes=1):
        raise ValueError("is no sensible interval of signs of life; choose from 100ms to 1m")
    return interval


class GuardConfig(Settings):
    """The kill switch."""

    max_blocks: int = Field(default=100_000, ge=1, le=10_000_000)
    """Keys that are blocked at once; past it nothing more is blocked, which is counted and said."""
    max_watchers: int = Field(default=1_000, ge=1, le=100_000)
    """Applications that follow what is blocked; one more is refused."""
    heartbeat: Annotated[Duration, AfterValidator(_heartbeat)] = timedelta(seconds=2)
    """So often a watcher hears from us where nothing changes."""
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(
        default_factory=lambda: {"x-conversation-id": "conversation", "x-tenant-id": "tenant"}
    )
    """Which header of a request holds which label, for a proxy that asks `/api/v1/blocks/authorize`."""
