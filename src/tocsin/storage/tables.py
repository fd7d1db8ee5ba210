"""The tables. Times are Unix nanoseconds; text has no NUL and no lone surrogate (`clean`); documents are exact.

A change here needs a revision in `migrations/versions`; a test holds the two against each other.
"""

import hashlib
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

__all__ = [
    "ALERTS",
    "ANSWERS",
    "ATTEMPTS",
    "BLOCKS",
    "BLOCK_CHANGES",
    "COUNTERS",
    "DEAD",
    "DELIVERIES",
    "EVENTS",
    "LABELS",
    "METADATA",
    "REPLICAS",
    "ROUTING",
    "SILENCES",
    "WAITING",
    "clean",
    "label_digest",
]

WAITING: Final = "waiting"
"""The status of a delivery that is still owed; all others are words of `notify.history.Outcome`."""

DEAD: Final = ("failed", "dropped")
"""The statuses of dead letters."""
_WAITING: Final = text("status = 'waiting'")
_DEAD: Final = text("status IN ('failed', 'dropped')")

METADATA: Final = MetaData()

ALERTS: Final = Table(
    "alerts",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("labels", Text, nullable=False),  # the group as JSON, labels in order
    Column("state", Text, nullable=False),  # firing, resolved
    Column("severity", Text, nullable=False),
    Column("threshold", Double),
    Column("value", Double),  # as of the last change; NULL where there is none
    Column("peak", Double),
    Column("suppressed", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("fired_at", BigInteger, nullable=False),
    Column("resolved_at", BigInteger),
    Column("changed_at", BigInteger, nullable=False),  # event time of the last change: an older one changes nothing
    Column("acknowledged_at", BigInteger),
    Column("shadow", Integer, nullable=False, server_default="0"),  # 1: the rule is on trial
    Column("acknowledged_by", Text),
    Index("alerts_by_time", "fired_at", "id"),
    Index("alerts_by_rule", "rule", "fired_at", "id"),
    Index("alerts_by_state", "state", "fired_at", "id"),
    Index("alerts_by_end", "resolved_at"),
)
"""One row an episode of a rule and group: what it is now."""

LABELS: Final = Table(
    "alert_labels",
    METADATA,
    Column("digest", Text, nullable=False),
    Column("alert_id", Text, ForeignKey("alerts.id", ondelete="CASCADE"), nullable=False),
    PrimaryKeyConstraint("digest", "alert_id", name="alert_labels_pkey"),
    Index("labels_by_alert", "alert_id"),
)
"""What alerts are found by: digests of each label with its value, and of the value alone."""

EVENTS: Final = Table(
    "alert_events",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("alert_id", Text, ForeignKey("alerts.id", ondelete="CASCADE"), nullable=False),
    Column("transition", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("detected_at", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Index("events_by_alert", "alert_id", "at"),
)
"""One row a change of an alert. Ids are functions of what happened, so the same event found twice is one row."""

DELIVERIES: Final = Table(
    "deliveries",
    METADATA,
    Column("contact_point", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("alert_id", Text, nullable=False),
    Column("transition", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("published", BigInteger, nullable=False),
    Column("finished", BigInteger),
    Column("outcome", Text, nullable=False),  # the receiver's last answer, or why it was not sent
    Column("document", LargeBinary),  # of the event; NULL once it needs not be sent any more
    Column("owner", Text, nullable=False, server_default=""),  # the process that delivers it; empty: any may
    PrimaryKeyConstraint("contact_point", "event_id", name="deliveries_pkey"),
    Index("deliveries_by_event", "event_id"),
    Index("deliveries_by_alert", "alert_id"),
    Index("deliveries_by_time", "published"),
    Index("deliveries_by_end", "finished"),
    Index("deliveries_dead", "finished", "event_id", "contact_point", sqlite_where=_DEAD, postgresql_where=_DEAD),
    Index(
        "deliveries_waiting",
        "contact_point",
        "published",
        "owner",
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    ),
)
"""The outbox: one row for each event and contact point."""

ATTEMPTS: Final = Table(
    "attempts",
    METADATA,
    Column("event_id", Text, nullable=False),
    Column("contact_point", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("answer", Text, nullable=False),
    PrimaryKeyConstraint("event_id", "contact_point", "at", "number", "outcome", name="attempts_pkey"),
    Index("attempts_by_time", "at"),
)
"""What became of deliveries, try by try."""

BLOCKS: Final = Table(
    "blocks",
    METADATA,
    Column("digest", Text, primary_key=True),  # of label and value
    Column("created", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),
)
"""One row a key that is blocked."""

BLOCK_CHANGES: Final = Table(
    "block_changes",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("action", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("block_id", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("project", Text),
    Column("rule", Text),
    Column("alert_id", Text),
    Column("version", BigInteger, nullable=False, server_default="0"),  # in the order of commits
    Index("block_changes_by_time", "at", "id"),
    Index("block_changes_by_key", "digest", "at"),
    Index("block_changes_by_version", "version"),
)
"""Every block and unblock, with who and why. Ids of what an alert did are functions of its event."""

COUNTERS: Final = Table(
    "counters",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
)
"""`blocks`: the version of the latest change. Who counts on holds the row until the commit: they are in order."""

ANSWERS: Final = Table(
    "answers",
    METADATA,
    Column("place", Text, primary_key=True),  # digest of who asked, what for, and their key
    Column("at", BigInteger, nullable=False),
    Column("request", Text, nullable=False),  # digest of its body
    Column("answer", LargeBinary),  # None while it is being made
    Index("answers_by_time", "at"),
)
"""What was answered to requests that had a key, so that a repetition is not done again."""

REPLICAS: Final = Table(
    "replicas",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("seen", BigInteger, nullable=False),  # by the database's clock
)
"""Processes that deliver from this database; what one leaves that was not seen for a while, another takes over."""

ROUTING: Final = Table(
    "alert_routing",
    METADATA,
    Column("event_id", Text, primary_key=True),
    Column("alert_id", Text, nullable=False),
    Column("at", BigInteger, nullable=False),  # wall clock
    Column("document", Text, nullable=False),  # JSON: who is told, who is not and why
    Index("routing_by_alert", "alert_id", "at"),
    Index("routing_by_time", "at"),
)
"""What routing made of each event that anybody was to hear of.

Written after its deliveries: an event without a row here may be decided again.
"""

SILENCES: Final = Table(
    "silences",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("matchers", Text, nullable=False),  # JSON list of texts
    Column("starts_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("comment", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("ended_by", Text, nullable=False),
    Column("told", Integer, nullable=False),  # 1: its end was told
    Index("silences_by_end", "ends_at", "id"),
)
"""One row a silence; kept after its end as long as alerts are."""


def clean(value: str) -> str:
    """Return text that any database takes: NUL and lone surrogates are replaced, in what is shown and looked for."""
    if value.isascii() and "\0" not in value:
        return value
    return "".join("\ufffd" if char == "\0" or "\ud800" <= char <= "\udfff" else char for char in value)


def label_digest(label: str | None, value: str) -> str:
    """Return what a label's value is found by; None: the value of any label."""
    text_of_both = f"{len(label)}:{label}{value}" if label is not None else f"-{value}"
    return hashlib.blake2b(text_of_both.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
