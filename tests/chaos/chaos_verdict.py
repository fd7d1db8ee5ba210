"""What must have arrived, from what was acknowledged alone; and what is wrong with what did.

The oracle adds up the acknowledged spans of each conversation in the order in which they were acknowledged. What a rule
must do is exact where that order decides it (what a conversation spent when it crossed a threshold, how much everything
is together), and a law where the moment of evaluation does (how long a condition was pending, when a short window
drained). Nothing is asked of the order between conversations, of event times, or of which episode a short window began.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from chaos_receiver import Collector, Seen, Webhook
from chaos_rules import BURST_COOLDOWN, CRITICAL, MEDIUM, SLOW, SLOW_SECONDS
from chaos_traffic import Chat, Ledger, Line

__all__ = ["Expected", "expected_of", "expected_totals", "missing", "violations"]

_MICROSECOND = 1e-6
Key = tuple[str, str, str]
"""Rule, value of the group, severity."""


@dataclass(frozen=True)
class Expected:
    """A firing alert that must have arrived; the value lies in `(over, value]`, and is `value` where `over` is None."""

    value: int
    """In the smallest unit: nano-USD, tokens, units."""
    samples: int | None = None
    over: int | None = None
    scale: float = 1e9


def expected_of(conversations: dict[str, list[Line]]) -> dict[Key, Expected]:
    """Return the alerts that the conversations must have caused."""
    found: dict[Key, Expected] = {}
    for name, lines in conversations.items():
        reached = -1
        for line in lines:
            level = (line.spent > MEDIUM) + (line.spent > CRITICAL) - 1
            if level > reached:
                severity = ("medium", "critical")[level]
                found["conversation-spend", name, severity] = Expected(line.spent, line.samples)
                reached = level
        if lines[-1].spent > SLOW:
            found["slow-burn", name, "medium"] = Expected(lines[-1].spent, over=SLOW)
    return found


def expected_totals(chats: Sequence[Chat], torn: frozenset[str]) -> dict[Key, Expected]:
    """Return what the last spans of all must have found: everything that was acknowledged, once.

    Args:
        chats: all that were acknowledged, the probes that make each total cross its threshold among them.
        torn: conversations whose spans were in what was torn: they may have lost them, and nothing else.
    """
    spent: dict[str, int] = defaultdict(int)
    tokens: dict[str, int] = defaultdict(int)
    units: dict[str, int] = defaultdict(int)
    samples: dict[str, int] = defaultdict(int)
    probed: dict[str, int] = {}
    for chat in chats:
        spent[chat.conversation] += chat.nano
        samples[chat.conversation] += 1
        tokens[chat.tenant] += chat.input_tokens
        units[chat.tenant] += chat.units
        if chat.kind == "probe":
            probed[chat.conversation] = chat.nano
    found: dict[Key, Expected] = {}
    for name, total in spent.items():
        if total > 500 * 10**9:
            over = probed[name] - 1 if name in torn else None
            found["conversation-total", name, "medium"] = Expected(total, None if over else samples[name], over)
    for name, total in tokens.items():
        if total > 10**11:
            found["tenant-tokens", name, "medium"] = Expected(total, scale=1)
    for name, total in units.items():
        if total > 10**9:
            found["tenant-units", name, "medium"] = Expected(total, scale=1)
    return found


def missing(expected: Iterable[Key], taken: Sequence[Seen]) -> list[Key]:
    """Return what has not been taken by a receiver yet."""
    there = {_key(seen) for seen in taken if seen.taken and seen.event == "firing"}
    return [key for key in expected if key not in there]


def violations(
    hook: Webhook,
    second: Webhook,
    ledger: Ledger,
    torn: frozenset[str],
    collector: Collector | None,
    merged: Mapping[str, Set[Key]] | None = None,
) -> Iterator[str]:
    """Yield everything that breaks a promise, as sentences; nothing: all is well.

    `merged`: by receiver, what the service says that a later event of the same alert stood for, which was delivered; a
    receiver that answers 429 is not sent what is superseded.
    """
    merged = merged or {}
    expected = expected_of(ledger.conversations) | expected_totals(ledger.chats, torn)
    spend = {key: value for key, value in expected.items() if key[0] == "conversation-spend"}
    yield from _delivered("hook", hook.seen, expected, merged.get("hook", frozenset()))
    yield from _delivered("second", second.seen, spend, merged.get("second", frozenset()))
    yield from _same_ids([*hook.seen, *second.seen])
    yield from _never_early(hook.seen)
    yield from _bursts([seen for seen in hook.seen if seen.rule == "burst"])
    yield from (f"an exporter was told {answer}, which it does not send again" for answer in ledger.refused)
    if collector is not None:
        lost = [chat for chat in ledger.chats if chat.span_id not in collector.spans]
        if lost:
            yield f"{len(lost)} of {len(ledger.chats)} acknowledged spans did not reach the next collector"


def _delivered(name: str, all_seen: Sequence[Seen], expected: dict[Key, Expected], merged: Set[Key]) -> Iterator[str]:
    """Every alert at least once, with the right value, under one id; and no other."""
    for key in missing(expected, all_seen):
        if key in merged:
            continue
        yield f"{name}: {key} was never delivered"
    ids: dict[Key, set[str]] = defaultdict(set)
    for seen in all_seen:
        if seen.project != "default" or seen.rule == "burst":
            continue
        key = _key(seen)
        if seen.event != "firing" or key not in expected:
            yield f"{name}: {seen.event} {key} is nothing that was expected"
            continue
        ids[key].add(seen.id)
        if wrong := _wrong_value(seen.body, expected[key]):
            yield f"{name}: {key} {wrong}"
    for key, found in ids.items():
        if len(found) > 1:
            yield f"{name}: {key} came under {len(found)} ids: {sorted(found)}"


def _wrong_value(body: dict[str, Any], expected: Expected) -> str:
    value = round(body["value"] * expected.scale)
    if expected.over is not None:
        right = expected.over < value <= expected.value
        return "" if right else f"says {value}, not more than {expected.over} and at most {expected.value}"
    if value != expected.value:
        return f"says {value}, and it is {expected.value}"
    if expected.samples is not None and body["samples"] != expected.samples:
        return f"says {body['samples']} samples, and there are {expected.samples}"
    return ""


def _same_ids(all_seen: Sequence[Seen]) -> Iterator[str]:
    """The same id is the same event, word for word, at every receiver and in every attempt."""
    first: dict[str, Seen] = {}
    for seen in all_seen:
        known = first.setdefault(seen.id, seen)
        if (known.body, known.alert_id) != (seen.body, seen.alert_id):
            different = [key for key in known.body if known.body[key] != seen.body.get(key)]
            yield f"id {seen.id} of {_key(seen)} came with different {different or 'alert ids'}"


def _never_early(all_seen: Sequence[Seen]) -> Iterator[str]:
    for seen in all_seen:
        if seen.rule == "slow-burn" and seen.event == "firing":
            pending = _seconds(seen.body["fired_at"]) - _seconds(seen.body["started_at"])
            if pending < SLOW_SECONDS - 2 * _MICROSECOND:
                yield f"{_key(seen)} fired after {pending} s, before its 'for' was over"


def _bursts(all_seen: Sequence[Seen]) -> Iterator[str]:
    """Each episode fires once and ends once, and no two that are told begin within a cooldown."""
    episodes: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    began: dict[str, set[float]] = defaultdict(set)
    for seen in all_seen:
        episodes[seen.alert_id][seen.event].add(seen.id)
        if seen.event == "firing":
            began[_key(seen)[1]].add(_seconds(seen.body["fired_at"]))
    for alert, events in episodes.items():
        if len(events["resolved"]) != 1 or len(events["firing"]) > 1:
            counts = {event: len(found) for event, found in events.items()}
            yield f"burst: episode {alert} was told as {counts}"
    for tenant, moments in began.items():
        ordered = sorted(moments)
        for before, after in pairwise(ordered):
            if after - before < BURST_COOLDOWN - 2 * _MICROSECOND:
                yield f"burst: {tenant} was told again after {after - before} s, within the cooldown"


def _key(seen: Seen) -> Key:
    group = next(iter(seen.body["group"].values()), "")
    return seen.rule, group, seen.body["rule"]["severity"]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
