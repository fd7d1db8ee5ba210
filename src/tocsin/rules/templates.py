"""Ready rules: `- template: NAME` becomes the rule that the template describes, before it is read as one.

A template is a rule with blanks: `%{name}` stands for a parameter, whose default the template gives and `with:`
changes. What a rule writes beside `template` replaces the template's own field. All is done on the nodes of the file,
so that every later mistake is told at the place where a person wrote what is wrong: at the field, at the parameter, or
at the template's name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from tocsin.model.settings import Settings
from tocsin.rules.config import RuleConfig, Text, written
from tocsin.rules.document import Node, parse
from tocsin.rules.problems import Mistake, Mistakes, closest, one_of, shown_key
from tocsin.rules.sql.templates import SQL_TEMPLATES, SqlTemplate
from tocsin.rules.validation import unknown_key

__all__ = ["Expanded", "Template", "TemplateConfig", "built_in", "expand", "templates_of"]

_BLANK: Final = re.compile(r"%\{([^{}]*)\}")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_REPLACED: Final = {"levels": ("severity", "threshold", "recovery_threshold"), "attribute": ("metric",)}
"""Fields that stand in place of others: with them, the template's own others go."""
_NOT_IN_TEMPLATES: Final = ("template", "with", "name")


def _mapping(value: object) -> object:
    return {} if value is None else value


class TemplateConfig(Settings):
    """One of the configuration's `templates:`."""

    description: Text = ""
    parameters: Annotated[dict[str, object], BeforeValidator(_mapping)] = Field(default_factory=dict)
    """Name -> default; null: `with` must say it."""
    rule: dict[str, object]
    """Fields of a rule, `%{parameter}` in their values."""


@dataclass(frozen=True, slots=True)
class Template:
    """A rule with blanks."""

    name: str
    description: str
    parameters: Mapping[str, Node]
    rule: Mapping[str, Node]

    @property
    def quoted(self) -> frozenset[str]:
        """Parameters that stand inside of a text."""
        texts = [text for node in self.rule.values() for text in _texts(node) if not _BLANK.fullmatch(text)]
        return frozenset(blank for text in texts for blank in _BLANK.findall(text))

    @property
    def content(self) -> object:
        """What tells it from another: everything as it was written, wherever it stands."""
        return (
            self.name,
            self.description,
            *(tuple((key, _content(node)) for key, node in part.items()) for part in (self.parameters, self.rule)),
        )


@dataclass(frozen=True, slots=True)
class Expanded:
    """A rule that was made from a template, or is none yet."""

    node: Node
    mistakes: tuple[Mistake, ...] = ()
    """Paths begin at the rule."""
    template: str | None = None
    lent: frozenset[str] = frozenset()
    """Keys of the rule that are the template's own."""


@cache
def built_in() -> Mapping[str, Template]:
    """Return the templates that come with the program."""
    text = files("tocsin.rules").joinpath("templates.yaml").read_text("utf-8")
    document, _ = parse(text, "templates.yaml")
    found, _ = templates_of(document.root)
    queries = {f"sql_{name}": _of_query(f"sql_{name}", ready) for name, ready in SQL_TEMPLATES.items()}
    return {**found, **queries}


def _of_query(name: str, ready: SqlTemplate) -> Template:
    """A ready query; its threshold and interval may be set."""
    parameters = {key: Node(1, 1, ready.fields[key]) for key in ("threshold", "interval")}
    blanks = {key: f"%{{{key}}}" for key in parameters}
    named = {"metric_name": name.removeprefix("sql_")}
    rule = {key: Node(1, 1, value) for key, value in {**ready.fields, **blanks, **named}.items()}
    return Template(name, ready.description, parameters, rule)


def templates_of(node: Node | None) -> tuple[Mapping[str, Template], list[Mistake]]:
    """Return the templates of a mapping of them, and what is wrong with them; paths begin at the mapping."""
    found: dict[str, Template] = {}
    mistakes = Mistakes()
    for name, (_, each) in ((node.entries if node else None) or {}).items():
        parameters, rule = (_entries(each.child(key)) for key in ("parameters", "rule"))
        if not _NAME.fullmatch(name):
            text = f"{shown_key(name)} is no template's name; write a letter, then letters, digits, '_' or '-'"
            mistakes.tell((name,), text, at_key=True)
        for key in rule:
            if key in _NOT_IN_TEMPLATES:
                text = f"{key!r} belongs to the rule that uses the template; remove it here"
                mistakes.tell((name, "rule", key), text, at_key=True)
            elif key not in _rule_keys():
                mistakes.tell((name, "rule", key), unknown_key(RuleConfig, key), at_key=True)
        blanks = {blank for value in rule.values() for blank in _blanks(value)}
        for blank in sorted(blanks - parameters.keys()):
            text = f"'%{{{blank}}}' is no parameter of it; add it under 'parameters', null where it must be given"
            mistakes.tell((name, "rule"), text)
        for unused in [key for key in parameters if key not in blanks]:
            mistakes.tell((name, "parameters", unused), f"nothing in 'rule' uses '%{{{unused}}}'", at_key=True)
        told = each.child("description")
        found[name] = Template(name, str(told.value) if told and told.value else "", parameters, rule)
    return found, mistakes


def expand(node: Node, templates: Mapping[str, Template]) -> Expanded:
    """Return a rule with the template filled in that it names; a rule that names none as it is.

    Args:
        node: the rule as it was written; not changed.
        templates: by name, the built-in ones included.
    """
    if node.entries is None or "template" not in node.entries:
        return Expanded(node)
    place, named = node.entries["template"]
    name = named.value if isinstance(named.value, str) else str(named.value)
    template = templates.get(name) or templates.get(name.replace("-", "_"))
    if template is None:
        return Expanded(node, (Mistake(("template",), one_of(name, sorted(templates))),))
    mistakes = Mistakes()
    given = _given(node, template, mistakes)
    if mistakes:
        return Expanded(node, tuple(mistakes))
    own = set(node.entries)
    hidden = {other for key in own for other in _REPLACED.get(key, ())}
    lent = {
        key: (place, _filled(value, given, named))
        for key, value in template.rule.items()
        if key not in own and key not in hidden
    }
    if "name" not in own:
        lent = {"name": (place, replace(named, value=template.name.replace("_", "-"))), **lent}
    if template.description and "description" not in own:
        lent["description"] = (place, replace(named, value=template.description))
    size = node.size + sum(1 + value.size for _, value in lent.values())
    return Expanded(replace(node, entries={**lent, **node.entries}, size=size), (), template.name, frozenset(lent))


def _given(node: Node, template: Template, mistakes: Mistakes) -> dict[str, Node]:
    """The parameters' values, as nodes where they stand."""
    settings = node.child("with")
    if settings is not None and settings.entries is None:
        mistakes.tell(("with",), f"should be a mapping of parameters: {', '.join(template.parameters) or 'none'}")
        return {}
    given = _entries(settings)
    for key in given:
        if key not in template.parameters:
            known = ", ".join(template.parameters) or "none"
            near = closest(key, template.parameters)
            if not near:
                near = "; write it beside 'template'" if key in _rule_keys() else f"; its parameters are {known}"
            mistakes.tell(("with", key), f"{shown_key(key)} is no parameter of {template.name!r}{near}", at_key=True)
    for key in given:
        default = template.parameters.get(key)
        # Inside of a query anything may be taken for a name of something.
        if default is not None and _is_number(default) and key in template.quoted and not _is_number(given[key]):
            mistakes.tell(("with", key), "should be a number")
    for key, default in template.parameters.items():
        if default.value is None and default.items is None and default.entries is None and key not in given:
            text = f"{template.name!r} needs {key!r}; add it, like with: {{{key}: …}}"
            mistakes.tell(("with",) if settings else ("template",), text)
    place = node.child("template") or node
    return {**{key: _filled(value, {}, place) for key, value in template.parameters.items()}, **given}


def _filled(value: Node, given: Mapping[str, Node], place: Node) -> Node:
    """A node of the template with its blanks filled in, at the place where a person named the template."""
    line, column = place.line, place.column
    if value.entries is not None:
        entries = {key: ((line, column), _filled(each, given, place)) for key, (_, each) in value.entries.items()}
        return Node(line, column, entries=entries, size=value.size)
    if value.items is not None:
        return Node(line, column, items=[_filled(each, given, place) for each in value.items], size=value.size)
    blanks = [blank for blank in _blanks(value) if blank in given]
    if not isinstance(value.value, str) or not blanks:
        return Node(line, column, value.value, secrets=value.secrets)
    if len(blanks) == 1 and _BLANK.fullmatch(value.value):
        return given[blanks[0]]
    text = _BLANK.sub(lambda found: _text_of(given[found[1]]) if found[1] in given else found[0], value.value)
    secrets = (*value.secrets, *(secret for blank in blanks for secret in given[blank].secrets))
    return Node(line, column, text, secrets=secrets)


def _text_of(node: Node) -> str:
    """A parameter inside of a text; a list in its place becomes text that is refused where it is read."""
    try:
        return written(node.value)
    except ValueError:
        return ""


def _blanks(node: Node) -> list[str]:
    return [blank for text in _texts(node) for blank in _BLANK.findall(text)]


def _texts(node: Node) -> list[str]:
    if node.entries is not None:
        return [text for _, each in node.entries.values() for text in _texts(each)]
    if node.items is not None:
        return [text for each in node.items for text in _texts(each)]
    return [node.value] if isinstance(node.value, str) else []


def _is_number(node: Node) -> bool:
    return isinstance(node.value, int | float) and not isinstance(node.value, bool)


def _entries(node: Node | None) -> dict[str, Node]:
    return {key: each for key, (_, each) in ((node.entries if node else None) or {}).items()}


def _content(node: Node) -> object:
    if node.entries is not None:
        return tuple((key, _content(each)) for key, (_, each) in node.entries.items())
    if node.items is not None:
        return tuple(_content(each) for each in node.items)
    return type(node.value).__name__, str(getattr(node.value, "written", node.value))


@cache
def _rule_keys() -> frozenset[str]:
    return frozenset(field.alias or name for name, field in RuleConfig.model_fields.items())
