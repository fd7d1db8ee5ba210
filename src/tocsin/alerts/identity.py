"""Names for alerts and their events that any process finds alike, so that receivers can drop repeats."""

import hashlib
from collections.abc import Mapping

from tocsin.alerts.event import Transition
from tocsin.rules.rule import Rule

__all__ = ["alert_id", "event_id"]


def alert_id(rule: Rule, group: Mapping[str, str], started_at: int) -> str:
    """Return the id of an episode: rule, version, group and the event time at which its condition first held."""
    return "alt_" + _digest(rule.project, rule.name, rule.version, *_flat(group), str(started_at))


def event_id(alert: str, transition: Transition, at: int, level: int) -> str:
    """Return the id of one event of an episode, by what happened and when in event time."""
    return "evt_" + _digest(alert, transition.value, str(at), str(level))


def _flat(group: Mapping[str, str]) -> list[str]:
    return [text for item in sorted(group.items()) for text in item]


def _digest(*parts: str) -> str:
    # Lengths before texts: no two lists of parts may read the same.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
