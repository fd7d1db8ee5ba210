"""What a person writes in a file of tests; docs/testing-rules.md explains every field."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, Field, model_validator

from tocsin.alerts.event import Transition
from tocsin.model.settings import Duration, Settings, nanoseconds, parse_duration
from tocsin.rules.config import Names, Text, written
from tocsin.rules.problems import one_of
from tocsin.rules.rule import Severity
from tocsin.service.ruletests.notation import MOST_VALUES, is_series, series_of

__all__ = [
    "KINDS",
    "LABELS",
    "NUMBERS",
    "OF_LOADER",
    "AlertConfig",
    "EventConfig",
    "ExpectConfig",
    "PromAlertConfig",
    "PromAlertTestConfig",
    "SeriesConfig",
    "SilentConfig",
    "SpansConfig",
    "TestConfig",
    "TestFileConfig",
    "attribute_series",
]

KINDS: Final = ("llm", "embeddings", "tool", "retrieval", "agent", "chain", "memory", "evaluation", "other")
LABELS: Final = (
    "model", "provider", "tenant", "environment", "service", "conversation", "agent", "operation", "tool",
    "data_source", "prompt_version", "user", "error_type", "finish_reason", "evaluation", "response_id",
)  # fmt: skip
NUMBERS: Final = (
    "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "cost", "latency", "time_to_first_token",
    "judge_score", "relevance_score", "top_score", "retrieved_count",
)  # fmt: skip
OF_LOADER: Final = ("rules", "prices", "attributes", "templates", "sql", "timezone", "trace", "limits", "sampling")
"""Sections that mean what they mean in a configuration."""
_EVENTS: Final = {"fired": "firing", "firing": "firing", "resolved": "resolved", "reminder": "reminder"}
_DEFAULT_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DURATIONS: Final = ("latency", "time_to_first_token")


def _word(value: object) -> str:
    return written(value).strip().lower()


def _kind(value: object) -> str:
    word = _word(value)
    if word not in KINDS:
        raise ValueError(one_of(word, KINDS))
    return word


def _event(value: object) -> Transition:
    word = _word(value)
    if word not in _EVENTS:
        raise ValueError(one_of(word, tuple(_EVENTS)))
    return Transition(_EVENTS[word])


def _start(value: object) -> datetime:
    text = written(value).strip()
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text[:40]!r} is no time; write one like 2026-03-10T03:14Z") from error
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    if not datetime(1971, 1, 1, tzinfo=UTC) <= found < datetime(2200, 1, 1, tzinfo=UTC):
        raise ValueError("should be a time from 1971 to 2199")
    return found


def _several(value: object) -> object:
    """A list as it is, one thing alone as a list of it."""
    return value if isinstance(value, list | tuple) else [value]


def _silences(value: object) -> object:
    """`all`, a rule's name, or a list of names: for the whole test; or mappings with `between`."""
    parts = value if isinstance(value, list) else [value]
    if all(isinstance(part, dict) for part in parts):
        return parts
    return [{"rules": parts}]


def _numbers(value: object) -> tuple[float | None, ...]:
    return series_of(written(value).strip().removeprefix("$"))


def _flags(value: object) -> tuple[float | None, ...]:
    return (float(value),) if isinstance(value, bool) else series_of(written(value))


Values = Annotated[tuple[float | None, ...], BeforeValidator(_numbers)]
"""One for every span in turn, from the beginning again after the last; None: the span lacks it."""
Flags = Annotated[tuple[float | None, ...], BeforeValidator(_flags)]
Event = Annotated[Transition, BeforeValidator(_event)]
Word = Annotated[Severity, BeforeValidator(_word)]


class SpansConfig(Settings):
    """Spans that are alike; `{n}` in a text is the number of the span, from 0."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "values": "the name of the number, like judge_score: '0.8x60'",
        "duration": "latency",
        "error": "failed",
        "conversation_id": "conversation",
        "session": "conversation",
    }

    at: Duration = timedelta(0)
    """When the first of them ends, after the test's start."""
    every: Duration | None = None
    count: Annotated[int, Field(ge=1, le=MOST_VALUES)] | None = None
    kind: Annotated[str, BeforeValidator(_kind)] = "llm"
    model: Text | None = None
    provider: Text | None = None
    tenant: Text | None = None
    environment: Text | None = None
    service: Text | None = None
    conversation: Text | None = None
    agent: Text | None = None
    operation: Text | None = None
    tool: Text | None = None
    data_source: Text | None = None
    prompt_version: Text | None = None
    user: Text | None = None
    error_type: Text | None = None
    finish_reason: Text | None = None
    evaluation: Text | None = None
    response_id: Text | None = None
    input_tokens: Values = ()
    output_tokens: Values = ()
    cached_tokens: Values = ()
    reasoning_tokens: Values = ()
    cost: Values = ()
    """US dollars, as the span reports it; without it tokens times price."""
    latency: Values = ()
    """Milliseconds."""
    time_to_first_token: Values = ()
    """Milliseconds."""
    judge_score: Values = ()
    relevance_score: Values = ()
    top_score: Values = ()
    retrieved_count: Values = ()
    failed: Flags = ()
    trace: Text | None = None
    """Spans of one name are of one trace; without it every span has its own."""
    span: Text | None = None
    """A name by which others call it as their parent."""
    parent: Text | None = None
    attributes: dict[Text, Any] = Field(default_factory=dict)
    """Any others; keys with a dot may also stand beside `kind`."""

    @model_validator(mode="before")
    @classmethod
    def _dotted(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        dotted = {key: value for key, value in data.items() if isinstance(key, str) and "." in key}
        data = {key: _in_ms(value) if key in _DURATIONS else value for key, value in data.items() if key not in dotted}
        if not dotted:
            return data
        others = data.get("attributes") or {}
        return {**data, "attributes": {**others, **dotted} if isinstance(others, dict) else others}

    @model_validator(mode="after")
    def _repeats(self) -> "SpansConfig":
        if self.size > 1 and not self.every:
            raise ValueError("several spans need 'every'; add it, like every: 30s")
        return self

    @property
    def size(self) -> int:
        """How many spans these are."""
        longest = max((len(getattr(self, name)) for name in (*NUMBERS, "failed")), default=0)
        texts = (value for value in self.attributes.values() if isinstance(value, str))
        return self.count or max(1, longest, *(len(found) for text in texts if (found := attribute_series(text))))


def attribute_series(text: str) -> tuple[float | None, ...]:
    """Return the values of an attribute that is written as `0.8x60 0.4x30`; none where it is a text or one value."""
    if not is_series(text):
        return ()
    try:
        return series_of(text)
    except ValueError:
        return ()


def _in_ms(value: object) -> object:
    """Durations may have a unit, and a series of them is in milliseconds."""
    if isinstance(value, str) and value.strip()[-1:].isalpha() and " " not in value.strip():
        try:
            return str(nanoseconds(parse_duration(value)) / 1e6)
        except ValueError:
            return value
    return value


class SeriesConfig(Settings):
    """A series in promtool's form; each of its samples becomes a span."""

    series: Text
    values: Text
    kind: Annotated[str, BeforeValidator(_kind)] | None = None
    """Of the spans; None: what such a metric is usually about."""


class AlertConfig(Settings):
    """One alert that is expected; what is not written is not compared."""

    group: dict[str, Text] | None = None
    severity: Word | None = None
    value: Text | None = None
    threshold: Text | None = None
    summary: Text | None = None


class ExpectConfig(Settings):
    """All alerts of a rule at an instant, or that fired until then, or in between."""

    elsewhere: ClassVar[Mapping[str, str]] = {"exp_alerts": "alerts", "eval_time": "at", "alertname": "rule"}

    rule: Text
    at: Duration | None = None
    by: Duration | None = None
    between: Annotated[tuple[Duration, Duration], BeforeValidator(_several)] | None = None
    alerts: tuple[AlertConfig, ...]

    @model_validator(mode="after")
    def _one_time(self) -> "ExpectConfig":
        if sum(each is not None for each in (self.at, self.by, self.between)) != 1:
            raise ValueError("write one of 'at', 'by' and 'between': at: 12m, by: 3m, between: [1m, 3m]")
        if self.between is not None and self.between[0] > self.between[1]:
            raise ValueError("'between' begins after it ends; write the earlier time first")
        return self


class EventConfig(Settings):
    """One thing that happens to an alert."""

    rule: Text
    event: Event
    at: Duration | None = None
    within: Duration = timedelta(seconds=1)
    """How far from `at` it may happen."""
    group: dict[str, Text] | None = None
    severity: Word | None = None
    value: Text | None = None
    threshold: Text | None = None
    summary: Text | None = None
    notified: bool | None = None


class SilentConfig(Settings):
    """Rules of which nothing may fire."""

    rules: Names
    between: Annotated[tuple[Duration, Duration], BeforeValidator(_several)] | None = None


class PromAlertConfig(Settings):
    """`exp_alerts` of promtool."""

    exp_labels: dict[str, Text] = Field(default_factory=dict)
    exp_annotations: dict[str, Text] = Field(default_factory=dict)


class PromAlertTestConfig(Settings):
    """`alert_rule_test` of promtool."""

    eval_time: Duration
    alertname: Text
    exp_alerts: tuple[PromAlertConfig, ...] = ()


class TestConfig(Settings):
    """One test: what happens, and what is expected of the rules."""

    __test__ = False  # no class of tests for pytest

    name: Text = ""
    start: Annotated[datetime, BeforeValidator(_start)] = _DEFAULT_START
    interval: Duration | None = None
    until: Duration | None = None
    """How long it goes on; None: as long as the last time that is written, or span."""
    spans: tuple[SpansConfig, ...] = ()
    input_series: tuple[SeriesConfig, ...] = ()
    expect: tuple[ExpectConfig, ...] = ()
    events: tuple[EventConfig, ...] = ()
    silent: Annotated[tuple[SilentConfig, ...], BeforeValidator(_silences)] = ()
    alert_rule_test: tuple[PromAlertTestConfig, ...] = ()
    promql_expr_test: tuple[object, ...] = ()
    external_labels: dict[str, Text] = Field(default_factory=dict)
    external_url: Text = ""

    @property
    def start_ns(self) -> int:
        """Unix nanoseconds."""
        return nanoseconds(self.start - _EPOCH)


class TestFileConfig(Settings):
    """A file of tests; the sections of `OF_LOADER` are read as a configuration's."""

    __test__ = False

    config: Text | None = None
    rule_files: Annotated[tuple[Text, ...], BeforeValidator(_several)] = ()
    rules: object = None
    prices: object = None
    attributes: object = None
    templates: object = None
    sql: object = None
    timezone: object = None
    trace: object = None
    limits: object = None
    sampling: object = None
    interval: Duration = timedelta(minutes=1)
    """Between two values of a series."""
    evaluation_interval: Duration | None = None
    """Of promtool: rules are evaluated as spans arrive."""
    group_eval_order: tuple[Text, ...] = ()
    fuzzy_compare: bool = False
    tests: tuple[TestConfig, ...]
