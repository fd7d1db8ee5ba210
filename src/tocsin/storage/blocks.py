"""Blocks and their history in the database: rows to write behind, and what is read of them."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sqlalchemy import Select, delete, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin.guard.block import Action, Block, BlockChange, Kept, Past, Told
from tocsin.storage.tables import BLOCK_CHANGES, BLOCKS, COUNTERS, clean, label_digest
from tocsin.telemetry import storage as telemetry

__all__ = ["BlockRows", "PastChange", "block_history", "blocks_after", "kept_blocks"]

_MOST_PAST: Final = 200_000
_MOST_BLOCKS: Final = 10_000_000
_AT_ONCE: Final = 2_000
_COUNTER: Final = "blocks"
_INSERT: Final[Mapping[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PastChange:
    """A line of the history, as it is shown. Times are the wall clock's, Unix nanoseconds."""

    id: str
    action: Action
    block_id: str
    label: str
    value: str
    at: int
    until: int
    by: str
    reason: str
    project: str | None
    rule: str | None
    alert_id: str | None


@dataclass(slots=True)
class BlockRows:
    """The rows of a group of changes."""

    present: dict[str, Row | None] = field(default_factory=dict)
    """By key's digest: the block that it has at the end of the group, or None."""
    ends: dict[str, int] = field(default_factory=dict)
    """Of those that ended by themselves, when their blocks were made: another process may have made a new one since."""
    changes: list[Row] = field(default_factory=list)

    def add(self, change: BlockChange) -> None:
        """Take one more change, later than those before."""
        block = change.block
        digest = label_digest(block.label, block.value)
        ended = change.action in (Action.UNBLOCKED, Action.EXPIRED)
        # Taken out first, so that the order of rows is that of their last changes.
        self.present.pop(digest, None)
        self.ends.pop(digest, None)
        if change.action is Action.EXPIRED:
            self.ends[digest] = block.created
        self.present[digest] = None if ended else {"digest": digest, "created": block.created, "document": _dump(block)}
        self.changes.append(
            {
                "id": change.id,
                "action": change.action.value,
                "digest": digest,
                "block_id": block.id,
                "label": clean(block.label),
                "value": clean(block.value),
                "at": change.at,
                "until": block.until,
                "who": clean(change.by),
                "reason": clean(change.reason),
                "project": None if change.project is None else clean(change.project),
                "rule": None if change.rule is None else clean(change.rule),
                "alert_id": change.alert_id,
            }
        )

    async def write(self, connection: AsyncConnection) -> None:
        """Write them within the connection's transaction; again, it changes nothing."""
        if not self.changes:
            return
        insert = _INSERT[connection.dialect.name]
        await self._number(connection)
        await connection.execute(insert(BLOCK_CHANGES).on_conflict_do_nothing(), self.changes)
        gone = sorted(digest for digest, row in self.present.items() if row is None and digest not in self.ends)
        rows = [row for _, row in sorted(self.present.items()) if row is not None]
        if gone:
            await connection.execute(delete(BLOCKS).where(BLOCKS.c.digest.in_(gone)))
        if self.ends:
            ended = tuple_(BLOCKS.c.digest, BLOCKS.c.created).in_(sorted(self.ends.items()))
            await connection.execute(delete(BLOCKS).where(ended))
        if rows:
            upsert = insert(BLOCKS)
            new = {"created": upsert.excluded.created, "document": upsert.excluded.document}
            await connection.execute(upsert.on_conflict_do_update(index_elements=[BLOCKS.c.digest], set_=new), rows)

    async def _number(self, connection: AsyncConnection) -> None:
        """Give the changes their versions; until this transaction ends nobody else gives any."""
        counted = (
            update(COUNTERS).where(COUNTERS.c.name == _COUNTER).values(number=COUNTERS.c.number + len(self.changes))
        )
        last = (await connection.execute(counted.returning(COUNTERS.c.number))).scalar_one()
        for version, row in enumerate(self.changes, last - len(self.changes) + 1):
            row["version"] = version


async def kept_blocks(connection: AsyncConnection) -> Kept:
    """Return what is blocked and what must be known of the past; what can't be read is said and left out."""
    # Before the blocks: what is changed in between is read once more later, and changes nothing then.
    version = await _version(connection)
    rows = await connection.execute(
        select(BLOCKS.c.digest, BLOCKS.c.document).order_by(BLOCKS.c.created).limit(_MOST_BLOCKS)
    )
    blocks = [block for row in rows if (block := _read(row.digest, row.document)) is not None]
    columns = (BLOCK_CHANGES.c.id, BLOCK_CHANGES.c.action, BLOCK_CHANGES.c.label, BLOCK_CHANGES.c.alert_id)
    known = await connection.execute(
        select(*columns)
        .where(BLOCK_CHANGES.c.alert_id.is_not(None))
        .order_by(BLOCK_CHANGES.c.at.desc(), BLOCK_CHANGES.c.id.desc())
        .limit(_MOST_PAST)
    )
    past = [Past(row.id, Action(row.action), row.label, row.alert_id) for row in known]
    return Kept(blocks, past[::-1], version)


async def blocks_after(connection: AsyncConnection, version: int) -> list[Told]:
    """Return the changes after a version, in order, with what their keys' blocks are now; at most some thousand."""
    if await _version(connection) <= version:  # nearly always, and one row
        return []
    changes = select(BLOCK_CHANGES, BLOCKS.c.document).outerjoin(BLOCKS, BLOCKS.c.digest == BLOCK_CHANGES.c.digest)
    rows = await connection.execute(
        changes.where(BLOCK_CHANGES.c.version > version).order_by(BLOCK_CHANGES.c.version).limit(_AT_ONCE)
    )
    return [
        Told(
            version=row.version,
            id=row.id,
            action=Action(row.action),
            label=row.label,
            value=row.value,
            block_id=row.block_id,
            alert_id=row.alert_id,
            block=None if row.document is None else _read(row.digest, row.document),
        )
        for row in rows
    ]


async def _version(connection: AsyncConnection) -> int:
    found = await connection.execute(select(COUNTERS.c.number).where(COUNTERS.c.name == _COUNTER))
    return found.scalar_one()


def _read(digest: str, document: bytes) -> Block | None:
    try:
        return _load(document)
    except (ValueError, TypeError, KeyError) as error:
        telemetry.storage_document_unreadable(event_id=digest, reason=type(error).__name__)
        return None


async def block_history(
    connection: AsyncConnection,
    *,
    limit: int,
    label: str | None = None,
    value: str | None = None,
    projects: Collection[str] | None = None,
    after: tuple[int, str] | None = None,
) -> list[PastChange]:
    """Return what happened, the latest first, past the (at, id) of the page before.

    Args:
        connection: to read with.
        limit: at most so many.
        label: of keys with this label; None: any.
        value: likewise.
        projects: only what rules of these did; None: everything.
        after: of the last one of the page before.
    """
    key = (BLOCK_CHANGES.c.at, BLOCK_CHANGES.c.id)
    query: Select[Any] = select(BLOCK_CHANGES)
    if label is not None and value is not None:
        query = query.where(BLOCK_CHANGES.c.digest == label_digest(label, value))
    elif label is not None:
        query = query.where(BLOCK_CHANGES.c.label == clean(label))
    elif value is not None:
        query = query.where(BLOCK_CHANGES.c.value == clean(value))
    if projects is not None:
        query = query.where(BLOCK_CHANGES.c.project.in_([clean(project) for project in projects]))
    if after is not None:
        query = query.where(tuple_(*key) < after)
    rows = await connection.execute(query.order_by(*(column.desc() for column in key)).limit(limit))
    return [_past(row._mapping) for row in rows]


def _past(row: Mapping[str, Any]) -> PastChange:
    return PastChange(
        id=row["id"],
        action=Action(row["action"]),
        block_id=row["block_id"],
        label=row["label"],
        value=row["value"],
        at=row["at"],
        until=row["until"],
        by=row["who"],
        reason=row["reason"],
        project=row["project"],
        rule=row["rule"],
        alert_id=row["alert_id"],
    )


def _dump(block: Block) -> bytes:
    # ASCII: keys are compared exactly after a restart too, whatever a database can't hold as text.
    return json.dumps(asdict(block)).encode()


def _load(document: bytes) -> Block:
    return Block(**_checked(json.loads(document)))


def _checked(found: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, kinds in _FIELDS.items():
        if not isinstance(found[name], kinds):
            raise TypeError(name)
    return found


_FIELDS: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("id", "label", "value", "reason", "by"), (str,)),
    **dict.fromkeys(("created", "until"), (int,)),
    **dict.fromkeys(("project", "rule", "alert_id"), (str, type(None))),
}
