"""Datadog's scopes as filters: `{env:prod,!service:batch}` and `{env:prod AND model IN (a, b)}`."""

import re

from tocsin.rules.promql.names import label_of

__all__ = ["filters_of", "label_named"]

_TAGS = {"env": "environment", "service": "service", "version": "service.version"}
_IN = re.compile(
    r"(?P<not>NOT\s+|!\s*)?(?P<tag>[\w.\-@]+)\s+(?P<notin>NOT\s+)?IN\s*\((?P<values>[^()]*)\)", re.IGNORECASE
)
_PAIR = re.compile(r"(?P<not>NOT\s+|!|-)?(?P<tag>[\w.\-@]+)\s*:\s*(?P<value>[^\s,]+)", re.IGNORECASE)
_AND = re.compile(r"\s*(?:,|\bAND\b)\s*", re.IGNORECASE)
_SPECIAL = ("!", ">", "<", "~", "=")


def label_named(tag: str) -> str:
    """Return the label that a tag is.

    Raises:
        ValueError: it is none; the text says what would be.
    """
    name = tag.lstrip("@")
    return _TAGS.get(name) or label_of(name, quoted="." in name)


def filters_of(scope: str) -> dict[str, list[str]]:
    """Return a scope as the filters of a rule: label -> what its value must be.

    Raises:
        ValueError: some of it has no equivalent; the text says what.
    """
    found: dict[str, list[str]] = {}
    rest = scope.strip()
    if rest in ("", "*"):
        return found
    if "$" in rest:
        raise ValueError(f"{rest[:60]!r} has a template variable, which only a dashboard knows; write its value")
    if re.search(r"\bOR\b", rest, re.IGNORECASE):
        raise ValueError(f"{rest[:60]!r}: filters all hold, so OR between tags has no equivalent; write two rules")
    for part in _parts(rest):
        listed = _IN.fullmatch(part)
        pair = _PAIR.fullmatch(part)
        if listed is not None:
            negated = bool(listed["not"]) != bool(listed["notin"])
            values = [value.strip() for value in listed["values"].split(",") if value.strip()]
            found.setdefault(label_named(listed["tag"]), []).extend(
                _written(value, negated=negated) for value in values
            )
        elif pair is not None:
            label = label_named(pair["tag"])
            if label in found and not pair["not"]:
                raise ValueError(f"{label} has to be two values at once; leave one out")
            found.setdefault(label, []).append(_written(pair["value"], negated=bool(pair["not"])))
        elif part != "*":
            raise ValueError(f"{part[:60]!r} is no tag with a value; write tag:value")
    return found


def _parts(scope: str) -> list[str]:
    """The parts between commas and ANDs, outside parentheses."""
    guarded = re.sub(r"\([^()]*\)", lambda match: match[0].replace(",", "\0"), scope)
    return [part.replace("\0", ",").strip() for part in _AND.split(guarded) if part.strip()]


def _written(value: str, *, negated: bool) -> str:
    text = f"={value}" if value.startswith(_SPECIAL) else value
    return f"!{text}" if negated else text
