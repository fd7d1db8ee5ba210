"""The templates that users write: Liquid, with bounds on what one may cost, escaped for where it goes.

Liquid because it was made for templates of strangers: no attribute access, no calls, no imports. Values come from
spans, so they are escaped as they are filled in; what the author wrote stays as it is. A template that fails never
fails an alert: the caller falls back, and says so.
"""

from collections.abc import Collection, Mapping
from enum import Enum
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

import orjson
from liquid import BoundTemplate
from liquid.exceptions import LiquidError

from tocsin.notify import wording
from tocsin.notify.templating.bounds import BoundedEnvironment, SlowTemplateError
from tocsin.notify.templating.filters import filters_of, html_link, plain_link, quoted, slack_link
from tocsin.notify.templating.json_output import JsonEnvironment
from tocsin.rules.problems import closest

__all__ = [
    "VARIABLES",
    "Markup",
    "TemplateError",
    "literal",
    "problem_of",
    "render",
    "render_json",
    "render_text",
    "render_url",
]

VARIABLES = (
    "condition",
    "estimated",
    "event",
    "expression",
    "group",
    "peak",
    "rule",
    "samples",
    "severity",
    "subject",
    "summary",
    "suppressed",
    "threshold",
    "threshold_text",
    "trace_ids",
    "unit",
    "unpriced_samples",
    "value",
    "value_text",
    "window",
    "window_seconds",
)
"""What a template may name; docs/contact-points.md says what they are."""

_MAX_SUMMARY: Final = 1000
_MAX_URL: Final = 2000
_MAX_LINE: Final = 4_000


class TemplateError(ValueError):
    """A template can't be parsed or rendered; the text says why, without the values it was given."""

    def __init__(self, text: str, *, slow: bool = False) -> None:
        super().__init__(text)
        self.slow = slow
        """Whether it took too long: then it is not tried with every event."""


class Markup(Enum):
    """What a template writes, and so how values are escaped in it."""

    PLAIN = "plain"
    """Not escaped: the contact point does it, with everything that it sends."""
    URL = "url"
    """Percent-encoded."""
    SLACK = "slack"
    """Slack's mrkdwn: a value mentions nobody and is no link."""
    HTML = "html"
    JSON = "json"


def problem_of(template: str, markup: Markup = Markup.PLAIN, variables: Collection[str] = VARIABLES) -> str | None:
    """Return what is wrong with `template`, in one line, or None: for the check of a text that a person writes."""
    known = _ENVIRONMENTS[markup].filters
    try:
        found = _parsed(template, markup).analyze()
    except (TemplateError, LiquidError) as error:
        return _said(error)
    unknown = [f"unknown filter {name!r}{closest(name, known)}" for name in found.filters if name not in known]
    unknown += [
        f"unknown variable {name!r}{closest(name, variables) or '; there are ' + ', '.join(variables)}"
        for name in found.globals
        if name not in variables
    ]
    return wording.clean(unknown[0], 600) if unknown else None


def render(template: str, variables: Mapping[str, object]) -> str:
    """Return the text on one line.

    Raises:
        TemplateError: the template is wrong, names what is not there, or costs too much.
    """
    return wording.clean(_rendered(template, variables, Markup.PLAIN), _MAX_SUMMARY)


def render_text(template: str, variables: Mapping[str, object], markup: Markup) -> str:
    """Return text of several lines, without control characters, empty at neither end and nowhere for two lines.

    Raises:
        TemplateError: as `render`.
    """
    text = _rendered(template, variables, markup)
    if markup is Markup.SLACK:
        text = text.replace("&#39;", "'").replace("&#34;", '"')  # Slack knows three escapes, none of these
    lines: list[str] = []
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip(" "))
        kept = wording.clean(line, _MAX_LINE)
        if kept or (lines and lines[-1]):
            lines.append(" " * min(indent, 40) + kept if kept else "")
    return "\n".join(lines).strip()


def render_json(template: str, variables: Mapping[str, object]) -> bytes:
    """Return a JSON document.

    Raises:
        TemplateError: as `render`, or the result is no JSON.
    """
    text = _rendered(template, variables, Markup.JSON)
    try:
        return orjson.dumps(orjson.loads(text))
    except orjson.JSONDecodeError as error:
        raise TemplateError(f"the result is no JSON: {wording.clean(error, 120)}") from error


def render_url(template: str, variables: Mapping[str, object]) -> str:
    """Return an http(s) address.

    Every variable's text is percent-encoded, so a value never adds a path or parameter.

    Raises:
        TemplateError: as `render`, or the result is no http(s) address.
    """
    url = _rendered(template, {name: _quoted(value) for name, value in variables.items()}, Markup.URL).strip()
    if len(url) > _MAX_URL or url != wording.clean(url, _MAX_URL) or " " in url:
        raise TemplateError(f"the address is longer than {_MAX_URL} characters or has spaces or control characters")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise TemplateError(f"the address can't be read: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise TemplateError("the address does not begin with http:// or https:// and a host")
    return url


def literal(text: str) -> str:
    """Return a template that renders as `text`, whatever is in it."""
    safe = text.replace("{%", "{ %").replace("%}", "% }")
    return "{% raw %}" + safe + "{% endraw %}"


def _rendered(template: str, variables: Mapping[str, object], markup: Markup) -> str:
    parsed = _parsed(template, markup)
    try:
        return parsed.render(**variables)
    except (LiquidError, ArithmeticError, ValueError, TypeError, LookupError, RecursionError) as error:
        # Filters raise what Python raises on odd operands (a division by zero, a float of a word).
        raise TemplateError(_said(error), slow=isinstance(error, SlowTemplateError)) from error


@lru_cache(maxsize=4096)
def _parsed(template: str, markup: Markup) -> BoundTemplate:
    try:
        return _ENVIRONMENTS[markup].from_string(template)
    except (LiquidError, RecursionError) as error:
        raise TemplateError(_said(error)) from error


def _said(error: Exception) -> str:
    """Return the reason, and in which line where the template has several."""
    if not isinstance(error, LiquidError):
        return wording.clean(error, 200)
    text = wording.clean(error.message, 200)
    token = error.token
    if token is None or token.start_index < 0 or "\n" not in token.source.strip():
        return text
    return f"{text}, in line {token.source.count(chr(10), 0, token.start_index) + 1} of it"


def _quoted(value: object) -> object:
    match value:
        case str():
            return quoted(wording.clean(value, 1024))
        case Mapping():
            return {key: _quoted(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_quoted(inner) for inner in value]
        case _:
            return value


def _environments() -> dict[Markup, BoundedEnvironment]:
    made = {
        Markup.PLAIN: (BoundedEnvironment(), plain_link),
        Markup.URL: (BoundedEnvironment(), plain_link),
        Markup.SLACK: (BoundedEnvironment(autoescape=True), slack_link),
        Markup.HTML: (BoundedEnvironment(autoescape=True), html_link),
        Markup.JSON: (JsonEnvironment(), plain_link),
    }
    for environment, link in made.values():
        for name, function in filters_of(link).items():
            environment.add_filter(name, function)
    made[Markup.URL][0].add_filter("url_encode", quoted)
    return {markup: environment for markup, (environment, _) in made.items()}


_ENVIRONMENTS: Final = _environments()
