"""What a person writes for a rule: the fields of its YAML, each checked on its own.

How they go together is checked by `tocsin.rules.compile`, their templates by `tocsin.notify.template`.
"""

import difflib
import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from functools import cache
from typing import Annotated, ClassVar
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, Field

from tocsin.model.settings import Duration, Settings, parse_duration
from tocsin.rules.calendar import Period
from tocsin.rules.document import WrittenFloat, WrittenInt
from tocsin.rules.problems import closest, one_of
from tocsin.rules.rule import Aggregate, Condition, Metric, NoData, Sampling, Scope, Severity

__all__ = [
    "ATTRIBUTE_PREFIX",
    "SHORT_NAMES",
    "SPAN_WORDS",
    "Against",
    "BaselineConfig",
    "BlockConfig",
    "Bound",
    "LevelConfig",
    "Mode",
    "RuleConfig",
    "TimeZone",
    "labels_of",
    "written",
]

SHORT_NAMES = (
    "model",
    "provider",
    "tenant",
    "environment",
    "service",
    "conversation",
    "agent",
    "operation",
    "tool",
    "data_source",
    "prompt_version",
    "user",
    "error_type",
    "finish_reason",
    "evaluation",
    "response_id",
    "trace",
)
"""Labels with a name of their own; every other label is an attribute's key."""

SPAN_WORDS = ("llm", "embeddings", "tool", "retrieval", "agent", "chain", "memory", "evaluation", "any")

ATTRIBUTE_PREFIX = "attribute:"


class Against(StrEnum):
    """Conditions that compare with a baseline."""

    BELOW = "below_baseline"
    ABOVE = "above_baseline"


class Bound(StrEnum):
    """On which side of the threshold the value of a query fires."""

    UPPER = "upper_bound"
    LOWER = "lower_bound"


class Mode(StrEnum):
    """Whether anybody is told."""

    LIVE = "live"
    SHADOW = "shadow"


_CONDITION_SIGNS = {
    ">": "gt",
    ">=": "gte",
    "<": "lt",
    "<=": "lte",
    "=": "eq",
    "==": "eq",
    "!=": "ne",
}
_MAX_NAME = 120
_MAX_LABEL = 255
_MAX_TEXT = 10_000
_INTERVAL_UNITS = {"second": "s", "minute": "m", "hour": "h", "day": "d"}
_QUANTILE = re.compile(r"p(\d{1,2}(\.\d+)?)")
_OR = re.compile(r"\s+or\s+")


def written(value: object) -> str:
    """Return a scalar of a YAML file as the text that a person would compare with.

    Numbers keep the way they were written (`1.10`), booleans are `true` and `false`, as an
    attribute's are.

    Raises:
        ValueError: it is no scalar, or nothing at all.
    """
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case WrittenInt() | WrittenFloat():
            return value.written
        case int() | float():
            return str(value)
        case None:
            raise ValueError("nothing is written here; write a value, or remove the key")
        case _:
            raise ValueError("should be one value, not a list or a mapping")


def _listed(value: object) -> object:
    """A list as it is, one scalar alone as a list of it."""
    return value if isinstance(value, list | tuple) else (written(value),)


def _word(value: object) -> str:
    return written(value).strip().lower()


def _name(value: object) -> str:
    name = written(value)
    if not name or name != name.strip() or not name.isprintable() or "/" in name or len(name) > _MAX_NAME:
        raise ValueError(f"should be 1 to {_MAX_NAME} printable characters without '/' and without spaces at its ends")
    return name


def _metric(value: object) -> str:
    if isinstance(value, dict):
        if list(value) != ["attribute"]:
            raise ValueError("should be a metric's name, or {attribute: KEY}")
        return ATTRIBUTE_PREFIX + _key(value["attribute"])
    name = written(value).strip()
    if name.startswith(ATTRIBUTE_PREFIX):
        return ATTRIBUTE_PREFIX + _key(name.removeprefix(ATTRIBUTE_PREFIX).strip())
    known = [metric.value for metric in Metric if metric not in (Metric.ATTRIBUTE, Metric.EXPRESSION)]
    if name.lower() in known:
        return name.lower()
    if name == "attribute":
        raise ValueError("which attribute? write 'attribute: KEY' in place of 'metric: attribute'")
    if "." in name:
        raise ValueError(f"{name[:80]!r} is no metric; to measure an attribute, write 'attribute: {name[:80]}' instead")
    raise ValueError(one_of(name, known))


def _key(value: object) -> str:
    key = written(value)
    if not key or not key.isprintable() or any(char.isspace() for char in key) or len(key) > _MAX_LABEL:
        raise ValueError(
            f"should be an attribute's key: 1 to {_MAX_LABEL} characters without spaces, like app.my.number"
        )
    return key


def _aggregate(value: object) -> str:
    word = _word(value)
    names = [aggregate.value for aggregate in Aggregate if aggregate is not Aggregate.QUANTILE]
    if word in names:
        return word
    if (quantile := _QUANTILE.fullmatch(word)) is None:
        raise ValueError(one_of(word, [*names, "p50 … p99.9"]))
    if not 0 < float(quantile[1]) < 100:
        raise ValueError(f"{word!r} is no percentile; write p50, p95, p99 or p99.9, or min and max for the ends")
    return word


def _condition(value: object) -> Condition | Against:
    word = _CONDITION_SIGNS.get(_word(value), _word(value))
    if not word:
        raise ValueError("nothing is written here; a bare '>' begins a text block in YAML: write gt, or quote it: '>'")
    if word in tuple(Against):
        return Against(word)
    known = [condition for condition in Condition if condition is not Condition.PRESENT]
    if word not in known:
        raise ValueError(one_of(word, [*known, *Against, *_CONDITION_SIGNS]))
    return Condition(word)


def _window(value: object) -> timedelta | Period:
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in tuple(Period):
        return Period(word)
    if word in ("hour", "quarter", "year"):
        raise ValueError(f"{word!r} is no window; write a duration, like 1h or 90d, or one of {', '.join(Period)}")
    return parse_duration(value)


def _interval(value: object) -> timedelta:
    if not isinstance(value, dict):
        return parse_duration(value)
    if set(value) != {"count", "unit"}:
        raise ValueError("should be {count: 1, unit: hours}, or 1h")
    unit = written(value["unit"]).strip().lower()
    if unit.removesuffix("s") not in _INTERVAL_UNITS:
        raise ValueError(one_of(unit, [f"{known}s" for known in _INTERVAL_UNITS]))
    count = value["count"]
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValueError("'count' should be a whole number, at least 1")
    return parse_duration(f"{int(count)}{_INTERVAL_UNITS[unit.removesuffix('s')]}")


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _timezone(value: object) -> str:
    name = written(value).strip()
    if name in _zones():
        return name
    cities = {zone.rpartition("/")[2].lower(): zone for zone in sorted(_zones())}
    near = difflib.get_close_matches(name.lower().replace(" ", "_"), cities, n=1, cutoff=0.75)
    advice = f"; did you mean {cities[near[0]]!r}?" if near else closest(name, _zones())
    raise ValueError(f"{name[:80]!r} is no time zone{advice or '; write one like Europe/Zurich, or UTC'}")


def _span_word(value: object) -> str:
    word = _word(value)
    if word not in SPAN_WORDS:
        raise ValueError(one_of(word, SPAN_WORDS))
    return word


def labels_of(entry: str) -> tuple[str, ...]:
    """Return the labels of one entry of `group_by`: `conversation or trace` is ("conversation", "trace").

    Raises:
        ValueError: one of them is no label.
    """
    return tuple(_label(label) for label in _OR.split(entry.strip()))


def _label(text: str) -> str:
    if not text or not text.isprintable() or any(char.isspace() for char in text) or len(text) > _MAX_LABEL:
        raise ValueError(f"{text[:80]!r} is no label; write a short name, like conversation, or an attribute's key")
    return text


def _alternatives(value: object) -> tuple[str, ...]:
    return labels_of(written(value))


def _distinct(entries: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    seen: set[str] = set()
    for label in (label for entry in entries for label in entry):
        if label in seen:
            raise ValueError(f"{label!r} stands here twice; name each label once")
        seen.add(label)
    return entries


def _filter_values(value: object) -> object:
    if value is None:
        raise ValueError("no value; write '*' for any value, or '!*' for samples without it")
    if isinstance(value, list) and not value:
        raise ValueError("an empty list, which nothing passes; name a value, or remove the label")
    items = value if isinstance(value, list | tuple) else (value,)
    # 1.10 in YAML is a number, and so may be the attribute, or a text like a version: either passes.
    numbers = [rendered_number(item) for item in items if isinstance(item, WrittenInt | WrittenFloat)]
    texts = [item.written for item in items if isinstance(item, WrittenInt | WrittenFloat)]
    return [*items, *(number for number, text in zip(numbers, texts, strict=True) if number != text)]


def rendered_number(value: float) -> str:
    """Return a number as the semantic conventions render an attribute's."""
    return str(int(value)) if isinstance(value, int) else repr(float(value))


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("should be a URL that begins with http:// or https://")
    return text


Text = Annotated[str, BeforeValidator(written), Field(max_length=_MAX_TEXT)]
Name = Annotated[str, BeforeValidator(_name)]
Names = Annotated[tuple[Text, ...], BeforeValidator(_listed)]
Label = Annotated[str, AfterValidator(_label)]
Alternatives = Annotated[tuple[str, ...], BeforeValidator(_alternatives)]
GroupBy = Annotated[tuple[Alternatives, ...], BeforeValidator(_listed), AfterValidator(_distinct)]
FilterValues = Annotated[tuple[Text, ...], BeforeValidator(_filter_values)]
TimeZone = Annotated[str, BeforeValidator(_timezone)]
"""A name of the IANA time zone database."""
SpanWords = Annotated[
    tuple[Annotated[str, BeforeValidator(_span_word)], ...], BeforeValidator(_listed), Field(min_length=1)
]


class LevelConfig(Settings):
    """One of a rule's `levels:`."""

    severity: Annotated[Severity, BeforeValidator(_word)]
    threshold: Text
    recovery_threshold: Text | None = None
    notify: Names | None = None


class BlockConfig(Settings):
    """One of a rule's `actions:`: the kill switch."""

    block: Annotated[str, BeforeValidator(_key)]
    ttl: Duration = timedelta(hours=1)


class BaselineConfig(Settings):
    """A rule's `baseline:`: the past that the present is compared with."""

    window: Duration = timedelta(days=7)
    offset: Duration | None = None
    """How long ago the baseline ends; None: one window of the rule, so that nothing is compared with itself."""
    min_samples: Annotated[int, Field(ge=1)] = 100
    exclude_incidents: bool = False


class RuleConfig(Settings):
    """A rule as it is written; docs/rules.md explains every field."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "query": "sql",
        "alert": "name",
        "annotations": "summary, description and runbook_url",
        "metric_type": "metric",
        "operator": "condition",
        "value": "threshold",
        "evaluation_window_minutes": "window",
        "agent_name": "filters, with the label agent",
        "cooldown_minutes": "cooldown",
        "tags": "labels",
        "contact_points": "notify",
    }
    """Keys of other products -> ours."""

    template: Text | None = None
    """Where the rest of it comes from: it was filled in before this was read."""
    with_: Annotated[dict[str, object], Field(alias="with", default_factory=dict)]
    name: Name
    project: Name = "default"
    description: Text = ""
    enabled: bool = True
    mode: Annotated[Mode, BeforeValidator(_word)] = Mode.LIVE
    severity: Annotated[Severity, BeforeValidator(_word)] | None = None
    scope: Annotated[Scope, BeforeValidator(_word)] | None = None
    spans: SpanWords | None = None
    metric: Annotated[str, BeforeValidator(_metric)] | None = None
    attribute: Annotated[str, BeforeValidator(_key)] | None = None
    aggregate: Annotated[str, BeforeValidator(_aggregate)] | None = None
    window: Annotated[timedelta | Period, BeforeValidator(_window)] | None = None
    timezone: TimeZone | None = None
    forecast: bool = False
    expr: Text | None = None
    sql: Text | None = None
    bound: Annotated[Bound, BeforeValidator(_word)] | None = None
    interval: Annotated[timedelta, BeforeValidator(_interval)] | None = None
    metric_name: Text | None = None
    baseline: BaselineConfig | None = None
    group_by: GroupBy = ()
    filters: dict[Label, FilterValues] = Field(default_factory=dict)
    condition: Annotated[Condition | Against, BeforeValidator(_condition)] | None = None
    threshold: Text | None = None
    levels: tuple[LevelConfig, ...] | None = None
    min_samples: Annotated[int, Field(ge=1)] = 1
    for_: Annotated[Duration, Field(alias="for")] = timedelta(0)
    keep_firing_for: Duration = timedelta(0)
    recovery_threshold: Text | None = None
    cooldown: Duration = timedelta(minutes=30)
    notify: Names = ()
    notify_resolved: bool = True
    no_data: Annotated[NoData, BeforeValidator(_word)] | None = None
    sampling: Annotated[Sampling, BeforeValidator(_word)] | None = None
    runbook_url: Annotated[Text, AfterValidator(_url)] | None = None
    dashboard_url: Text | None = None
    summary: Text | None = None
    labels: dict[str, Text] = Field(default_factory=dict)
    actions: tuple[BlockConfig, ...] = ()

    @property
    def measured(self) -> tuple[Metric, str | None] | None:
        """Metric and attribute key, as `metric:` and `attribute:` say together; None where they say none."""
        if self.attribute is not None:
            return Metric.ATTRIBUTE, self.attribute
        if self.metric is None:
            return None
        if self.metric.startswith(ATTRIBUTE_PREFIX):
            return Metric.ATTRIBUTE, self.metric.removeprefix(ATTRIBUTE_PREFIX)
        return Metric(self.metric), None
