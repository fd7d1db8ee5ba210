"""What is blocked now, in memory: decided by alerts and people, kept by a store, told to whoever follows.

One key has one block. Blocked again it ends at the later of the two ends, and shows who set that one; the history has
them all. A check is one look into a dictionary for each label, and never finds a block whose end has passed, whether
its end was noted yet or not.

What an event of an alert blocks has an id that is a function of the event, and its end counts from when the event was
detected. So an event that is found again after a crash blocks nothing that it blocked before.
"""

import asyncio
import heapq
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Final

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.errors import OverloadedError
from tocsin.guard.block import Action, Block, BlockChange, BlockStore, Kept, Key, Told, change_id
from tocsin.guard.feed import Feed
from tocsin.guard.others import Others
from tocsin.rules.rule import BlockAction
from tocsin.telemetry import guard as telemetry

__all__ = ["Blocks"]

_PAST: Final = 200_000
"""Changes whose ids are known, so that they are not made again; the journal is replayed for far fewer."""
_LOOK_SECONDS: Final = 0.25
_RETRY_SECONDS: Final = 2.0
SHARED_SECONDS: Final = 0.5
"""How soon what another process did is known here."""


class Blocks:
    """The keys that are blocked. One event loop owns it."""

    def __init__(
        self, store: BlockStore, *, limit: int = 100_000, clock: Callable[[], int] = time.time_ns, history: int = 4096
    ) -> None:
        """Make it; `load` takes what a former process left.

        Args:
            store: keeps every change.
            limit: keys that are blocked at once.
            clock: the wall clock, Unix nanoseconds.
            history: changes that a watcher may be behind before it is given everything anew.
        """
        self._store = store
        self._limit = limit
        self._clock = clock
        self._blocks: dict[Key, Block] = {}
        self._keys: dict[str, Key] = {}
        """Id -> key."""
        self._ends: list[tuple[int, Key]] = []
        """A heap; holds ends that are no longer so, too."""
        self._past: set[str] = set()
        self._past_order: deque[str] = deque()
        self._lifted: dict[tuple[str, str], None] = {}
        """(alert, label) of alerts whose block a person lifted: their reminders block no more."""
        self._early: dict[Key, str] = {}
        """What was blocked before what is kept could be read, by which change."""
        self._others = Others()
        self._version = 0
        """Of the last change in the store that is known here."""
        self.loaded = False
        self.feed = Feed(history)
        """What watchers follow."""

    def __len__(self) -> int:
        """Return how many keys are blocked, ends that were not noted yet included."""
        return len(self._blocks)

    @property
    def now(self) -> int:
        """The clock that ends are held against, Unix nanoseconds."""
        return self._clock()

    def check(self, labels: Mapping[str, str]) -> Block | None:
        """Return the block of the first of these labels that is blocked now."""
        for key in labels.items():
            block = self._blocks.get(key)
            if block is not None and block.until > self._clock():
                return block
        return None

    def find(self, block_id: str) -> Block | None:
        """Return a block by its id, while it lasts."""
        key = self._keys.get(block_id)
        return None if key is None else self.check(dict((key,)))

    def latest_first(self) -> Iterator[Block]:
        """Give all blocks that last; nothing may change meanwhile."""
        now = self._clock()
        return (block for block in reversed(self._blocks.values()) if block.until > now)

    # What changes it

    def act(self, event: AlertEvent) -> None:
        """Do what the actions of an event's rule ask for; never raises. A rule on trial does nothing."""
        if event.rule.shadow or event.transition not in (Transition.FIRING, Transition.REMINDER):
            return
        for action in event.rule.actions:
            value = event.group.get(action.label)
            if value:
                self._act(event, action, value)

    def block(self, label: str, value: str, *, until: int, by: str, reason: str) -> Block:
        """Block a key because somebody said so; return its block, which may end later than asked.

        Raises:
            OverloadedError: too many keys are blocked.
        """
        asked = Block(_new_id("blk"), label, value, reason, by, self._clock(), until)
        block = self._put(asked, _new_id("chg"))
        if block is None:
            raise OverloadedError(
                f"{self._limit} keys are blocked already; lift some, or raise guard.max_blocks", reason="blocks"
            )
        return block

    def unblock(self, block: Block, *, by: str, reason: str) -> Block | None:
        """Lift a block; return it as it was, or None where it is no longer there."""
        present = self._blocks.get(block.key)
        if present is None or present.id != block.id or present.until <= self._clock():
            return None
        if present.alert_id is not None:
            self._lift(present.alert_id, present.label)
        self._end(present, Action.UNBLOCKED, by=by, reason=reason)
        return present

    def expire(self) -> None:
        """Note the ends that have passed."""
        now = self._clock()
        while self._ends and self._ends[0][0] <= now:
            _, key = heapq.heappop(self._ends)
            block = self._blocks.get(key)
            if block is not None and block.until <= now:
                self._end(block, Action.EXPIRED, by="clock", reason="its time was over")

    # Its life

    def load(self, kept: Kept) -> None:
        """Take what a former process left; at once or, where the store was down, later."""
        for past in kept.past:
            self._remember(past.id)
            if past.action is Action.UNBLOCKED and past.alert_id is not None:
                self._lift(past.alert_id, past.label)
        before = {past.id for past in kept.past}
        owed = {block.key for block in kept.blocks}
        for key, change in self._early.items():
            block = self._blocks.get(key)
            if block is not None and change in before and key not in owed:
                self._end(block, Action.UNBLOCKED, by="restart", reason="it had ended before the restart")
        self._early.clear()
        for block in kept.blocks:
            present = self._blocks.get(block.key)
            if present is None or present.until < block.until:
                self._set(block)
        self._version = kept.version
        self.loaded = True
        telemetry.blocks_loaded(number=len(kept.blocks))
        self.expire()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Blocks"]:
        """Load what is kept, then note ends while the block runs; a store that is down is asked again and again."""
        await self._try_to_load()
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._look_after(), name="blocks")]
            if self._store.shared:
                running.append(tasks.create_task(self._listen(), name="blocks of others"))
            try:
                yield self
            finally:
                for task in running:
                    task.cancel()

    async def _look_after(self) -> None:
        due = time.monotonic() + _RETRY_SECONDS
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.expire()
            if not self.loaded and time.monotonic() >= due:
                await self._try_to_load()
                due = time.monotonic() + _RETRY_SECONDS

    async def _listen(self) -> None:
        while True:
            await asyncio.sleep(SHARED_SECONDS)
            # That the store can't be used, it says itself.
            with suppress(OverloadedError):
                await self.catch_up()

    async def catch_up(self) -> None:
        """Take what other processes did.

        Raises:
            OverloadedError: the store can't be used at present.
        """
        while self.loaded and (told := await self._store.blocks_after(self._version)):
            self._version = told[-1].version
            for change in told:
                if change.alert_id is not None:
                    self._remember(change.id)
                    if change.action is Action.UNBLOCKED:
                        self._lift(change.alert_id, change.label)
            for change in self._others.settled(told):
                self._adopt(change)

    async def _try_to_load(self) -> None:
        try:
            kept = await self._store.kept_blocks()
        except OverloadedError as error:
            telemetry.blocks_not_loaded(reason=str(error))
        else:
            self.load(kept)

    # Inside

    def _act(self, event: AlertEvent, action: BlockAction, value: str) -> None:
        change = change_id(event.id, action.label)
        until = event.detected_at + action.ttl_ns
        if change in self._past or until <= self._clock():
            return
        if event.transition is Transition.REMINDER and (event.alert_id, action.label) in self._lifted:
            return
        project, name = event.rule.key
        asked = Block(
            _new_id("blk"),
            action.label,
            value,
            f"value {event.evidence.value:.6g}, threshold {event.threshold:g} {event.rule.unit}".rstrip(),
            f"rule {project}/{name}",
            self._clock(),
            until,
            project,
            name,
            event.alert_id,
        )
        if self._put(asked, change) is not None and not self.loaded:
            self._early[asked.key] = change

    def _put(self, asked: Block, change: str) -> Block | None:
        """Block a key, or extend its block; return the block, or None where too many are."""
        self.expire()
        present = self._blocks.get(asked.key)
        if present is None and len(self._blocks) >= self._limit:
            telemetry.block_refused(limit=self._limit, by=asked.by)
            return None
        block = asked if present is None else _joined(present, asked)
        action = Action.BLOCKED if present is None else Action.EXTENDED
        self._remember(change)
        self._set(block)
        self._keep(
            BlockChange(
                change,
                action,
                block,
                self._clock(),
                asked.by,
                asked.reason,
                asked.project,
                asked.rule,
                asked.alert_id,
            )
        )
        telemetry.blocked(action=action.value, label=block.label, by=asked.by, reason=asked.reason)
        return block

    def _adopt(self, change: Told) -> None:
        """Have a key as the store has it."""
        key = self._keys.get(change.block_id, change.key) if change.block is None else change.block.key
        present = self._blocks.get(key)
        if change.block is not None and change.block.until > self._clock():
            if present != change.block:
                if present is not None:
                    self._keys.pop(present.id, None)
                self._set(change.block)
                telemetry.told_by_others(action=change.action.value)
        elif present is not None:
            self._drop(present)
            telemetry.told_by_others(action=change.action.value)

    def _set(self, block: Block) -> None:
        self._blocks[block.key] = block
        self._keys[block.id] = block.key
        heapq.heappush(self._ends, (block.until, block.key))
        self.feed.put(block.key, block)
        telemetry.keys_blocked(number=len(self._blocks))

    def _end(self, block: Block, action: Action, *, by: str, reason: str) -> None:
        self._drop(block)
        # Every process that shares the store notes an end that has passed: one line of the history is enough.
        change = change_id(block.id, f"ended {block.until}") if action is Action.EXPIRED else _new_id("chg")
        self._keep(
            BlockChange(change, action, block, self._clock(), by, reason, block.project, block.rule, block.alert_id)
        )
        telemetry.block_ended(action=action.value, label=block.label, by=by)

    def _drop(self, block: Block) -> None:
        del self._blocks[block.key]
        self._keys.pop(block.id, None)
        self.feed.put(block.key, None)
        telemetry.keys_blocked(number=len(self._blocks))

    def _keep(self, change: BlockChange) -> None:
        if self._store.shared:
            self._others.made(change)
        self._store.block_changed(change)

    def _lift(self, alert_id: str, label: str) -> None:
        self._lifted[alert_id, label] = None
        if len(self._lifted) > _PAST:
            del self._lifted[next(iter(self._lifted))]

    def _remember(self, change: str) -> None:
        if change in self._past:
            return
        self._past.add(change)
        self._past_order.append(change)
        if len(self._past_order) > _PAST:
            self._past.discard(self._past_order.popleft())


def _joined(present: Block, asked: Block) -> Block:
    """Return the block of a key that is blocked once more: the later end, and who set it."""
    later = asked if asked.until > present.until else present
    # A block that is not of one project alone belongs to none of them: who may only see one can't lift it.
    project = present.project if present.project == asked.project else None
    return replace(later, id=present.id, created=present.created, project=project)


def _new_id(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex}"
