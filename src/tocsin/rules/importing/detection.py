"""Which tool a text is of, and its import."""

import re
from collections.abc import Mapping
from typing import Any, Final

from tocsin.rules.importing.datadog import import_datadog, import_ddql
from tocsin.rules.importing.grafana import import_grafana
from tocsin.rules.importing.logql import looks_like_logql
from tocsin.rules.importing.outcome import Imported
from tocsin.rules.importing.prometheus import import_prometheus, import_promql
from tocsin.rules.importing.yamltext import documents_of, listed

__all__ = ["KINDS", "import_rules"]

KINDS: Final = ("prometheus", "datadog", "ddql", "logql", "grafana")
"""What rules are imported from."""

_DDQL = re.compile(r"\b(?:avg|sum|min|max|count|p\d{2}):[A-Za-z][\w.\-]*\s*\{")


def import_rules(text: str, kind: str | None = None) -> Imported:
    """Return the rules of a text, and what of it has no equivalent.

    Args:
        text: a file's content, or one query.
        kind: one of KINDS; None: what the text looks like.

    Raises:
        ValueError: the kind is none of those.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"{kind!r} is none of {', '.join(KINDS)}")
    if not text.strip():
        return _refused("nothing is written here")
    documents: list[Any] = []
    problem = ""
    try:
        documents = [each for each in documents_of(text) if isinstance(each, Mapping | list)]
    except ValueError as error:
        problem = str(error)
    if kind in ("ddql", "logql") or not documents:
        return _query(text, kind, problem)
    imported = Imported()
    for document in documents:
        match kind or _kind_of(document):
            case "datadog":
                imported.merge(import_datadog(document))
            case "grafana":
                imported.merge(import_grafana(document))
            case "prometheus":
                imported.merge(import_prometheus(document))
            case _ if len(documents) == 1:
                return _query(text, kind, "it is no rule file that is known")
            case _:
                imported.refuse("the file", "it is no rule file that is known; say which with --from")
    if not imported.rules and not imported.refused:
        imported.refuse("the file", "it has no rules")
    return imported


def _query(text: str, kind: str | None, problem: str) -> Imported:
    """One query, as people paste it."""
    if kind in ("datadog", "ddql") or (kind is None and _DDQL.search(text)):
        return import_ddql(text)
    if kind == "grafana" or (problem and re.search(r"^\s*(?:groups|alert|apiVersion)\s*:", text, re.MULTILINE)):
        return _refused(problem or "it is no provisioning file")
    if kind == "logql" and not looks_like_logql(text):
        return _refused("it has no pipeline after its stream selector, so it is no LogQL over a field; unwrap a number")
    return import_promql(text)


def _refused(why: str) -> Imported:
    imported = Imported()
    imported.refuse("the text", why)
    return imported


def _kind_of(document: Any) -> str | None:  # noqa: ANN401  # any YAML
    """Return the tool that writes such a document; None where none does."""
    if isinstance(document, list):
        return _kind_of(document[0]) if document else None
    if not isinstance(document, Mapping):
        return None
    if "monitors" in document or "query" in document:
        return "datadog"
    groups = document.get("groups") or _inner(document.get("spec")).get("groups")
    rules = [rule for group in listed(groups) for rule in listed(_inner(group).get("rules"))]
    if any("data" in _inner(rule) for rule in rules) or "data" in document:
        return "grafana"
    if groups is not None or "rules" in document or "alert" in document or "record" in document:
        return "prometheus"
    return None


def _inner(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
