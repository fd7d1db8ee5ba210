"""Grafana's provisioned alert rules: queries of Prometheus or Loki, with reduce, math and threshold expressions.

The chain of expressions is followed back from the condition, and becomes one PromQL expression.
Source: Grafana documentation, "Provision alerting resources" and "Write expression queries".
"""

import re
from collections.abc import Mapping
from typing import Any

from tocsin.rules.importing.outcome import Imported, compiled_or_refused, named, severity_of
from tocsin.rules.importing.prometheus import alert_rule
from tocsin.rules.importing.wording import liquid_of
from tocsin.rules.importing.yamltext import listed

__all__ = ["import_grafana"]

_SIGNS = {"gt": ">", "lt": "<", "gte": ">=", "lte": "<=", "eq": "==", "ne": "!="}
_NO_DATA = {"Alerting": "alert", "KeepLast": "keep", "OK": "ok"}
_REFERENCE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")
_SAME = ("last", "mean", "min", "max", "sum", "median")
"""Reducers of an instant query's one point are that point."""
_DEPTH = 20


def import_grafana(document: Any) -> Imported:  # noqa: ANN401  # any YAML
    """Return the rules of a provisioning file (`groups:` with `rules:` that have `data:`), or of one rule."""
    imported = Imported()
    groups = document.get("groups") if isinstance(document, Mapping) else None
    rules = [rule for group in listed(groups) for rule in listed(_mapping(group).get("rules"))]
    if not rules:
        rules = document if isinstance(document, list) else [document]
    for number, rule in enumerate(rules, 1):
        if not isinstance(rule, Mapping) or "data" not in rule:
            imported.refuse(f"rule {number}", "it has no 'data', so it is no provisioned alert rule")
            continue
        name = named(rule.get("title"), f"rule-{number}")
        try:
            _rule(name, rule, imported)
        except ValueError as error:
            imported.refuse(name, str(error))
    return imported


def _rule(name: str, rule: Mapping[str, Any], imported: Imported) -> None:
    chain = _Chain(name, rule, imported)
    expr = chain.text(str(rule.get("condition")), 0)
    found = alert_rule(name, expr, Imported())
    group_by = list(chain.group_by)
    compiled = compiled_or_refused(name, expr, tuple((label,) for label in group_by), imported)
    if compiled is None or found is None:
        return
    annotations = {
        key: value for key, value in _mapping(rule.get("annotations")).items() if not str(key).startswith("__")
    }
    labels = _mapping(rule.get("labels"))
    fields = {
        "name": name,
        "description": "",
        "enabled": False if rule.get("isPaused") else None,
        "severity": severity_of([labels["severity"]]) if "severity" in labels else None,
        "expr": expr,
        "group_by": group_by,
        "for": _duration(rule.get("for")),
        "keep_firing_for": _duration(rule.get("keepFiringFor", rule.get("keep_firing_for"))),
        "no_data": _NO_DATA.get(str(rule.get("noDataState", ""))),
        "summary": _summary(name, annotations, compiled.labels, imported),
        "runbook_url": annotations.pop("runbook_url", None),
        "labels": {str(key): str(value) for key, value in labels.items() if key != "severity"},
    }
    fields["description"] = str(annotations.pop("description", "")).strip()
    for key in annotations:
        imported.refuse(f"{name}, annotation {key}", "a rule has summary, description and runbook_url")
    if "notification_settings" in rule:
        imported.refuse(f"{name}, notification_settings", "name contact points in `notify:` of the rule")
    imported.add({key: value for key, value in fields.items() if value is not None})


def _summary(
    name: str, annotations: dict[str, Any], labels: tuple[tuple[str, ...], ...], imported: Imported
) -> str | None:
    text = annotations.pop("summary", None)
    if "{{" in str(annotations.get("description", "")):
        written = annotations.pop("description")
        if text is None:
            text = written
        else:
            why = "a description is the same for every group; write what changes into the summary"
            imported.refuse(f"{name}, annotation description", why)
    if text is None:
        return None
    try:
        return liquid_of(str(text), labels)
    except ValueError as error:
        imported.refuse(f"{name}, annotation summary", str(error))
        return None


class _Chain:
    """The queries and expressions of a rule by their refId."""

    def __init__(self, name: str, rule: Mapping[str, Any], imported: Imported) -> None:
        self.name = name
        self.imported = imported
        self.group_by: tuple[str, ...] = ()
        self._parts = {str(part.get("refId")): part for part in listed(rule.get("data")) if isinstance(part, Mapping)}

    def text(self, reference: str, depth: int) -> str:
        """Return what one of them is in PromQL.

        Raises:
            ValueError: it has no equivalent; the text says why.
        """
        part = self._parts.get(reference)
        if part is None or depth > _DEPTH:
            raise ValueError(f"no query or expression is called {reference!r}, or it refers to itself")
        model = _mapping(part.get("model"))
        kind = str(model.get("type", ""))
        if str(part.get("datasourceUid")) not in ("__expr__", "-100"):
            return self._query(reference, model)
        match kind:
            case "reduce":
                return self._reduce(reference, model, depth)
            case "threshold":
                return self._threshold(reference, model, str(model.get("expression")), depth)
            case "math":
                return self._math(reference, str(model.get("expression", "")), depth)
            case "classic_conditions":
                return self._classic(reference, model, depth)
            case _:
                raise ValueError(
                    f"{reference}: an expression of type {kind!r} has no equivalent; use reduce and threshold"
                )

    def _query(self, reference: str, model: Mapping[str, Any]) -> str:
        expr = model.get("expr")
        if not isinstance(expr, str) or not expr.strip():
            raise ValueError(f"{reference} is no query of Prometheus or Loki; write what it asks as `expr:` or `sql:`")
        inner = Imported()
        found = alert_rule(self.name, expr, inner)
        for what, taken in inner.notes:
            self.imported.note(what, taken)
        if found is None:
            raise ValueError(f"{reference}: {'; '.join(why for _, why in inner.refused)}")
        self.group_by = tuple(dict.fromkeys((*self.group_by, *found["group_by"])))
        return f"({found['expr']})"

    def _reduce(self, reference: str, model: Mapping[str, Any], depth: int) -> str:
        source = str(model.get("expression", "")).removeprefix("$")
        reducer = str(model.get("reducer", "last"))
        query = _mapping(_mapping(self._parts.get(source)).get("model"))
        instant = bool(query.get("instant")) or str(query.get("queryType", "")) == "instant"
        if reducer not in _SAME or (reducer != "last" and not instant):
            raise ValueError(
                f"{reference}: {reducer} over the points of a chart has no equivalent, as rules see every sample; "
                f"write it into the query, like {'avg' if reducer == 'mean' else reducer}_over_time(…[10m])"
            )
        return self.text(source, depth + 1)

    def _threshold(self, reference: str, model: Mapping[str, Any], source: str, depth: int) -> str:
        conditions = [each for each in listed(model.get("conditions")) if isinstance(each, Mapping)]
        if len(conditions) != 1:
            raise ValueError(f"{reference}: a threshold has one condition; write a rule for each")
        if "unloadEvaluator" in conditions[0]:
            self.imported.refuse(
                f"{self.name}, recovery of {reference}", "write the limit to come back over as `recovery_threshold:`"
            )
        return _compared(
            self.text(source.removeprefix("$"), depth + 1), _mapping(conditions[0].get("evaluator")), reference
        )

    def _classic(self, reference: str, model: Mapping[str, Any], depth: int) -> str:
        conditions = [each for each in listed(model.get("conditions")) if isinstance(each, Mapping)]
        if len(conditions) != 1:
            raise ValueError(
                f"{reference}: classic conditions of several queries have no equivalent; write them with `and`"
            )
        condition = conditions[0]
        reducer = str(_mapping(condition.get("reducer")).get("type", "last"))
        params = listed(_mapping(condition.get("query")).get("params"))
        if reducer not in ("last",) or not params:
            raise ValueError(f"{reference}: {reducer} over the points of a chart has no equivalent; use last")
        return _compared(self.text(str(params[0]), depth + 1), _mapping(condition.get("evaluator")), reference)

    def _math(self, reference: str, expression: str, depth: int) -> str:
        if "&&" in expression or "||" in expression or "!" in expression.replace("!=", ""):
            raise ValueError(
                f"{reference}: {expression[:60]!r} has no equivalent; write it with `and`, `or` and `unless`"
            )
        if re.search(r"[a-zA-Z_]+\s*\(", expression):
            raise ValueError(f"{reference}: functions of math have no equivalent; write PromQL's into the query")
        return _REFERENCE.sub(lambda match: self.text(match[1], depth + 1), expression.replace("**", "^"))


def _compared(text: str, evaluator: Mapping[str, Any], reference: str) -> str:
    kind = str(evaluator.get("type"))
    limits = [_limit(each, reference) for each in listed(evaluator.get("params"))]
    if kind in _SIGNS and limits:
        return f"{text} {_SIGNS[kind]} {limits[0]}"
    if kind == "within_range" and len(limits) == 2:
        return f"({text} > {min(limits)}) < {max(limits)}"
    if kind == "outside_range" and len(limits) == 2:
        return f"{text} < {min(limits)} or {text} > {max(limits)}"
    if kind == "no_value":
        return f"absent({text})"
    raise ValueError(f"{reference}: the condition {kind!r} has no equivalent; use gt or lt")


def _limit(value: object, reference: str) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{reference}: the threshold {value!r} is no number")  # noqa: TRY004  # a file's, not a caller's
    return value


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _duration(value: object) -> str | None:
    return None if value in (None, 0, "0", "0s", "") else str(value)
