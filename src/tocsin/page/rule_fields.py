"""The form of a rule: from the YAML's fields to texts of inputs, and back.

What was not touched in the form keeps the value that the file has, to the letter and the type, so that the change of
the file is as small as the change that was made. Fields that the form has no place for stay as they are.
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import orjson

from tocsin.api.editing import Fields
from tocsin.page.forms import Form
from tocsin.rules.config import ATTRIBUTE_PREFIX, written
from tocsin.rules.rule import Severity

__all__ = ["CONDITIONS", "Kind", "Texts", "fields_of", "kind_of", "texts_of"]

Texts = Mapping[str, str]
"""Name of an input -> what is in it; `on` in a check box that is ticked."""

CONDITIONS: Final = (
    ("gt", "> more than"),
    ("gte", "≥ at least"),
    ("lt", "< less than"),
    ("lte", "≤ at most"),
    ("eq", "= equal to"),
    ("ne", "≠ other than"),
    ("absent", "absent: no samples any more"),
    ("above_baseline", "above its baseline"),
    ("below_baseline", "below its baseline"),
)
_SIGNS: Final = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte", "=": "eq", "==": "eq", "!=": "ne"}
_UNITS: Final = {"second": "s", "minute": "m", "hour": "h", "day": "d"}


class Kind(StrEnum):
    """How a rule says what is measured."""

    MEASURE = "measure"
    EXPR = "expr"
    SQL = "sql"
    TEMPLATE = "template"


_MEASURED: Final = (
    *("metric", "attribute", "aggregate", "spans", "scope", "window", "timezone", "forecast", "group_by", "filters"),
    *("condition", "threshold", "levels", "recovery_threshold", "min_samples", "no_data", "sampling", "baseline"),
)
_QUERIED: Final = (
    *("sql", "bound", "interval", "metric_name", "threshold"),
    *("levels", "recovery_threshold", "filters", "no_data"),
)
_KINDS: Final[Mapping[Kind, frozenset[str]]] = {
    Kind.MEASURE: frozenset(_MEASURED),
    Kind.EXPR: frozenset(("expr", "group_by", "filters", "recovery_threshold", "no_data")),
    Kind.SQL: frozenset(_QUERIED),
    Kind.TEMPLATE: frozenset(("template", "with")),
}
"""Fields that say what is measured and when it is too much; a rule of another kind has none of the others."""
_ANY_KIND: Final = frozenset().union(*_KINDS.values())


def kind_of(fields: Fields) -> Kind:
    """Return which kind of rule it is."""
    for kind in (Kind.TEMPLATE, Kind.EXPR, Kind.SQL):
        if kind.value in fields:
            return kind
    return Kind.MEASURE


def texts_of(fields: Fields) -> dict[str, str]:
    """Return what the form shows of a rule."""
    found = {"kind": kind_of(fields).value}
    for key, part in _PARTS.items():
        found.update(part.show(fields.get(key)))
    if isinstance(fields.get("metric"), str) and fields["metric"].startswith(ATTRIBUTE_PREFIX):
        found["attribute"] = fields["metric"].removeprefix(ATTRIBUTE_PREFIX)
    if found["attribute"]:
        found["metric"] = "attribute"
    return found


def fields_of(form: Form, before: Fields) -> dict[str, Any]:
    """Return the fields that a form says.

    Args:
        form: what the browser sent.
        before: the rule as the form was filled in with it; empty for a new one.
    """
    try:
        kind = Kind(form["kind"])
    except ValueError:
        kind = Kind.MEASURE
    covered = (_PARTS.keys() - _ANY_KIND) | _KINDS[kind]
    stays = kind_of(before) is kind
    shown = texts_of(before)
    found: dict[str, Any] = {}
    for key, part in _PARTS.items():
        if key not in covered:
            if stays and key in before:
                found[key] = before[key]
            continue
        if key in before and part.names and all(form.raw(name).strip() == shown[name].strip() for name in part.names):
            found[key] = before[key]
            continue
        value = part.read(form, before.get(key))
        if value is not None:
            found[key] = value
    if kind is Kind.MEASURE:
        written_so = before.get("metric") == f"{ATTRIBUTE_PREFIX}{found.get('attribute')}"
        found.pop("metric" if form["metric"] == "attribute" and not written_so else "attribute", None)
    return {**found, **{key: value for key, value in before.items() if key not in _PARTS}}


@dataclass(frozen=True, slots=True)
class _Part:
    """The inputs of one field."""

    names: tuple[str, ...]
    """Of inputs with one text each; empty where an input may be there several times."""
    show: Callable[[Any], Texts]
    read: Callable[[Form, Any], Any]
    """None where it is left out."""


def _plain(text: str) -> Any:  # noqa: ANN401  # a scalar
    """A number where YAML would read one; else the text."""
    if re.fullmatch(r"-?(0|[1-9]\d{0,14})", text):
        return int(text)
    if re.fullmatch(r"-?(0|[1-9]\d{0,14})\.\d{1,12}", text) and not text.endswith("0"):
        return float(text)
    return text


def _text_of(value: object) -> str:
    try:
        return "" if value is None else written(value)
    except ValueError:
        return orjson.dumps(value, default=str).decode()


def _scalar(name: str, *, read: Callable[[str], Any] = _plain) -> _Part:
    return _Part(
        (name,), lambda value: {name: _text_of(value)}, lambda form, _: read(form[name]) if form[name] else None
    )


def _long(name: str) -> _Part:
    return _Part((name,), lambda value: {name: _text_of(value)}, lambda form, _: form.raw(name).rstrip() or None)


def _flag(name: str, *, default: bool) -> _Part:
    def show(value: object) -> Texts:
        return {name: "on" if (default if value is None else value is True) else ""}

    def read(form: Form, _: object) -> bool | None:
        ticked = bool(form[name])
        return None if ticked is default else ticked

    return _Part((name,), show, read)


def _listed(name: str) -> _Part:
    def show(value: object) -> Texts:
        return {name: _joined(value if isinstance(value, list | tuple) else [] if value is None else [value])}

    def read(form: Form, before: object) -> Any:  # noqa: ANN401  # a text or a list of texts
        found = _split(form[name])
        return found[0] if len(found) == 1 and not isinstance(before, list) else found or None

    return _Part((name,), show, read)


def _lines(name: str, *, several: bool) -> _Part:
    """A mapping, a line for each entry; `several`: with several values in one."""

    def line(value: object) -> str:
        return _joined(value if isinstance(value, list | tuple) else [value]) if several else _text_of(value)

    def show(value: object) -> Texts:
        entries = value.items() if isinstance(value, Mapping) else ()
        return {name: "\n".join(f"{key}: {line(each)}" for key, each in entries)}

    def read(form: Form, before: object) -> dict[str, Any] | None:
        known = before if isinstance(before, Mapping) else {}
        found: dict[str, Any] = {}
        for each in form.raw(name).splitlines():
            key, _, text = (part.strip() for part in each.partition(":"))
            if not key:
                continue
            if key in known and line(known[key]) == text:
                found[key] = known[key]
            elif several:
                values = _split(text)
                found[key] = values[0] if len(values) == 1 else values
            else:
                found[key] = _plain(text)
        return found or None

    return _Part((name,), show, read)


def _split(text: str) -> list[str]:
    """Values between commas; one with a comma in it stands in quotes."""
    rows = csv.reader([text.replace("\n", " ")], skipinitialspace=True)
    return [each.strip() for row in rows for each in row if each.strip()]


def _joined(values: Sequence[object]) -> str:
    return ", ".join(
        '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text for text in map(_text_of, values)
    )


def _show_condition(value: object) -> Texts:
    text = _text_of(value)
    return {"condition": _SIGNS.get(text, text)}


def _show_interval(value: object) -> Texts:
    if isinstance(value, Mapping):
        unit = _UNITS.get(str(value.get("unit", "")).removesuffix("s"), "")
        return {"interval": f"{_text_of(value.get('count'))}{unit}"}
    return {"interval": _text_of(value)}


def _show_baseline(value: object) -> Texts:
    given = value if isinstance(value, Mapping) else {}
    return {f"baseline_{key}": _text_of(given.get(key)) for key in ("window", "offset", "min_samples")}


def _read_baseline(form: Form, before: object) -> dict[str, Any] | None:
    found = dict(before) if isinstance(before, Mapping) else {}
    for key in ("window", "offset", "min_samples"):
        text = form[f"baseline_{key}"]
        if not text:
            found.pop(key, None)
        elif text != _text_of(found.get(key)):
            found[key] = _plain(text)
    return found or None


_LEVEL_INPUTS: Final = ("threshold", "recovery_threshold", "notify")


def _show_levels(value: object) -> Texts:
    given = (
        {str(each.get("severity")): each for each in value if isinstance(each, Mapping)}
        if isinstance(value, list)
        else {}
    )
    return {
        f"level_{severity}_{key}": _joined(each)
        if isinstance(each := given.get(severity, {}).get(key), list)
        else _text_of(each)
        for severity in Severity
        for key in _LEVEL_INPUTS
    }


def _read_levels(form: Form, _: object) -> list[dict[str, Any]] | None:
    return list(_levels(form)) or None


def _levels(form: Form) -> Iterator[dict[str, Any]]:
    for severity in Severity:
        threshold, recovery, notify = (form[f"level_{severity}_{key}"] for key in _LEVEL_INPUTS)
        if threshold:
            level: dict[str, Any] = {"severity": severity.value, "threshold": _plain(threshold)}
            if recovery:
                level["recovery_threshold"] = _plain(recovery)
            if notify:
                level["notify"] = _split(notify)
            yield level


def _show_actions(value: object) -> Texts:
    first = value[0] if isinstance(value, list) and value and isinstance(value[0], Mapping) else {}
    return {f"action_{key}": _text_of(first.get(key)) for key in ("block", "ttl")}


def _read_actions(form: Form, before: object) -> list[Any] | None:
    rest = list(before[1:]) if isinstance(before, list) else []
    if form["action_block"]:
        ttl = {"ttl": form["action_ttl"]} if form["action_ttl"] else {}
        rest.insert(0, {"block": form["action_block"], **ttl})
    return rest or None


def _show_notify(value: object) -> Texts:
    return {"notify": "\n".join(map(_text_of, value if isinstance(value, list) else [] if value is None else [value]))}


def _read_notify(form: Form, before: object) -> Any:  # noqa: ANN401  # a name or several
    chosen = form.all("notify")
    known = before if isinstance(before, list) else [before]
    ordered = [name for name in known if name in chosen] + [name for name in chosen if name not in known]
    if ordered == known:
        return before
    return ordered[0] if len(ordered) == 1 else ordered or None


_PARTS: Final[Mapping[str, _Part]] = {
    "name": _scalar("name", read=str),
    "project": _scalar("project", read=lambda text: None if text == "default" else text),
    "template": _scalar("template", read=str),
    "with": _lines("with", several=False),
    "description": _scalar("description", read=str),
    "enabled": _flag("enabled", default=True),
    "mode": _scalar("mode", read=str),
    "severity": _scalar("severity", read=str),
    "scope": _scalar("scope", read=str),
    "spans": _listed("spans"),
    "metric": _scalar("metric", read=str),
    "attribute": _scalar("attribute", read=str),
    "aggregate": _scalar("aggregate", read=str),
    "expr": _long("expr"),
    "sql": _long("sql"),
    "bound": _scalar("bound", read=str),
    "interval": _Part(("interval",), _show_interval, lambda form, _: form["interval"] or None),
    "metric_name": _scalar("metric_name", read=str),
    "window": _scalar("window", read=str),
    "timezone": _scalar("timezone", read=str),
    "forecast": _flag("forecast", default=False),
    "baseline": _Part(("baseline_window", "baseline_offset", "baseline_min_samples"), _show_baseline, _read_baseline),
    "group_by": _listed("group_by"),
    "filters": _lines("filters", several=True),
    "condition": _Part(("condition",), _show_condition, lambda form, _: form["condition"] or None),
    "threshold": _scalar("threshold"),
    "recovery_threshold": _scalar("recovery_threshold"),
    "levels": _Part(
        tuple(f"level_{severity}_{key}" for severity in Severity for key in _LEVEL_INPUTS), _show_levels, _read_levels
    ),
    "min_samples": _scalar("min_samples"),
    "no_data": _scalar("no_data", read=str),
    "sampling": _scalar("sampling", read=str),
    "for": _scalar("for", read=str),
    "keep_firing_for": _scalar("keep_firing_for", read=str),
    "cooldown": _scalar("cooldown", read=str),
    "notify": _Part((), _show_notify, _read_notify),
    "notify_resolved": _flag("notify_resolved", default=True),
    "summary": _long("summary"),
    "runbook_url": _scalar("runbook_url", read=str),
    "dashboard_url": _scalar("dashboard_url", read=str),
    "labels": _lines("labels", several=False),
    "actions": _Part(("action_block", "action_ttl"), _show_actions, _read_actions),
}
"""In the order in which a new rule has them."""
