"""Pages of long lists: a cursor is where the page before ended, so that what comes in meanwhile moves nothing."""

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

import orjson
from fastapi import HTTPException, Query
from pydantic import AwareDatetime

__all__ = ["Cursor", "Limit", "Moment", "cursor_of", "nanoseconds_of", "position_of"]

_LONGEST: Final = 1024
Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=_LONGEST, description="The `next_cursor` of the page before.")]
Moment = Annotated[AwareDatetime | None, Query(description="RFC 3339, like 2026-01-06T03:14:10Z.")]


def cursor_of(*position: int | str) -> str:
    """Return the cursor for the page after a position."""
    return base64.urlsafe_b64encode(orjson.dumps(position)).decode().rstrip("=")


def position_of(cursor: str | None, *kinds: type) -> Sequence[int | str] | None:
    """Return the position behind a cursor, of values of these kinds; None for None.

    Raises:
        HTTPException: it is no cursor of ours.
    """
    if cursor is None:
        return None
    try:
        found = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        found = None
    if not isinstance(found, list) or [type(value) for value in found] != list(kinds):
        raise HTTPException(422, "cursor: not one that this API gave; leave it out to begin at the first page")
    if any(isinstance(value, int) and abs(value) >= 2**63 for value in found):
        raise HTTPException(422, "cursor: not one that this API gave; leave it out to begin at the first page")
    return tuple(found)


def nanoseconds_of(moment: datetime | None) -> int | None:
    """Return Unix nanoseconds, exact to the microsecond."""
    if moment is None:
        return None
    seconds = int(moment.replace(microsecond=0).timestamp())
    return seconds * 1_000_000_000 + moment.microsecond * 1_000
