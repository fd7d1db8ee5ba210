"""Blocks and their history in either database: exact keys, the same change twice, pages, and what is old."""

from dataclasses import replace

from tocsin.guard.block import Action, Block, BlockChange
from tocsin.storage.blocks import block_history
from tocsin.storage.config import StorageConfig
from tocsin.storage.database import Database

HOUR = 3_600_000_000_000
AT = 1_767_669_250_000_000_000


def change(number: int, value: str, action: Action = Action.BLOCKED, *, project: str | None = "shop") -> BlockChange:
    alert = None if project is None else f"alt_{number}"
    block = Block(f"blk_{len(value)}", "conversation", value, "why", "who", AT, AT + HOUR, project, "r", alert)
    return BlockChange(f"chg_{number}", action, block, AT + number, "who", "why", project, "r", alert)


async def test_what_is_blocked_and_what_is_known_of_the_past_come_back(place: StorageConfig) -> None:
    odd = "nul\0 and \ud800"
    changes = [
        change(1, "a"),
        change(1, "a"),
        change(2, odd, project=None),
        change(3, "b"),
        change(4, "b", Action.UNBLOCKED),
        change(5, "c"),
        change(6, "c", Action.EXPIRED),
        change(7, "c"),
    ]
    async with Database(place) as database:
        for one in changes:
            database.block_changed(one)
        await database.settled()
    async with Database(place) as database:
        kept = await database.kept_blocks()
        assert sorted(block.value for block in kept.blocks) == sorted(["a", odd, "c"])
        assert next(block for block in kept.blocks if block.value == odd) == changes[2].block
        assert [(past.id, past.action) for past in kept.past if past.action is Action.UNBLOCKED] == [
            ("chg_4", Action.UNBLOCKED)
        ]
        assert [past.id for past in kept.past] == ["chg_1", "chg_3", "chg_4", "chg_5", "chg_6", "chg_7"]


async def test_the_history_comes_in_pages_and_by_key_and_project_and_grows_old(place: StorageConfig) -> None:
    async with Database(place) as database:
        for number in range(5):
            database.block_changed(change(number, f"conv-{number % 2}", project="shop" if number % 2 else "bank"))
        await database.settled()
        async with database.connection() as connection:
            first = await block_history(connection, limit=3)
            rest = await block_history(connection, limit=3, after=(first[-1].at, first[-1].id))
            assert [one.id for one in first + rest] == [f"chg_{number}" for number in (4, 3, 2, 1, 0)]
            by_key = await block_history(connection, limit=9, label="conversation", value="conv-1")
            assert [one.id for one in by_key] == ["chg_3", "chg_1"]
            assert [one.id for one in await block_history(connection, limit=9, projects={"shop"})] == ["chg_3", "chg_1"]
        await database.delete_old()
        async with database.connection() as connection:
            assert await block_history(connection, limit=9) == [], "as old as the retention"
        assert len((await database.kept_blocks()).blocks) == 2, "what is blocked does not grow old with its history"


async def test_an_end_of_a_block_takes_no_later_block_of_its_key_with_it(place: StorageConfig) -> None:
    anew = change(2, "a")
    anew = replace(anew, block=replace(anew.block, id="blk_anew", created=AT + 1))
    async with Database(place) as database:
        for one in (change(1, "a"), anew, change(3, "a", Action.EXPIRED)):
            database.block_changed(one)
            await database.settled()
        assert [block.id for block in (await database.kept_blocks()).blocks] == ["blk_anew"]


async def test_changes_are_read_in_the_order_of_their_commits_with_what_their_keys_are_now(
    place: StorageConfig,
) -> None:
    async with Database(place) as database:
        database.block_changed(change(1, "a"))
        await database.settled()
        before = (await database.kept_blocks()).version
        for one in (change(2, "b"), change(3, "a", Action.UNBLOCKED), change(2, "b"), change(4, "c")):
            database.block_changed(one)
        await database.settled()
        told = await database.blocks_after(before)
        assert [(one.id, one.key, one.block is None) for one in told] == [
            ("chg_2", ("conversation", "b"), False),
            ("chg_3", ("conversation", "a"), True),
            ("chg_4", ("conversation", "c"), False),
        ]
        assert [one.version for one in told] == sorted({one.version for one in told})
        assert await database.blocks_after((await database.kept_blocks()).version) == []
