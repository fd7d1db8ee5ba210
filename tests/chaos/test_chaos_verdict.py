"""The verdict of the chaos suite finds what it is there to find: each promise is broken here once, on purpose."""

import copy
import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import pytest
from chaos_receiver import Collector, Mode, Seen, Webhook
from chaos_report import Report
from chaos_torn import garble, newest_log, tear
from chaos_traffic import Chat, Ledger
from chaos_verdict import expected_of, expected_totals, violations

BEGIN = datetime(2026, 11, 21, tzinfo=UTC)
DOLLAR = 400_000
"""Input tokens."""


class World:
    """What was acknowledged, and what a service without faults would have delivered."""

    def __init__(self) -> None:
        self.hook, self.second, self.collector = Webhook(), Webhook(), Collector()
        self.ledger = Ledger()
        chats = [Chat("c1", "acme", DOLLAR, 0, span_id=bytes([number])) for number in range(1, 6)]
        chats += [Chat("c2", "acme", DOLLAR, 7, span_id=bytes([number])) for number in range(11, 14)]
        chats += [Chat("torn-0", "torn-0", 1000, 10, kind="torn", span_id=b"t")]
        for chat in chats:
            self.ledger.acknowledge([chat])
        probes = [
            Chat(name, f"probe-{name}", 400_000_000, 0, 0, "probe", name.encode()) for name in ("c1", "c2", "torn-0")
        ]
        probes.append(Chat("probe-acme", "acme", 200_000_000_000, 0, 2 * 10**9, "probe", b"p"))
        self.ledger.acknowledge(probes)
        self.collector.spans.update(chat.span_id for chat in self.ledger.chats)
        everything = expected_of(self.ledger.conversations) | expected_totals(self.ledger.chats, frozenset({"torn-0"}))
        for number, (key, value) in enumerate(everything.items()):
            samples = 9 if value.samples is None else value.samples
            seen = delivery(number, *key, value=value.value / value.scale, samples=samples)
            self.hook.seen.append(seen)
            if key[0] == "conversation-spend":
                self.second.seen.append(seen)
        for event in ("firing", "resolved"):
            self.hook.seen.append(replace(delivery(99, "burst", "acme", "medium", event=event), id=f"burst-{event}"))

    def violations(self) -> list[str]:
        return list(violations(self.hook, self.second, self.ledger, frozenset({"torn-0"}), self.collector))

    def change(self, rule: str, **changes: Any) -> None:  # noqa: ANN401  # of the body
        at = next(at for at, seen in enumerate(self.hook.seen) if seen.rule == rule)
        body = copy.deepcopy(self.hook.seen[at].body) | changes
        self.hook.seen[at] = replace(self.hook.seen[at], body=body)


def delivery(
    number: int, rule: str, group: str, severity: str, *, value: float = 41, samples: int = 41, event: str = "firing"
) -> Seen:
    body = {
        "rule": {"project": "default", "name": rule, "severity": severity},
        "group": {"label": group},
        "event": event,
        "value": value,
        "samples": samples,
        "started_at": BEGIN.isoformat(),
        "fired_at": (BEGIN + timedelta(seconds=2)).isoformat(),
    }
    return Seen(0.0, f"evt_{number}", f"alt_{number}", body, taken=True)


def test_a_world_without_faults_breaks_no_promise() -> None:
    assert World().violations() == []


def lose_a_span(world: World) -> None:
    world.change("conversation-total", value=1000 + 4.0)


def count_a_span_twice(world: World) -> None:
    world.change("tenant-units", value=2 * 10**9 + 9)


def be_a_nano_dollar_off(world: World) -> None:
    world.change("conversation-spend", value=2.000000001)


def count_a_sample_more(world: World) -> None:
    world.change("conversation-spend", samples=3)


def lose_an_alert(world: World) -> None:
    world.hook.seen = [seen for seen in world.hook.seen if seen.rule != "slow-burn"]


def be_told_and_not_take_it(world: World) -> None:
    world.second.seen = [replace(seen, taken=False) for seen in world.second.seen]


def give_a_repeat_another_id(world: World) -> None:
    world.hook.seen.append(replace(world.hook.seen[0], id="evt_other"))


def give_an_id_to_two_events(world: World) -> None:
    first = world.hook.seen[0]
    world.second.seen.append(replace(first, body=first.body | {"samples": 7}))


def tell_of_an_alert_that_was_none(world: World) -> None:
    world.hook.seen.append(delivery(77, "conversation-spend", "c9", "medium"))


def say_that_a_sum_that_never_falls_is_over(world: World) -> None:
    world.hook.seen.append(delivery(78, "conversation-spend", "c1", "medium", event="resolved"))


def fire_too_early(world: World) -> None:
    world.change("slow-burn", fired_at=(BEGIN + timedelta(seconds=1.9)).isoformat())


def begin_an_episode_twice(world: World) -> None:
    world.hook.seen.append(replace(world.hook.seen[-2], id="burst-again"))


def never_end_an_episode(world: World) -> None:
    world.hook.seen.pop()


def forget_a_cooldown(world: World) -> None:
    for event in ("firing", "resolved"):
        seen = delivery(100, "burst", "acme", "medium", event=event)
        later = (BEGIN + timedelta(seconds=9)).isoformat()
        world.hook.seen.append(replace(seen, id=f"later-{event}", body=seen.body | {"fired_at": later}))


def refuse_for_good(world: World) -> None:
    world.ledger.refuse("INTERNAL")


def forward_one_span_less(world: World) -> None:
    del world.collector.spans[bytes([3])]


@pytest.mark.parametrize(
    "fault",
    [
        lose_a_span,
        count_a_span_twice,
        be_a_nano_dollar_off,
        count_a_sample_more,
        lose_an_alert,
        be_told_and_not_take_it,
        give_a_repeat_another_id,
        give_an_id_to_two_events,
        tell_of_an_alert_that_was_none,
        say_that_a_sum_that_never_falls_is_over,
        fire_too_early,
        begin_an_episode_twice,
        never_end_an_episode,
        forget_a_cooldown,
        refuse_for_good,
        forward_one_span_less,
    ],
)
def test_a_broken_promise_is_found(fault: Callable[[World], None]) -> None:
    world = World()
    fault(world)
    assert world.violations() != []


def test_what_was_torn_may_be_lost_and_nothing_else() -> None:
    world = World()
    at = next(at for at, seen in enumerate(world.hook.seen) if seen.body["group"]["label"] == "torn-0")
    seen = world.hook.seen[at]
    world.hook.seen[at] = replace(seen, body=seen.body | {"value": 1000.0})
    assert world.violations() == []
    world.hook.seen[at] = replace(seen, body=seen.body | {"value": 1001.0})
    assert world.violations() != []


# The tools


def written_log(pages: int, *, page: int = 512, stale: int = 0) -> bytes:
    salts = b"saltSALT"
    header = struct.pack(">IIII", 0x377F0683, 3007000, page, 0) + salts + b"\0" * 8
    frames = b"".join(struct.pack(">II", 1, 1) + salts + b"\0" * 8 + b"\1" * page for _ in range(pages))
    old = b"".join(struct.pack(">II", 1, 1) + b"olderold" + b"\0" * 8 + b"\2" * page for _ in range(stale))
    return header + frames + old


@pytest.mark.parametrize("seed", range(20))
def test_a_tear_damages_the_last_frame_of_the_present_round_and_nothing_before_it(tmp_path: Path, seed: int) -> None:
    log = tmp_path / "journal-1.db-wal"
    data = written_log(3, stale=2)
    log.write_bytes(data)
    intact = 32 + 2 * (24 + 512)
    assert newest_log(tmp_path) == log
    tear(log, Random(seed))
    after = log.read_bytes()
    assert after != data
    assert after[:intact] == data[:intact]
    assert after[intact : intact + 536] != data[intact : intact + 536]


def test_an_unfinished_frame_leaves_all_others_as_they_were(tmp_path: Path) -> None:
    log = tmp_path / "journal-1.db-wal"
    data = written_log(3)
    log.write_bytes(data)
    garble(log, Random(1))
    assert log.read_bytes().startswith(data)
    assert len(data) < len(log.read_bytes()) < len(data) + 536


def test_a_log_without_a_commit_is_none(tmp_path: Path) -> None:
    (tmp_path / "journal-1.db-wal").write_bytes(b"")
    (tmp_path / "journal-2.db-wal").write_bytes(written_log(0, stale=3))
    assert newest_log(tmp_path) is None


def test_a_receiver_that_is_down_is_there_again_on_its_port() -> None:
    body = {"rule": {"project": "default", "name": "r", "severity": "low"}, "event": "firing"}
    headers = {"webhook-id": "evt_1", "tocsin-alert-id": "alt_1"}

    def post() -> int:
        return httpx2.post(hook.url, json=body, headers=headers, timeout=5).status_code

    with Webhook() as hook:
        assert post() == 200
        for mode in (Mode.RESET, Mode.LOST_ANSWER, Mode.DOWN):
            hook.mode = mode
            with pytest.raises(httpx2.TransportError):
                post()
        for mode, status in ((Mode.BUSY, 429), (Mode.UNAVAILABLE, 503)):
            hook.mode = mode
            assert post() == status
        hook.mode = Mode.WELL
        assert post() == 200
    assert [seen.taken for seen in hook.seen] == [True, False, False, False, True]


def test_the_report_goes_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- chaos: begin -->\nold\n<!-- chaos: end -->\nafter\n")
    Report(7, "today", "here").write_into(page)
    text = page.read_text()
    assert text.startswith("before\n<!-- chaos: begin -->\n| what | measured |")
    assert text.endswith("<!-- chaos: end -->\nafter\n")
    assert "old" not in text
    with pytest.raises(ValueError, match="no '<!-- chaos: begin -->'"):
        Report(7, "today", "here").write_into(Path(__file__).parent / "clock_shim" / "sitecustomize.py")
