"""What the alerts about Tocsin itself say: what is wrong, since when, and what to do.

Names of contact points, problems and reasons were made for people by those who gave them; what a sender chose (a
model's name) is cleaned by whoever shows it.
"""

from collections.abc import Mapping
from typing import Final

from tocsin.alerts.event import Transition
from tocsin.notify.message import rfc3339
from tocsin.notify.wording import clean, counted, percent
from tocsin.service.self_alerts.conditions import Kind

__all__ = ["clock_skew", "degraded", "delivery_failing", "over", "rules_invalid", "spans_refused", "unpriced"]

_REASON: Final = 300
"""Characters of what somebody else said."""
_WRONG: Final[Mapping[Kind, tuple[str, str]]] = {
    Kind.JOURNAL_DEGRADED: (
        "what is acknowledged is not kept on disk",
        "Evaluation goes on. Look at the disk of storage.directory (room, permissions, errors); it recovers by itself.",
    ),
    Kind.STORAGE_DEGRADED: (
        "the state and history of alerts are not kept",
        "Notifications go on. Look at the database under storage; it recovers by itself.",
    ),
    Kind.FORWARD_DEGRADED: (
        "received requests are not passed on",
        "Alerting goes on, and the queue on disk holds them as long as it has room. Look at the next collector.",
    ),
}
_OVER: Final[Mapping[Kind, str]] = {
    Kind.RULES_INVALID: "the files are in force again",
    Kind.JOURNAL_DEGRADED: "what is acknowledged is kept on disk again",
    Kind.STORAGE_DEGRADED: "the state and history of alerts are kept again",
    Kind.FORWARD_DEGRADED: "received requests are passed on again",
    Kind.SPANS_REFUSED: "no requests are refused for load any more",
    Kind.CLOCK_SKEW: "spans come from the present again",
}


def delivery_failing(contact_point: str, failures: int, since: int, reason: str, *, permanent: bool) -> str:
    """Say that a contact point takes nothing."""
    said = f" ({clean(reason, _REASON)})" if reason else ""
    kept = "Some were refused for good; the others" if permanent else "They"
    return (
        f"contact point {contact_point} takes no notifications since {_moment(since)}: "
        f"{counted(failures, 'attempts')} failed{said}. {kept} are tried again for 24 hours. "
        f"Check it with: tocsin notify-test {contact_point}"
    )


def rules_invalid(problems: tuple[str, ...], since: int) -> str:
    """Say that the files can't be used."""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return (
        f"the configuration can't be used since {_moment(since)}, and the one from before goes on: "
        f"{clean(problems[0], _REASON)}{more}. Correct the file; tocsin check shows every mistake"
    )


def degraded(kind: Kind, since: int, reason: str) -> str:
    """Say that a part does not do its work."""
    what, advice = _WRONG[kind]
    return f"{what} since {_moment(since)}: {clean(reason, _REASON).rstrip('.')}. {advice}"


def spans_refused(reasons: Mapping[str, int]) -> str:
    """Say that requests are refused for load."""
    listed = ", ".join(f"{reason} {number}" for reason, number in sorted(reasons.items()))
    return (
        f"{counted(sum(reasons.values()), 'requests')} refused for load within a minute ({listed}). "
        "Senders try them again; give Tocsin more room (limits.in_flight_bytes, limits.memory), or a faster machine"
    )


def clock_skew(ahead: int, spans: int) -> str:
    """Say that spans come from the future."""
    share = percent(round(ahead / spans, 4))
    return (
        f"{counted(ahead, 'spans')} of 5 minutes ({share}) come from the future and are counted at the present. "
        "A sender's clock is ahead, or this machine's is behind: synchronise both (NTP)"
    )


def unpriced(provider: str, model: str, calls: int, since: int) -> str:
    """Say that a model has no price."""
    return (
        f"model {clean(model, 128)} of {clean(provider, 128)} has no price: {counted(calls, 'calls')} since "
        f"{_moment(since)} cost an unknown amount. Add it under prices.overrides"
    )


def over(kind: Kind, group: Mapping[str, str], transition: Transition, sentence: str) -> str:
    """Return the sentence for a transition: the end of an alert has words of its own."""
    if transition is not Transition.RESOLVED:
        return sentence
    match kind:
        case Kind.DELIVERY_FAILING:
            return f"contact point {group['contact_point']} takes notifications again, or is another one now"
        case Kind.UNPRICED_MODELS:
            name = clean(group["model"], 128)
            return f"model {name} of {clean(group['provider'], 128)} has a price now, or was not called for a day"
        case _:
            return _OVER[kind]


def _moment(time_ns: int) -> str:
    return f"{rfc3339(time_ns)[:19]}Z"
