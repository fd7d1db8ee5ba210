"""The checklist of a rule: each thing that it needs, whether it is there, and what to do where it is not."""

from collections.abc import Sequence
from typing import Any

from tocsin.api.editing import FieldProblem, Fields
from tocsin.model.settings import nanoseconds, parse_duration
from tocsin.rules import sql
from tocsin.rules.sql.config import SqlConfig

__all__ = ["checklist_of", "query_lines"]

_HOUR_NS = 3_600_000_000_000
_UNITS = {"second": "s", "minute": "m", "hour": "h", "day": "d"}


def checklist_of(fields: Fields, problems: Sequence[FieldProblem], names: SqlConfig) -> list[dict[str, Any]]:
    """Return the lines of a rule's checklist.

    Args:
        fields: the rule's.
        problems: what the whole check of it found.
        names: what names in queries stand for.
    """
    if isinstance(fields.get("sql"), str):
        lines = query_lines(fields["sql"], _interval_of(fields), names)
        rest = [one for one in problems if one.field.partition(".")[0] != "sql"]
        told = {line["advice"] for line in lines if not line["passed"]}
        if all(line["passed"] for line in lines):
            rest = list(problems)
        lines += [_line(one) for one in rest if one.detail not in told]
        return [*lines, _whole(problems)] if not rest else lines
    kind = "expr" if "expr" in fields else "condition" if "template" not in fields else "template"
    lines = []
    for name, keys in _parts(kind):
        own = [one for one in problems if one.field.partition(".")[0] in keys]
        lines += list(map(_line, own)) or [_passed(name, keys[0] if keys[0] in fields else "")]
    named = {key for _, keys in _parts(kind) for key in keys}
    lines += [_line(one) for one in problems if one.field.partition(".")[0] not in named]
    return lines


def query_lines(query: str, interval_ns: int, names: SqlConfig) -> list[dict[str, Any]]:
    """Return the lines of a query's checklist; `begin` and `end` are characters of it."""
    return [
        {
            "name": one.name,
            "passed": one.passed,
            "field": "sql",
            "begin": None if one.where is None else one.where[0],
            "end": None if one.where is None else one.where[1],
            "advice": one.advice,
        }
        for one in sql.checklist(query, interval_ns, names)  # imported as it is used
    ]


def _parts(kind: str) -> list[tuple[str, tuple[str, ...]]]:
    measured: dict[str, list[tuple[str, tuple[str, ...]]]] = {
        "expr": [("an expression that can be evaluated as data arrives", ("expr",))],
        "template": [("a template and its parameters", ("template", "with"))],
        "condition": [
            ("what is measured", ("metric", "attribute", "aggregate", "spans", "scope")),
            ("over which time", ("window", "timezone", "forecast", "baseline")),
            ("for whom", ("group_by",)),
            ("of which samples", ("filters", "min_samples", "sampling", "no_data")),
            ("a condition", ("condition",)),
            ("a threshold", ("threshold", "levels", "severity", "recovery_threshold")),
        ],
    }
    return [
        ("a name that is free", ("name", "project")),
        *measured[kind],
        ("contact points that exist", ("notify",)),
        ("templates that can be filled in", ("summary", "dashboard_url", "runbook_url", "labels", "description")),
        ("how long it lasts and what it does", ("for", "keep_firing_for", "cooldown", "notify_resolved", "actions")),
    ]


def _line(one: FieldProblem) -> dict[str, Any]:
    return {"name": one.field or "the rule", "passed": False, "field": one.field, "advice": one.detail}


def _passed(name: str, field: str) -> dict[str, Any]:
    return {"name": name, "passed": True, "field": field, "advice": ""}


def _whole(problems: Sequence[FieldProblem]) -> dict[str, Any]:
    if not problems:
        return _passed("bound, threshold, interval and all other fields", "")
    return {"name": "the rule", "passed": False, "field": "sql", "advice": problems[0].detail}


def _interval_of(fields: Fields) -> int:
    written = fields.get("interval")
    try:
        if isinstance(written, dict):
            unit = _UNITS[str(written["unit"]).removesuffix("s")]
            return max(1, nanoseconds(parse_duration(f"{int(written['count'])}{unit}")))
        return max(1, nanoseconds(parse_duration(written))) if written is not None else _HOUR_NS
    except (LookupError, ValueError, TypeError):
        return _HOUR_NS  # what is wrong with it is told of its own field
