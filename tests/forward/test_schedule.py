"""Which request goes next: laws that hold in any course of answers, and the courses that matter drawn out."""

import math
import random
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from tocsin.forward.entry import Entry, Signal
from tocsin.forward.schedule import Backoff, Schedule

STEADY = Backoff(1.0, 8.0, lambda: 0.0)


def entry(client: int) -> Entry:
    return Entry(Signal.TRACES, client, 0, 1, b"x")


@given(st.randoms(use_true_random=False), st.integers(1, 5))
def test_in_any_course_clients_keep_their_order_and_limits_hold(draw: random.Random, in_flight: int) -> None:
    schedule = Schedule(Backoff(1.0, 8.0, draw.random), in_flight=in_flight)
    now = 0.0
    added: dict[int, list[Entry]] = defaultdict(list)
    done: dict[int, list[Entry]] = defaultdict(list)
    sending: list[Entry] = []
    for _ in range(120):
        now += draw.choice((0.0, 0.1, 5.0))
        match draw.randrange(6):
            case 0 | 1:
                made = entry(draw.randrange(3))
                added[made.client].append(made)
                schedule.add(made)
            case 2 | 3:
                taken, wait = schedule.next(now)
                assert wait >= 0
                if taken is not None:
                    assert not taken.gone
                    assert not sending or not schedule.failures
                    assert taken.client not in {each.client for each in sending}
                    sending.append(taken)
                    assert len(sending) <= in_flight
            case 4 if sending:
                answered = sending.pop(draw.randrange(len(sending)))
                if draw.random() < 0.5:
                    schedule.failed(answered, now, wish=draw.choice((None, 3.0)))
                else:
                    (schedule.answered if draw.random() < 0.8 else schedule.given_up)(answered)
                    answered.gone = True
                    done[answered.client].append(answered)
            case _:
                waiting = [each for each in added[0] if not each.gone and not each.sending]
                if waiting and draw.random() < 0.3:
                    waiting[0].gone = True  # dropped for its age
                if draw.random() < 0.3:
                    schedule.purge()
    while sending:
        last = sending.pop()
        schedule.answered(last)
        last.gone = True
        done[last.client].append(last)
    while (taken := schedule.next(now := now + 1e9)[0]) is not None:
        schedule.answered(taken)
        taken.gone = True
        done[taken.client].append(taken)
    assert schedule.next(now) == (None, math.inf)
    for client, entries in added.items():
        finished = done[client]
        assert finished == [each for each in entries if each in finished]
        assert all(each.gone for each in entries)
        assert len(finished) >= len(entries) * (client != 0)


def test_waits_double_up_to_the_longest_and_the_jitter_takes_off_up_to_half() -> None:
    assert [STEADY.after(failures) for failures in (1, 2, 3, 4, 5, 1000)] == [1, 2, 4, 8, 8, 8]
    assert Backoff(1.0, 8.0, lambda: 1.0).after(3) == 2.0


def test_while_all_fails_each_try_is_another_clients() -> None:
    schedule = Schedule(STEADY, in_flight=4)
    schedule.add(entry(1))
    now, tried = 0.0, [1]
    taken, _ = schedule.next(now)
    assert taken is not None
    schedule.failed(taken, now)
    for client in (1, 2, 3, 3):
        schedule.add(entry(client))
    for _ in range(8):
        taken, wait = schedule.next(now)
        while taken is None:
            now += wait
            taken, wait = schedule.next(now)
        assert schedule.next(now) == (None, math.inf)
        tried.append(taken.client)
        schedule.failed(taken, now)
    assert [tried.count(client) for client in (1, 2, 3)] == [3, 3, 3]


def test_several_in_flight_that_fail_together_count_as_one_failure() -> None:
    schedule = Schedule(STEADY, in_flight=4)
    for client in range(4):
        schedule.add(entry(client))
    together = [schedule.next(0.0)[0] for _ in range(4)]
    for each in together:
        assert each is not None
        schedule.failed(each, 0.0)
    assert schedule.failures == 1
    assert schedule.next(0.0) == (None, 1.0)


def test_entries_that_are_gone_are_forgotten_while_the_destination_is_away() -> None:
    schedule = Schedule(STEADY, in_flight=1)
    first = entry(1)
    schedule.add(first)
    assert schedule.next(0.0)[0] is first
    schedule.failed(first, 0.0, wish=1e9)
    for client in range(100):
        made = entry(client)
        schedule.add(made)
        made.gone = True
    schedule.purge()
    assert sum(len(lane.entries) for lane in schedule._lanes.values()) == 1
