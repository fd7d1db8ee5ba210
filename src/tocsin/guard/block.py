"""What a block is, and what happens to one. Free of clocks, files and sockets."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

__all__ = ["Action", "Block", "BlockChange", "BlockStore", "Kept", "Key", "Past", "Told", "change_id"]

Key: TypeAlias = tuple[str, str]
"""(label, value), like ("conversation", "conv-42")."""


class Action(StrEnum):
    """What happened to a block."""

    BLOCKED = "blocked"
    EXTENDED = "extended"
    """It was blocked already, and ends later now or was blocked for one more reason."""
    UNBLOCKED = "unblocked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Block:
    """One key that is blocked. Times are the wall clock's, Unix nanoseconds."""

    id: str
    """`blk_` and 32 hex digits; the same until the key is free again."""
    label: str
    value: str
    reason: str
    by: str
    """Who: `rule default/runaway`, or the name of a token."""
    created: int
    until: int
    """It ends by itself then."""
    project: str | None = None
    """Of the rules that blocked it; None where a person or rules of several projects did."""
    rule: str | None = None
    alert_id: str | None = None

    @property
    def key(self) -> Key:
        """Label and value."""
        return self.label, self.value


@dataclass(frozen=True, slots=True)
class BlockChange:
    """A line of the history."""

    id: str
    """`chg_` and 32 hex digits: the same for the same event's block in any process."""
    action: Action
    block: Block
    """As it is now, or as it was when it ended."""
    at: int
    by: str
    reason: str
    project: str | None = None
    rule: str | None = None
    alert_id: str | None = None
    """Of what caused the change; of an end: of the block that ended."""


@dataclass(frozen=True, slots=True)
class Past:
    """What of an earlier change must be known, so that what was decided then is not decided again."""

    id: str
    action: Action
    label: str
    alert_id: str | None


@dataclass(frozen=True, slots=True)
class Kept:
    """What a former process left."""

    blocks: Sequence[Block]
    """The oldest first."""
    past: Sequence[Past]
    """The oldest first."""
    version: int = 0
    """Of the last change that they are right for."""


@dataclass(frozen=True, slots=True)
class Told:
    """A change as the store has it, whoever made it."""

    version: int
    """Higher than that of each change before."""
    id: str
    action: Action
    label: str
    value: str
    block_id: str
    alert_id: str | None
    block: Block | None
    """Of its key, as the store has it now; None: the key is free."""

    @property
    def key(self) -> Key:
        """Label and value; of a block that ended, as a database can hold them."""
        return (self.label, self.value) if self.block is None else self.block.key


class BlockStore(Protocol):
    """Where blocks and their history survive a restart."""

    def block_changed(self, change: BlockChange) -> None:
        """Keep a change, in order; the same again changes nothing. Never blocks, never raises."""
        ...

    async def kept_blocks(self) -> Kept:
        """Return what is kept.

        Raises:
            OverloadedError: the store can't be used at present.
        """
        ...

    @property
    def shared(self) -> bool:
        """Whether other processes may change blocks too."""
        ...

    async def blocks_after(self, version: int) -> Sequence[Told]:
        """Return the changes after a version, anybody's, in order; not always all of them at once.

        Raises:
            OverloadedError: the store can't be used at present.
        """
        ...

    async def settled(self) -> None:
        """Return once everything that was given before is safe."""
        ...


def change_id(event_id: str, label: str) -> str:
    """Return the id of the block of a label that an event causes: found again, it is the same one."""
    return "chg_" + hashlib.blake2b(f"{event_id}:{label}".encode(), digest_size=16).hexdigest()
