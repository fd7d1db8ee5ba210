"""What is blocked, by whom and until when, against a store that keeps everything and a clock that is advanced."""

import dataclasses

import pytest
from event_samples import event_of
from hypothesis import given
from hypothesis import strategies as st

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.errors import OverloadedError
from tocsin.guard.block import Action, Block, BlockChange, Kept, Past, Told
from tocsin.guard.blocks import Blocks
from tocsin.rules.rule import BlockAction, Severity

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND
AT = 1_767_669_250 * SECOND


class Store:
    """Keeps changes in memory, and gives back what a database would."""

    shared = False

    def __init__(self) -> None:
        self.changes: dict[str, BlockChange] = {}

    def block_changed(self, change: BlockChange) -> None:
        self.changes.setdefault(change.id, change)

    async def blocks_after(self, version: int) -> list[Told]:
        return []

    async def kept_blocks(self) -> Kept:
        return self.kept()

    async def settled(self) -> None:
        return

    def kept(self) -> Kept:
        present: dict[tuple[str, str], Block] = {}
        for change in self.changes.values():
            ended = change.action in (Action.UNBLOCKED, Action.EXPIRED)
            present.pop(change.block.key, None)
            if not ended:
                present[change.block.key] = change.block
        past = [Past(one.id, one.action, one.block.label, one.alert_id) for one in self.changes.values()]
        return Kept(sorted(present.values(), key=lambda block: block.created), past)

    def history(self) -> list[tuple[str, str, str]]:
        return [(one.action.value, one.block.value, one.by) for one in self.changes.values()]


class World:
    """Blocks, their store, and a clock."""

    def __init__(self, store: Store | None = None, *, limit: int = 1000, now: int = AT) -> None:
        self.now = now
        self.store = store or Store()
        self.blocks = Blocks(self.store, limit=limit, clock=lambda: self.now)
        self.blocks.load(self.store.kept())

    def blocked(self, value: str, label: str = "conversation") -> bool:
        return self.blocks.check({label: value}) is not None

    def restarted(self, *, later: int = 0) -> "World":
        return World(self.store, now=self.now + later)


def stopping(
    number: int = 1,
    *,
    ttl: int = HOUR,
    at: int = AT,
    transition: Transition = Transition.FIRING,
    alert: int | None = None,
    value: str | None = None,
    rule: str = "runaway",
    project: str = "default",
    **changes: object,
) -> AlertEvent:
    """An event of a rule that blocks the conversation."""
    event = event_of(number, transition=transition, detected_at=at)
    stops = dataclasses.replace(
        event.rule, name=rule, project=project, actions=(BlockAction("conversation", ttl),), shadow=False
    )
    more = {"alert_id": f"alt_{number if alert is None else alert:032x}", **changes}
    group = {"conversation": value or f"conv-{number if alert is None else alert}"}
    return dataclasses.replace(event, rule=stops, group=group, **more)  # type: ignore[arg-type]  # fields of any type


def test_an_alert_blocks_its_groups_value_for_the_ttl_and_nothing_else() -> None:
    world = World()
    world.blocks.act(stopping(1))
    assert world.blocked("conv-1")
    assert not world.blocked("conv-2")
    assert not world.blocked("conv-1", label="tenant")
    block = world.blocks.check({"tenant": "acme", "conversation": "conv-1"})
    assert block is not None
    assert (block.rule, block.project, block.by) == ("runaway", "default", "rule default/runaway")
    assert block.alert_id == f"alt_{1:032x}"
    assert block.until == AT + HOUR
    world.now = AT + HOUR - 1
    assert world.blocked("conv-1")
    world.now = AT + HOUR
    assert not world.blocked("conv-1")


def test_an_end_that_has_passed_is_noted_with_its_moment() -> None:
    world = World()
    world.blocks.act(stopping(1))
    world.now = AT + HOUR
    world.blocks.expire()
    assert world.store.history() == [("blocked", "conv-1", "rule default/runaway"), ("expired", "conv-1", "clock")]
    assert len(world.blocks) == 0


@pytest.mark.parametrize("transition", [Transition.RESOLVED, Transition.TEST])
def test_an_alert_that_ends_and_a_test_block_nothing_and_lift_nothing(transition: Transition) -> None:
    world = World()
    world.blocks.act(stopping(2, transition=transition))
    assert not world.blocked("conv-2")
    world.blocks.act(stopping(1))
    world.blocks.act(stopping(3, alert=1, transition=transition))
    assert world.blocked("conv-1")


def test_a_rule_on_trial_never_acts() -> None:
    world = World()
    event = stopping(1)
    world.blocks.act(dataclasses.replace(event, rule=dataclasses.replace(event.rule, shadow=True)))
    assert not world.blocked("conv-1")
    assert world.store.history() == []


def test_a_reminder_extends_and_an_earlier_end_does_not_shorten() -> None:
    world = World()
    world.blocks.act(stopping(1))
    first = world.blocks.check({"conversation": "conv-1"})
    world.now = AT + 60 * SECOND
    world.blocks.act(stopping(2, alert=1, at=world.now, transition=Transition.REMINDER))
    extended = world.blocks.check({"conversation": "conv-1"})
    assert first is not None
    assert extended is not None
    assert (extended.id, extended.created) == (first.id, first.created)
    assert extended.until == world.now + HOUR
    shorter = world.blocks.block("conversation", "conv-1", until=world.now + SECOND, by="ana", reason="just so")
    assert shorter.until == world.now + HOUR
    assert [action for action, _, _ in world.store.history()] == ["blocked", "extended", "extended"]


def test_an_event_that_is_found_again_does_not_block_what_was_lifted() -> None:
    world = World()
    event = stopping(1)
    world.blocks.act(event)
    block = world.blocks.check({"conversation": "conv-1"})
    assert block is not None
    assert world.blocks.unblock(block, by="ana", reason="false alarm") == block
    world.blocks.act(event)
    assert not world.blocked("conv-1")
    later = world.restarted()
    later.blocks.act(event)
    assert not later.blocked("conv-1")
    assert later.store.history()[-1] == ("unblocked", "conv-1", "ana")


def test_reminders_of_an_alert_whose_block_was_lifted_stay_quiet_and_a_new_alert_does_not() -> None:
    world = World()
    world.blocks.act(stopping(1))
    block = world.blocks.check({"conversation": "conv-1"})
    assert block is not None
    world.blocks.unblock(block, by="ana", reason="let it go on")
    for again in (world, world.restarted()):
        again.blocks.act(stopping(2, alert=1, transition=Transition.REMINDER))
        assert not again.blocked("conv-1")
    world.blocks.act(stopping(3, alert=1, escalated_from=Severity.LOW))
    assert world.blocked("conv-1"), "worse than when somebody decided"
    block = world.blocks.check({"conversation": "conv-1"})
    assert block is not None
    world.blocks.unblock(block, by="ana", reason="once more")
    world.blocks.act(stopping(4, alert=9, value="conv-1"))
    assert world.blocked("conv-1"), "another episode"


def test_what_is_blocked_goes_on_after_a_restart_until_the_same_end() -> None:
    world = World()
    world.blocks.act(stopping(1))
    world.blocks.block("tenant", "nul\0 and \ud800", until=AT + 2 * HOUR, by="ana", reason="x")
    later = world.restarted(later=HOUR)
    assert not later.blocked("conv-1")
    assert later.blocked("nul\0 and \ud800", label="tenant")
    assert later.store.history()[-1] == ("expired", "conv-1", "clock")


def test_an_event_so_old_that_its_block_is_over_blocks_nothing() -> None:
    world = World(now=AT + HOUR)
    world.blocks.act(stopping(1))
    assert world.store.history() == []


def test_past_the_limit_nothing_more_is_blocked_and_a_person_is_told() -> None:
    world = World(limit=2)
    for number in range(1, 4):
        world.blocks.act(stopping(number))
    assert [world.blocked(f"conv-{number}") for number in range(1, 4)] == [True, True, False]
    with pytest.raises(OverloadedError, match=r"2 keys are blocked already.*guard\.max_blocks"):
        world.blocks.block("tenant", "acme", until=AT + HOUR, by="ana", reason="x")
    world.now = AT + HOUR
    world.blocks.block("tenant", "acme", until=world.now + HOUR, by="ana", reason="ends make room")


def test_a_block_of_two_projects_belongs_to_neither() -> None:
    world = World()
    world.blocks.act(stopping(1, project="shop"))
    world.blocks.act(stopping(2, alert=1, project="bank", at=AT + 1))
    block = world.blocks.check({"conversation": "conv-1"})
    assert block is not None
    assert block.project is None


def test_what_was_lifted_before_a_start_without_the_database_is_free_again_when_it_is_back() -> None:
    world = World()
    event = stopping(1)
    world.blocks.act(event)
    block = world.blocks.check({"conversation": "conv-1"})
    assert block is not None
    world.blocks.unblock(block, by="ana", reason="x")
    kept = world.store.kept()
    blind = Blocks(Store(), clock=lambda: AT)
    blind.act(event)
    blind.act(stopping(2))
    assert blind.check({"conversation": "conv-1"})
    blind.load(kept)
    assert blind.check({"conversation": "conv-1"}) is None
    assert blind.check({"conversation": "conv-2"}) is not None


steps = st.lists(
    st.tuples(
        st.sampled_from(["fire", "remind", "block", "lift", "wait", "restart", "again"]),
        st.integers(0, 2),  # which conversation
        st.integers(1, 40),  # seconds
    ),
    max_size=25,
)


@given(steps)
def test_any_story_has_the_ends_of_a_plain_table_whatever_is_restarted(story: list[tuple[str, int, int]]) -> None:
    world = World()
    ends: dict[str, int] = {}
    causes: dict[str, bool] = {}
    """Whether the present block's shown cause is the alert."""
    lifted: set[str] = set()
    told: list[AlertEvent] = []
    for number, (step, which, seconds) in enumerate(story, 1):
        value = f"conv-{which}"
        present = ends.get(value, 0) > world.now
        match step:
            case "fire" | "remind":
                transition = Transition.FIRING if step == "fire" else Transition.REMINDER
                event = stopping(number, alert=which, at=world.now, ttl=seconds * SECOND, transition=transition)
                told.append(event)
                world.blocks.act(event)
                if step == "fire" or value not in lifted:
                    end = world.now + seconds * SECOND
                    if not present or end > ends[value]:
                        causes[value] = True
                        ends[value] = end
            case "block":
                end = world.now + seconds * SECOND
                world.blocks.block("conversation", value, until=end, by="ana", reason="x")
                if not present or end > ends[value]:
                    causes[value] = False
                    ends[value] = end
            case "lift":
                block = world.blocks.check({"conversation": value})
                assert (block is not None) == present
                if block is not None:
                    world.blocks.unblock(block, by="ana", reason="x")
                    ends.pop(value)
                    if causes[value]:
                        lifted.add(value)
            case "wait":
                world.now += seconds * SECOND
            case "restart":
                world = world.restarted()
            case _:  # again
                for event in told:
                    world.blocks.act(event)
        for each in ("conv-0", "conv-1", "conv-2"):
            assert world.blocked(each) == (ends.get(each, 0) > world.now)
