"""Datadog's metric monitors as rules, and DDQL as people paste it.

A single metric becomes fields (`metric`, `aggregate`, `window` …), so that warning and critical are levels of one
alert; arithmetic becomes `expr`. Source: Datadog documentation, "Monitors API", "Monitor types".
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tocsin.rules.importing.ddquery import Comparison, Operation, Scalar, Term, parse_query
from tocsin.rules.importing.outcome import Imported, compiled_or_refused, named, severity_of
from tocsin.rules.importing.scopes import filters_of, label_named
from tocsin.rules.importing.yamltext import listed, seconds_text
from tocsin.rules.measures import Metric
from tocsin.rules.promql.names import Measured, Suffix, measured_of

__all__ = ["import_datadog", "import_ddql"]

_TYPES = ("metric alert", "query alert")
_OTHER_TYPES = {
    "composite": "it combines monitors; write one rule with `and` in `expr:`",
    "log alert": "it counts lines of a log; rules read spans, so compare a metric or an attribute of them",
    "service check": "it watches a check of an agent; use condition: absent for what stops",
    "slo alert": "an objective is a ratio over its window; write error_rate with a window",
    "trace-analytics alert": "write what it counts as metric: count with filters",
    "event-v2 alert": "rules read spans, no events",
    "process alert": "rules read spans, no processes",
    "synthetics alert": "rules read spans, no tests",
}
_CONDITIONS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_METRICS = {
    "ml_obs.span": Measured(Metric.COUNT),
    "ml_obs.span.error": Measured(Metric.ERROR_RATE),
    "ml_obs.span.llm.input.tokens": Measured(Metric.INPUT_TOKENS),
    "ml_obs.span.llm.output.tokens": Measured(Metric.OUTPUT_TOKENS),
    "ml_obs.span.llm.total.tokens": Measured(Metric.TOKENS),
    "ml_obs.span.duration": Measured(Metric.LATENCY, scale=0.001),
}
"""Metrics that Datadog's LLM Observability makes of spans; durations in seconds."""
_HANDLE = re.compile(r"(?<![\w.])@[\w.\-@]+")
_CONDITIONAL = re.compile(r"\{\{[^}]*\}\}")
_IGNORED_OPTIONS = frozenset(
    {
        *("thresholds", "notify_audit", "include_tags", "locked", "silenced", "new_host_delay", "evaluation_delay"),
        *("require_full_window", "notify_no_data", "no_data_timeframe", "renotify_interval", "on_missing_data"),
        *("notification_preset_name", "group_retention_duration", "new_group_delay", "escalation_message"),
        *("renotify_statuses", "renotify_occurrences", "avalanche_window", "threshold_windows", "variables"),
    }
)


def import_datadog(document: Any) -> Imported:  # noqa: ANN401  # any JSON
    """Return the rules of one monitor, of a list of them, or of `{"monitors": […]}`."""
    imported = Imported()
    if isinstance(document, Mapping) and isinstance(document.get("monitors"), list):
        document = document["monitors"]
    for number, monitor in enumerate(document if isinstance(document, list) else [document], 1):
        if not isinstance(monitor, Mapping) or "query" not in monitor:
            imported.refuse(f"monitor {number}", "it has no 'query', so it is no monitor")
            continue
        _monitor(monitor, named(monitor.get("name"), f"monitor-{number}"), imported)
    return imported


def import_ddql(text: str) -> Imported:
    """Return the rules of queries as they are pasted, an empty line between them."""
    imported = Imported()
    for part in re.split(r"\n\s*\n", text.strip()):
        try:
            query = parse_query(part)
            imported.add(_rule(_name_of(query), query, {}, imported))
        except ValueError as error:
            imported.refuse(" ".join(part.split())[:80], str(error))
    return imported


def _monitor(monitor: Mapping[str, Any], name: str, imported: Imported) -> None:
    kind = str(monitor.get("type", "query alert"))
    if kind not in _TYPES:
        why = _OTHER_TYPES.get(kind, "there are rules for metric monitors only")
        imported.refuse(name, f"a monitor of type {kind!r} has no equivalent: {why}")
        return
    written = monitor.get("options")
    options: Mapping[str, Any] = written if isinstance(written, Mapping) else {}
    try:
        rule = _rule(name, parse_query(str(monitor["query"])), options, imported, priority=monitor.get("priority"))
    except ValueError as error:
        imported.refuse(name, str(error))
        return
    rule["description"] = _description(name, monitor, imported)
    if options.get("notify_no_data") or options.get("on_missing_data") == "show_and_notify_no_data":
        rule["no_data"] = "alert"
    if isinstance(again := options.get("renotify_interval"), int) and again > 0:
        rule["cooldown"] = seconds_text(again * 60)
    tags = [str(tag).split(":", 1) for tag in listed(monitor.get("tags"))]
    rule["labels"] = {tag[0]: tag[1] for tag in tags if len(tag) == 2}
    for key, value in options.items():
        if key not in _IGNORED_OPTIONS and value not in (None, False, 0, "", [], {}):
            imported.refuse(f"{name}, option {key}", "rules have no such option")
    imported.add(rule)


def _description(name: str, monitor: Mapping[str, Any], imported: Imported) -> str:
    message = str(monitor.get("message") or "")
    if handles := _HANDLE.findall(message):
        why = "who is told are contact points; name yours in `notify:`"
        imported.refuse(f"{name}, {' '.join(dict.fromkeys(handles))}", why)
    text = _HANDLE.sub("", message)
    if _CONDITIONAL.search(text):
        why = "a description is the same for every group and state; what changes is written into `summary`"
        imported.refuse(f"{name}, {_CONDITIONAL.findall(text)[0]}", why)
        text = _CONDITIONAL.sub("", text)
    return " ".join(text.split())


def _rule(
    name: str, query: Comparison, options: Mapping[str, Any], imported: Imported, *, priority: object = None
) -> dict[str, Any]:
    """Return a rule's fields.

    Raises:
        ValueError: it has no equivalent; the text says why.
    """
    written = options.get("thresholds")
    limits: dict[str, Any] = dict(written) if isinstance(written, Mapping) else {}
    limits.setdefault("critical", query.threshold)
    if isinstance(query.value, Term):
        return _fields(name, query.value, query, limits, priority)
    expr = f"{_expression(query.value, query)} {query.sign} {query.threshold}"
    group_by = _labels(_terms(query.value))
    if compiled_or_refused(name, expr, tuple((label,) for label in group_by), imported) is None:
        raise ValueError(f"its expression would be {expr}")
    for key in limits.keys() - {"critical"}:
        imported.refuse(
            f"{name}, threshold {key}", "arithmetic becomes `expr`, which has one threshold; write a rule for each"
        )
    return {
        "name": name,
        "description": "",
        "severity": _severity(priority, is_monitor=query.time is not None),
        "expr": expr,
        "group_by": group_by,
    }


def _fields(name: str, term: Term, query: Comparison, limits: Mapping[str, Any], priority: object) -> dict[str, Any]:
    measured = _measured(term)
    aggregate, seconds = _aggregate(term, query)
    unit = "s" if measured.scale == 0.001 and aggregate not in ("count",) else ""
    if measured.metric is Metric.ERROR_RATE and aggregate == "sum":
        raise ValueError(f"{term.metric} counts failures; write metric: error_rate, a ratio, or `expr:`")
    fields: dict[str, Any] = {"name": name, "description": ""}
    levels = _levels(limits, unit)
    if len(levels) == 1:
        fields["severity"] = _severity(priority, is_monitor=query.time is not None)
    what = {"attribute": measured.attribute} if measured.attribute else {"metric": measured.metric.value}
    fields |= what | {"aggregate": aggregate, "window": seconds_text(seconds)}
    fields |= {"group_by": [label_named(tag) for tag in term.by], "filters": _filters(term)}
    fields["condition"] = _CONDITIONS[query.sign]
    if len(levels) == 1:
        return fields | {key: value for key, value in levels[0].items() if key != "severity"}
    return fields | {"levels": levels}


def _severity(priority: object, *, is_monitor: bool) -> str | None:
    """A monitor has a priority, or is critical by its threshold's name; a pasted query says neither."""
    if priority:
        return severity_of([f"p{priority}"])
    return "critical" if is_monitor else None


def _levels(limits: Mapping[str, Any], unit: str) -> list[dict[str, Any]]:
    found = []
    for key, severity in (("warning", "medium"), ("critical", "critical")):
        if limits.get(key) is None:
            continue
        level = {"severity": severity, "threshold": _threshold(limits[key], unit)}
        if limits.get(f"{key}_recovery") is not None:
            level["recovery_threshold"] = _threshold(limits[f"{key}_recovery"], unit)
        found.append(level)
    return found


def _threshold(value: object, unit: str) -> int | float | str:
    """A limit as YAML has it: a number, or a text with its unit."""
    try:
        number = Decimal(str(value)).normalize()
    except ArithmeticError:
        raise ValueError(f"the threshold {value!r} is no number") from None
    if unit:
        return f"{number:f}{unit}"
    return int(number) if number == number.to_integral_value() else float(number)


def _measured(term: Term) -> Measured:
    measured = _METRICS.get(term.metric) or measured_of(term.metric, quoted=True)
    if measured.suffix is not Suffix.NONE:
        raise ValueError(f"{term.metric} is a part of a histogram; name the attribute itself")
    return measured


def _filters(term: Term) -> dict[str, Any]:
    filters = filters_of(term.scope)
    return {label: values[0] if len(values) == 1 else values for label, values in filters.items()}


def _aggregate(term: Term, query: Comparison) -> tuple[str, int]:
    """Return how a window's samples become one value, and the window's seconds.

    Raises:
        ValueError: no single aggregate of samples is that.
    """
    time, seconds = query.time, query.seconds
    per_second = False
    for call, arguments in term.calls:
        match call:
            case "rollup" if len(arguments) == 2 and arguments[1].isdigit():
                if time is None:
                    time, seconds = arguments[0], int(arguments[1])
                elif arguments[0] != time:
                    raise ValueError(
                        f".rollup({', '.join(arguments)}) before {time}(last_…) is no aggregate of samples"
                    )
            case "as_count":
                pass
            case "as_rate":
                per_second = True
            case "fill":
                raise ValueError(".fill() has no equivalent: what is missing is no sample; use no_data")
            case _:
                raise ValueError(
                    f".{call}({', '.join(arguments)}) has no equivalent; write the window as .rollup(sum, 300)"
                )
    if time is None or seconds is None:
        raise ValueError("it says no window; begin it with sum(last_5m): or end it with .rollup(sum, 300)")
    if per_second:
        if (time, term.space) == ("avg", "sum"):
            return "rate", seconds
        raise ValueError(
            f"{time} of {term.space} as a rate is no aggregate of samples; use avg(last_5m):sum:….as_rate()"
        )
    if re.fullmatch(r"p\d.*", term.space):
        return term.space, seconds
    if time == term.space or (time, term.space) in (("percentile", "avg"),):
        return {"count": "count"}.get(time, time), seconds
    raise ValueError(
        f"{time} of {term.space} over points of a chart is no aggregate of samples; "
        f"use {time}(last_…):{time}:{term.metric}, or `expr:`"
    )


def _terms(value: Term | Scalar | Operation) -> list[Term]:
    match value:
        case Term():
            return [value]
        case Operation():
            return [*_terms(value.left), *_terms(value.right)]
        case Scalar():
            return []


def _labels(terms: list[Term]) -> list[str]:
    labels = [[label_named(tag) for tag in term.by] for term in terms]
    if any(set(each) != set(labels[0]) for each in labels):
        raise ValueError("its metrics are grouped by different tags; group all by the same")
    return labels[0] if labels else []


def _expression(value: Term | Scalar | Operation, query: Comparison) -> str:
    match value:
        case Scalar():
            return value.text
        case Operation():
            left, right = (_expression(side, query) for side in (value.left, value.right))
            return f"({left} {value.sign} {right})"
        case Term():
            return _selected(value, query)


def _selected(term: Term, query: Comparison) -> str:
    """Return a term as PromQL; groups are told apart by the rule's `group_by`."""
    measured = _measured(term)
    aggregate, seconds = _aggregate(term, query)
    matchers = [_matcher(label, values) for label, values in filters_of(term.scope).items()]
    name = measured.attribute or measured.metric.value
    selector = f"{{{', '.join([_quoted(name), *matchers])}}}[{seconds_text(seconds)}]"
    if aggregate.startswith("p"):
        text = f"quantile_over_time({Decimal(aggregate[1:]) / 100}, {selector})"
    else:
        text = f"rate({selector})" if aggregate == "rate" else f"{aggregate}_over_time({selector})"
    return f"{text} / 1000" if measured.scale == 0.001 and aggregate != "count" else text


def _matcher(label: str, values: list[str]) -> str:
    """Return filters of a label as one matcher; a list means any of them, or none where all are negated."""
    negated = all(value.startswith("!") for value in values)
    if not negated and any(value.startswith("!") for value in values):
        raise ValueError(f"{label} is both wanted and not wanted; write two rules")
    texts = [value.removeprefix("!").removeprefix("=") for value in values]
    name = _quoted(label) if "." in label else label
    if len(texts) == 1 and "*" not in texts[0]:
        return f"{name}{'!=' if negated else '='}{_quoted(texts[0])}"
    pattern = "|".join(re.escape(text).replace(r"\*", ".*") for text in texts)
    return f"{name}{'!~' if negated else '=~'}{_quoted(pattern)}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _name_of(query: Comparison) -> str:
    terms = _terms(query.value)
    return named(re.sub(r"[._]", "-", terms[0].metric) if terms else "expression")
