"""The database of a running service: the outbox's `Store`, the history's recorder, and what the API reads.

`async with` is its lifetime. Inside, a task writes behind, and another looks after it: it takes over deliveries that
were sent again or that another process left, and deletes what is old. Should the database be down, both go on trying.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.errors import ConfigError, OverloadedError
from tocsin.guard.block import BlockChange, Kept, Told
from tocsin.model.settings import nanoseconds
from tocsin.notify.history import AttemptRecord, Outcome
from tocsin.notify.routing.decision import Decision
from tocsin.notify.store import Follower, Unfinished
from tocsin.storage import queries
from tocsin.storage.blocks import blocks_after, kept_blocks
from tocsin.storage.changes import Accepted, Attempted, Change, Decided, Finished, Recorded, written
from tocsin.storage.config import StorageConfig
from tocsin.storage.engines import FILE, engine_of, is_corrupt, move_aside, prepare_directory, reason_of
from tocsin.storage.health import Health
from tocsin.storage.ledger import Ledger
from tocsin.storage.retention import delete_before
from tocsin.storage.schema import NewerSchemaError, migrate
from tocsin.storage.writer import QUEUE_LIMIT, Writer
from tocsin.telemetry import storage as telemetry

__all__ = ["Database"]

T = TypeVar("T")
START_SECONDS: Final = 10.0
"""So long a start waits for a database that can't be reached; then the service runs without, and tries on."""
CLOSE_SECONDS: Final = 10.0
"""For what is not written when the service ends."""
_TRANSACTION_SECONDS: Final = 60.0
_STUCK_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 5.0
_LOOKS_PER_CLEANING: Final = 720
_OPERATORS_FAULTS: Final = ("28", "3D", "42")
"""SQLSTATE classes: not authorized, no such database, no privilege."""
_FAILURES: Final = (SQLAlchemyError, OSError, TimeoutError)


class Database:
    """A durable `notify.store.Store`, and more. One event loop owns it; the constructor opens nothing."""

    durable = True

    def __init__(self, config: StorageConfig, *, queue_limit: int = QUEUE_LIMIT) -> None:
        """Make it; `async with` opens it.

        Args:
            config: where it is, and how long things are kept.
            queue_limit: changes that may wait in memory.
        """
        self._config = config
        self._alone = config.url is None
        self._owner = "local"
        self._engine: AsyncEngine | None = None
        self._health = Health()
        self._writer = Writer(self._commit, self._health, limit=queue_limit)
        self._ledger = Ledger()
        self._left: dict[str, list[Unfinished]] = {}
        self._followers: dict[str, Follower] = {}
        self._begun = False
        self._tasks: list[asyncio.Task[None]] = []
        self._look = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Open.

        Raises:
            ConfigError: the operator has to do something; what can mend itself is waited for, and then gone without.
        """
        await asyncio.to_thread(prepare_directory, self._config)
        if not self._alone:
            self._owner = await asyncio.to_thread(_instance, self._config.directory)
        self._engine = engine_of(self._config)
        try:
            await self._start()
        except BaseException:
            await self._engine.dispose()
            raise
        self._tasks = [
            asyncio.create_task(self._writer.run(), name="storage writer"),
            asyncio.create_task(self._look_after(), name="storage upkeep"),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what waits, for a while, and close."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._writer.settled()
        except TimeoutError:
            telemetry.storage_unwritten(writes=len(self._writer))
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._engine is not None:
                with suppress(*_FAILURES):
                    await self._engine.dispose()

    # What the history needs

    def record(self, event: AlertEvent) -> None:
        """Keep a change of an alert; the same event again changes nothing. Never blocks, never raises."""
        if event.transition is not Transition.TEST:
            self._writer.put(Recorded(event))

    def decided(self, decision: Decision) -> None:
        """Keep what routing made of an event. Never blocks, never raises.

        To be called after `Outbox.publish`, so that nothing is decided that is not owed.
        """
        self._writer.put(Decided(decision))

    async def settled(self) -> None:
        """Return once everything that was given before is committed; waits as long as the database is down."""
        await self._writer.settled()

    @property
    def degraded(self) -> str | None:
        """Why the database can't be used at present; None while it can."""
        stuck = self._writer.stuck_for
        if self._health.reason is None and stuck > _STUCK_SECONDS:
            return f"a transaction has not ended for {stuck:.0f} s"
        return self._health.reason

    @property
    def unwritten(self) -> int:
        """How many changes are not yet in the database."""
        return len(self._writer)

    # What blocks need: `guard.block.BlockStore`

    def block_changed(self, change: BlockChange) -> None:
        """See `BlockStore.block_changed`."""
        self._writer.put(change)

    async def kept_blocks(self) -> Kept:
        """See `BlockStore.kept_blocks`."""
        async with self.connection() as connection:
            if not self._begun:
                raise OverloadedError("the database is not up to date yet", reason="storage", retry_after=5.0)
            return await kept_blocks(connection)

    @property
    def shared(self) -> bool:
        """See `BlockStore.shared`: a file has one process."""
        return not self._alone

    async def blocks_after(self, version: int) -> Sequence[Told]:
        """See `BlockStore.blocks_after`."""
        async with self.connection() as connection:
            return await blocks_after(connection, version)

    # What the outbox needs: `notify.store.Store`

    def accepted(self, contact_point: str, event: AlertEvent, published_ns: int) -> bool:
        """See `Store.accepted`."""
        if not self._ledger.accept(contact_point, event.id, published_ns):
            return False
        self._writer.put(Accepted(contact_point, event, published_ns, self._owner))
        return True

    def attempted(self, event: AlertEvent, record: AttemptRecord) -> None:
        """See `Store.attempted`."""
        self._writer.put(Attempted(event.id, record))

    def finished(self, contact_point: str, event: AlertEvent, outcome: Outcome, text: str) -> None:
        """See `Store.finished`."""
        self._ledger.finish(contact_point, event.id)
        self._writer.put(Finished(contact_point, event.id, outcome, text, time.time_ns()))

    def unfinished(self, contact_point: str) -> Sequence[Unfinished]:
        """See `Store.unfinished`; given once."""
        left = self._left.pop(contact_point, [])
        return [one for one in left if self._ledger.owes(contact_point, one.event.id)]

    def told(self, contact_point: str) -> Sequence[str]:
        """See `Store.told`."""
        return self._ledger.told.get(contact_point, ())

    def follow(self, contact_point: str, follower: Follower | None) -> None:
        """See `Store.follow`."""
        if follower is None:
            self._followers.pop(contact_point, None)
        else:
            self._followers[contact_point] = follower

    def more(self, contact_point: str, after_ns: int, limit: int) -> None:
        """See `Store.more`."""

        async def ask() -> None:
            left, rows = await self._transaction(
                lambda connection: queries.owed_after(connection, contact_point, after_ns, limit, self._owner)
            )
            follower = self._followers.get(contact_point)
            if follower is not None:
                # What ended since it was read is not started again.
                owed = [one.left for one in left if self._ledger.owes(contact_point, one.left.event.id)]
                follower.refill(owed, complete=rows < limit)

        self._writer.put(ask)

    def keep(self, contact_points: Collection[str]) -> None:
        """See `Store.keep`."""
        kept = frozenset(contact_points)
        at = time.time_ns()
        self._ledger.finish_others(kept)
        for name in [name for name in self._left if name not in kept]:
            del self._left[name]

        async def drop() -> None:
            dropped = await self._transaction(lambda connection: queries.drop_others(connection, kept, self._owner, at))
            if dropped:
                await self._count_dead()

        self._writer.put(drop)

    async def resend(self, contact_point: str | None, event_id: str | None) -> bool:
        """See `Store.resend`; None stands for all contact points, or all events."""
        at = time.time_ns()
        async with self._reading():
            reopened = await self._transaction(
                lambda connection: queries.reopen(connection, contact_point, event_id, at)
            )
            await self._count_dead()
        self._look.set()
        return reopened > 0

    # What the API reads

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read with.

        Raises:
            OverloadedError: the database can't be used at present.
        """
        async with self._reading(), self._ready().connect() as connection:
            await connection.execution_options(reads=True)
            yield connection

    async def change(self, act: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run `act` in a transaction of its own, past what waits, and return what it returns.

        Raises:
            OverloadedError: the database can't be used at present.
        """
        async with self._reading():
            return await self._transaction(act)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_TRANSACTION_SECONDS):
                yield
        except _FAILURES as error:
            raise OverloadedError(
                f"the database can't be used at present ({reason_of(error)}); try again later",
                reason="storage",
                retry_after=5.0,
            ) from error

    # Inside

    async def _start(self) -> None:
        """Begin, or go on without after a while."""
        deadline = time.monotonic() + START_SECONDS
        pause = 0.1
        while True:
            try:
                await self._begin()
            except NewerSchemaError as error:
                raise ConfigError(f"storage: the database can't be used: {error}") from error
            except _FAILURES as error:
                if self._is_for_operator(error):
                    raise ConfigError(
                        f"storage.url: the database can't be used ({reason_of(error)}); check user, password, the "
                        f"database's name, and that the user may make tables in it"
                    ) from error
                self._health.failed(error)
                if time.monotonic() + pause > deadline:
                    return
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)
            else:
                self._health.worked()
                return

    def _is_for_operator(self, error: BaseException) -> bool:
        cause = getattr(error, "orig", None) or error
        state = str(getattr(cause.__cause__ or cause, "sqlstate", None) or "")
        return not self._alone and state[:2] in _OPERATORS_FAULTS

    async def _begin(self) -> None:
        """Bring the tables up to date and load what is known."""
        try:
            await self._load()
        except _FAILURES as error:
            if not (self._alone and is_corrupt(error)):
                raise
            await self._begin_anew(error)
            await self._load()
        self._begun = True

    async def _load(self) -> None:
        engine = self._ready()
        await migrate(engine)
        now = time.time_ns()
        async with engine.begin() as connection:
            taken = await queries.claim(connection, self._owner, alone=self._alone)
            self._ledger.load(await queries.known(connection, now, self._owner))
            self._ledger.told = await queries.told(connection, now)
            left = {}
            for name in await queries.points_owed(connection):
                owed, _ = await queries.owed_after(connection, name, -1, queries.AT_ONCE, self._owner)
                left[name] = [one.left for one in owed]
        if taken and not self._alone:
            telemetry.storage_takeover(deliveries=taken)
        self._left = {}
        for name, owed_to in left.items():
            self._give(name, owed_to)
        await self._count_dead()

    def _give(self, contact_point: str, left: list[Unfinished]) -> None:
        follower = self._followers.get(contact_point)
        if follower is None:
            self._left.setdefault(contact_point, []).extend(left)
        elif left:
            follower.adopt(left)

    async def _begin_anew(self, error: BaseException) -> None:
        """Move a corrupt file aside."""
        await self._ready().dispose()
        target = await asyncio.to_thread(move_aside, self._config.directory / FILE)
        telemetry.storage_corrupt(moved_to=str(target), reason=reason_of(error))
        await asyncio.to_thread(prepare_directory, self._config)
        self._engine = engine_of(self._config)

    async def _commit(self, changes: Sequence[Change]) -> None:
        await self._transaction(lambda connection: written(connection, changes))
        if any(isinstance(one, Finished) and one.outcome in (Outcome.FAILED, Outcome.DROPPED) for one in changes):
            await self._count_dead()

    async def _transaction(self, act: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        if not self._begun:
            await self._begin()
        try:
            # SQLite's thread can't be interrupted: `degraded` tells of one that hangs.
            async with asyncio.timeout(None if self._alone else _TRANSACTION_SECONDS):
                async with self._ready().begin() as connection:
                    return await act(connection)
        except _FAILURES as error:
            if self._alone and is_corrupt(error):
                self._begun = False
            raise

    async def _count_dead(self) -> None:
        async with self._ready().connect() as connection:
            await connection.execution_options(reads=True)
            telemetry.dead_letters_counted(letters=await queries.count_dead(connection))

    async def _look_after(self) -> None:
        looks = 0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._look.wait()
            self._look.clear()
            try:
                await self._take_over()
                if looks % _LOOKS_PER_CLEANING == 1:
                    await self.delete_old()
                looks += 1
            except Exception as error:  # noqa: BLE001  # whatever a driver raises, upkeep goes on
                self._health.failed(error)
            else:
                if self._writer.stuck_for < 1.0:
                    self._health.worked()

    async def _take_over(self) -> None:
        while True:
            owed = await self._transaction(
                lambda connection: queries.claim_left(connection, self._owner, alone=self._alone)
            )
            by_point: dict[str, list[Unfinished]] = {}
            for one in owed:
                if self._ledger.reopen(one.contact_point, one.left.event.id, one.left.published_ns):
                    by_point.setdefault(one.contact_point, []).append(one.left)
            for name, left in by_point.items():
                self._give(name, left)
            if owed:
                telemetry.storage_takeover(deliveries=len(owed))
            if len(owed) < queries.AT_ONCE:
                return

    async def delete_old(self) -> int:
        """Delete what is older than the retention; return how many rows."""
        cutoff = time.time_ns() - nanoseconds(self._config.retention)
        deleted = await delete_before(cutoff, self._transaction)
        if deleted:
            telemetry.expired_rows_deleted(rows=deleted)
            await self._count_dead()
        return deleted

    def _ready(self) -> AsyncEngine:
        if self._engine is None:
            raise RuntimeError("the database is not open; use it inside `async with`")
        return self._engine


def _instance(directory: Path) -> str:
    """Return this installation's name among the processes that share a database; kept, so that a restart is known."""
    path = directory / "instance"
    with suppress(FileNotFoundError):
        found = path.read_text(encoding="ascii", errors="replace").strip()
        if found.isalnum():
            return found
    made = uuid.uuid4().hex
    path.write_text(made + "\n", encoding="ascii")
    return made
