"""Alerting rule files of Prometheus, and of Loki's ruler, which have the same form.

Source: Prometheus documentation, "Alerting rules" and "Recording rules".
"""

import re
from collections.abc import Mapping
from typing import Any

from tocsin.rules.importing.logql import looks_like_logql, promql_of
from tocsin.rules.importing.outcome import Imported, compiled_or_refused, named, severity_of
from tocsin.rules.importing.wording import liquid_of
from tocsin.rules.importing.yamltext import listed

__all__ = ["alert_rule", "import_prometheus", "import_promql"]

_KNOWN = ("alert", "expr", "for", "keep_firing_for", "labels", "annotations", "record")
_YEARS = re.compile(r"(\d+)y")
_URL = re.compile(r"https?://\S+")


def import_prometheus(document: Any) -> Imported:  # noqa: ANN401  # any YAML
    """Return the rules of a rule file (`groups:`), of one group, of a list of rules, or of one rule."""
    imported = Imported()
    for place, group, rule in _rules_of(document):
        if not isinstance(rule, Mapping):
            imported.refuse(place, "it is no rule: a rule has 'alert' and 'expr'")
        elif "record" in rule:
            why = "a recording rule makes a series, and rules read spans; write its expression into what uses it"
            imported.refuse(f"{place}, record {rule['record']!r}", why)
        elif "alert" not in rule or "expr" not in rule:
            imported.refuse(place, "it has no 'alert' and 'expr', so it says nothing to fire on")
        else:
            labels = {**_mapping(group.get("labels")), **_mapping(rule.get("labels"))}
            _alert(rule, labels, imported)
    if not imported.rules and not imported.refused:
        imported.refuse(
            "the file", "it has no rules: a rule file has groups: [{name: …, rules: [{alert: …, expr: …}]}]"
        )
    return imported


def import_promql(text: str) -> Imported:
    """Return the rule that a bare expression becomes."""
    imported = Imported()
    expr = text.strip()
    rule = alert_rule(_name_of(expr), expr, imported)
    if rule is not None:
        imported.add(rule)
    return imported


def alert_rule(name: str, expr: str, imported: Imported) -> dict[str, Any] | None:
    """Return a rule of an expression, PromQL or LogQL; None, and why among what is refused, where it can't be one."""
    group_by: tuple[str, ...] = ()
    if looks_like_logql(expr):
        try:
            expr, group_by, taken = promql_of(expr)
        except ValueError as error:
            imported.refuse(name, str(error))
            return None
        for each in taken:
            imported.note(name, each)
    if compiled_or_refused(name, expr, tuple((label,) for label in group_by), imported) is None:
        return None
    return {"name": name, "expr": expr.strip(), "group_by": list(group_by)}


def _name_of(expr: str) -> str:
    word = re.search(r"[A-Za-z_][A-Za-z0-9_.]{3,}(?=\s*[\[{])", expr) or re.search(r"[a-z]+(?:_[a-z0-9]+)+", expr)
    return named(re.sub(r"[._]", "-", word[0]) if word else "expression")


def _rules_of(document: Any) -> list[tuple[str, Mapping[str, Any], Any]]:  # noqa: ANN401
    """Return (place, group, rule) for each rule of a document."""
    if isinstance(document, Mapping) and isinstance(document.get("spec"), Mapping) and "groups" in document["spec"]:
        document = document["spec"]  # a PrometheusRule of the operator
    if isinstance(document, Mapping) and isinstance(document.get("groups"), list):
        groups = document["groups"]
    elif isinstance(document, Mapping) and isinstance(document.get("rules"), list):
        groups = [document]
    elif isinstance(document, list):
        groups = [{"rules": document}]
    else:
        groups = [{"rules": [document]}]
    found: list[tuple[str, Mapping[str, Any], Any]] = []
    for at, group in enumerate(groups, 1):
        if not isinstance(group, Mapping):
            found.append((f"group {at}", {}, group))
            continue
        for number, rule in enumerate(listed(group.get("rules")), 1):
            found.append((f"group {group.get('name', at)!s}, rule {number}", group, rule))
    return found


def _alert(written: Mapping[str, Any], labels: Mapping[str, Any], imported: Imported) -> None:
    name = named(written["alert"])
    expr = str(written["expr"])
    rule = alert_rule(name, expr, imported)
    if rule is None:
        return
    compiled = compiled_or_refused(name, rule["expr"], tuple((label,) for label in rule["group_by"]), imported)
    groups = () if compiled is None else compiled.labels
    annotations = dict(_mapping(written.get("annotations")))
    summary, description = _texts(name, annotations, groups, imported)
    fields = {
        "name": name,
        "description": description,
        "severity": severity_of([labels["severity"]]) if "severity" in labels else None,
        "expr": rule["expr"],
        "group_by": rule["group_by"],
        "for": _duration(written.get("for")),
        "keep_firing_for": _duration(written.get("keep_firing_for")),
        "summary": summary,
        "runbook_url": _url(annotations.pop("runbook_url", annotations.pop("runbook", None))),
        "dashboard_url": _url(annotations.pop("dashboard_url", annotations.pop("dashboard", None))),
        "labels": _labels(name, labels, imported),
    }
    if "severity" in labels and fields["severity"] is None:
        imported.refuse(
            f"{name}, severity", f"{labels['severity']!r} is none here; write critical, high, medium or low"
        )
    for key in annotations:
        imported.refuse(f"{name}, annotation {key}", "a rule has summary, description, runbook_url and dashboard_url")
    for key in written:
        if key not in _KNOWN:
            imported.refuse(f"{name}, {key}", "Prometheus has no such field, and neither have rules")
    imported.add(fields)


def _texts(
    name: str, annotations: dict[str, Any], labels: tuple[tuple[str, ...], ...], imported: Imported
) -> tuple[str | None, str | None]:
    """Return summary and description; only the summary is a template."""
    summary = annotations.pop("summary", annotations.pop("title", None))
    description = annotations.pop("description", annotations.pop("message", None))
    if description is not None and "{{" in str(description):
        if summary is None:
            summary, description = description, None
        else:
            why = "a description is the same for every group; write what changes into the summary"
            imported.refuse(f"{name}, annotation description", why)
            description = None
    if summary is not None:
        try:
            summary = liquid_of(str(summary), labels)
        except ValueError as error:
            imported.refuse(f"{name}, annotation summary", str(error))
            summary = None
    return summary, None if description is None else str(description).strip()


def _labels(name: str, labels: Mapping[str, Any], imported: Imported) -> dict[str, str]:
    found = {}
    for key, value in labels.items():
        if key == "severity":
            continue
        if "{{" in str(value):
            imported.refuse(
                f"{name}, label {key}", "labels of a rule are the same for every group; leave templates out"
            )
        else:
            found[str(key)] = str(value)
    return found


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _duration(value: object) -> str | None:
    """Prometheus' durations are those of rules, but for years."""
    if value in (None, 0, "0", "0s", ""):
        return None
    return _YEARS.sub(lambda match: f"{int(match[1]) * 365}d", str(value).replace(" ", ""))


def _url(value: object) -> str | None:
    return str(value) if value is not None and _URL.fullmatch(str(value)) else None
