"""Several processes on one store: what one blocks or lifts, the others know, and all agree in the end."""

import asyncio
import dataclasses
import itertools

import pytest
from event_samples import event_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.alerts.event import Transition
from tocsin.guard.block import Action, Block, BlockChange, Kept, Key, Told
from tocsin.guard.blocks import SHARED_SECONDS, Blocks
from tocsin.guard.others import LOST_SECONDS, Others
from tocsin.rules.rule import BlockAction
from tocsin.storage.blocks import block_history
from tocsin.storage.config import StorageConfig
from tocsin.storage.database import Database

SECOND = 1_000_000_000
AT = 1_767_669_250 * SECOND


class Common:
    """The database that all share."""

    def __init__(self) -> None:
        self.changes: dict[str, tuple[int, BlockChange]] = {}
        self.present: dict[Key, Block] = {}
        self._numbers = itertools.count(1)

    def commit(self, change: BlockChange) -> None:
        self.changes.setdefault(change.id, (next(self._numbers), change))
        key = change.block.key
        if change.action in (Action.BLOCKED, Action.EXTENDED):
            self.present[key] = change.block
        elif change.action is Action.UNBLOCKED:
            self.present.pop(key, None)
        elif key in self.present and self.present[key].created == change.block.created:
            del self.present[key]


class Process:
    """One of them: its writes wait until they are flushed."""

    shared = True

    def __init__(self, common: Common, clock: list[int]) -> None:
        self._common = common
        self.waiting: list[BlockChange] = []
        self.blocks = Blocks(self, clock=lambda: clock[0])
        self.blocks.load(Kept((), ()))

    def block_changed(self, change: BlockChange) -> None:
        self.waiting.append(change)

    async def kept_blocks(self) -> Kept:
        return Kept((), ())

    async def settled(self) -> None: ...

    async def blocks_after(self, version: int) -> list[Told]:
        found = [
            Told(
                number,
                one.id,
                one.action,
                one.block.label,
                one.block.value,
                one.block.id,
                one.alert_id,
                self._common.present.get(one.block.key),
            )
            for number, one in self._common.changes.values()
            if number > version
        ]
        return sorted(found, key=lambda told: told.version)[:3]

    def flush(self, most: int | None = None) -> None:
        done, self.waiting = self.waiting[:most], self.waiting[len(self.waiting[:most]) :]
        for change in done:
            self._common.commit(change)

    def known(self) -> dict[Key, int]:
        return {block.key: block.until for block in self.blocks.latest_first()}


steps = st.lists(
    st.tuples(
        st.sampled_from(["block", "lift", "flush", "one", "look", "wait"]),
        st.integers(0, 1),
        st.sampled_from([0, 0, 0, 1]),
    ),
    min_size=8,
    max_size=40,
)


@settings(max_examples=200)
@given(steps)
def test_whatever_happens_in_whatever_order_all_processes_agree_in_the_end(story: list[tuple[str, int, int]]) -> None:
    common, clock = Common(), [AT]
    processes = [Process(common, clock) for _ in range(2)]

    async def tell() -> None:
        for act, which, value in story:
            process = processes[which]
            key = ("conversation", f"conv-{value}")
            match act:
                case "block":
                    until = clock[0] + (value + 1) * 3 * SECOND
                    process.blocks.block(*key, until=until, by="ana", reason="x")
                case "lift" if (block := process.blocks.check(dict((key,)))) is not None:
                    process.blocks.unblock(block, by="ana", reason="y")
                case "flush":
                    process.flush()
                case "one":
                    process.flush(1)
                case "look":
                    await process.blocks.catch_up()
                case "wait":
                    clock[0] += SECOND
                    for one in processes:
                        one.blocks.expire()
                case _:
                    pass
        for _ in range(2):
            for process in processes:
                process.flush()
            for process in processes:
                await process.blocks.catch_up()

    asyncio.run(tell())
    in_store = {key: block.until for key, block in common.present.items() if block.until > clock[0]}
    for process in processes:
        assert process.known() == in_store


def test_an_end_that_has_passed_is_one_line_of_the_history_however_many_note_it() -> None:
    common, clock = Common(), [AT]
    one, two = Process(common, clock), Process(common, clock)
    one.blocks.block("conversation", "a", until=AT + SECOND, by="ana", reason="x")
    one.flush()
    asyncio.run(two.blocks.catch_up())
    clock[0] += SECOND
    for process in (one, two):
        process.blocks.expire()
        process.flush()
    assert [change.action for _, change in common.changes.values()] == [Action.BLOCKED, Action.EXPIRED]


def test_a_block_made_anew_elsewhere_outlives_the_end_of_the_one_before() -> None:
    common, clock = Common(), [AT]
    one, two = Process(common, clock), Process(common, clock)
    one.blocks.block("conversation", "a", until=AT + SECOND, by="ana", reason="x")
    one.flush()
    asyncio.run(two.blocks.catch_up())
    clock[0] += SECOND
    two.blocks.expire()
    one.blocks.block("conversation", "a", until=AT + 9 * SECOND, by="ana", reason="again")
    one.flush()
    two.flush()
    asyncio.run(two.blocks.catch_up())
    assert two.known() == one.known() == {("conversation", "a"): AT + 9 * SECOND}


def test_reminders_of_an_alert_whose_block_was_lifted_elsewhere_stay_quiet() -> None:
    common, clock = Common(), [AT]
    one, two = Process(common, clock), Process(common, clock)
    event = event_of(1, detected_at=AT)
    rule = dataclasses.replace(event.rule, actions=(BlockAction("conversation", 60 * SECOND),), shadow=False)
    fired = dataclasses.replace(event, rule=rule, group={"conversation": "a"}, transition=Transition.FIRING)
    one.blocks.act(fired)
    one.flush()
    asyncio.run(two.blocks.catch_up())
    block = two.blocks.check({"conversation": "a"})
    assert block is not None
    two.blocks.unblock(block, by="ana", reason="fixed")
    two.flush()
    asyncio.run(one.blocks.catch_up())
    assert one.known() == {}
    one.blocks.act(dataclasses.replace(fired, id="evt_2", transition=Transition.REMINDER))
    assert one.known() == {}
    two.blocks.act(fired)
    assert two.known() == {}, "an event that another process acted on"


def test_what_of_ours_never_arrives_hides_the_others_for_a_minute_only() -> None:
    now = [0.0]
    others = Others(lambda: now[0])
    block = Block("blk_1", "conversation", "a", "", "", 0, 1)
    others.made(BlockChange("chg_lost", Action.BLOCKED, block, 0, "", ""))

    def told(number: int) -> Told:
        return Told(number, f"chg_{number}", Action.UNBLOCKED, "conversation", "a", "blk_1", None, None)

    assert others.settled([told(1)]) == []
    now[0] = LOST_SECONDS + 1
    assert others.settled([told(2)]) == [told(2)]


@pytest.fixture
def elsewhere(on_postgresql: StorageConfig) -> StorageConfig:
    return on_postgresql.model_copy(update={"directory": on_postgresql.directory.parent / "other"})


@pytest.mark.peer
async def test_processes_on_one_postgresql_know_each_others_blocks_within_a_second(
    on_postgresql: StorageConfig, elsewhere: StorageConfig
) -> None:
    async with Database(on_postgresql) as first, Database(elsewhere) as second:
        here, there = Blocks(first), Blocks(second)
        async with here.running(), there.running(), asyncio.timeout(20):
            block = here.block("conversation", "conv-1", until=here.now + 60 * SECOND, by="ana", reason="loops")
            begun = asyncio.get_running_loop().time()
            version = there.feed.version
            while there.check({"conversation": "conv-1"}) is None:
                await there.feed.after(version, 5)
                version = there.feed.version
            took = asyncio.get_running_loop().time() - begun
            assert took < 20 * SHARED_SECONDS
            known = there.check({"conversation": "conv-1"})
            assert known == block
            there.unblock(known, by="ben", reason="fixed")
            while here.check({"conversation": "conv-1"}) is not None:
                await here.feed.after(here.feed.version, 5)
            await second.settled()
            async with first.connection() as connection:
                found = await block_history(connection, limit=9)
            assert [(one.action, one.by) for one in found] == [(Action.UNBLOCKED, "ben"), (Action.BLOCKED, "ana")]
        third = Database(elsewhere)
        async with third:
            anew = Blocks(third)
            async with anew.running():
                assert anew.check({"conversation": "conv-1"}) is None
