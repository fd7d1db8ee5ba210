"""The templates that users write, `summary` and `dashboard_url`: Liquid, with bounds on what one may cost.

Liquid because it was made for templates of strangers: no attribute access, no calls, no imports. The limits
below hold loops, memory and output. A template that fails never fails an alert: the caller falls back, and
says so.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlsplit

from liquid import BoundTemplate, Environment, StrictDefaultUndefined
from liquid.exceptions import LiquidError

from tocsin.notify import wording

__all__ = ["VARIABLES", "TemplateError", "literal", "problem_of", "render", "render_url"]

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

_MAX_SUMMARY = 1000
_MAX_URL = 2000


class TemplateError(ValueError):
    """A template can't be parsed or rendered; the text says why, without the values it was given."""


class _Templates(Environment):
    """Liquid with what an alert's words need, and no more than they need."""

    loop_iteration_limit = 1_000
    local_namespace_limit = 64 * 1024
    output_stream_limit = 16 * 1024


class _Quoted(str):
    """Text that is percent-encoded already, so that a `url_encode` of the user's does not do it twice."""

    __slots__ = ()


def problem_of(template: str) -> str | None:
    """Return what is wrong with `template`, in one line, or None: for the check of a rule's text."""
    try:
        found = _parsed(template, urls=False).analyze()
    except (TemplateError, LiquidError) as error:
        return _said(error)
    unknown = [f"unknown filter {name!r}" for name in found.filters if name not in _TEXTS.filters]
    unknown += [
        f"unknown variable {name!r}; there are {', '.join(VARIABLES)}"
        for name in found.globals
        if name not in VARIABLES
    ]
    return wording.clean(unknown[0], 400) if unknown else None


def render(template: str, variables: Mapping[str, object]) -> str:
    """Return the text on one line.

    Raises:
        TemplateError: the template is wrong, names what is not there, or costs too much.
    """
    return wording.clean(_rendered(template, variables, urls=False), _MAX_SUMMARY)


def render_url(template: str, variables: Mapping[str, object]) -> str:
    """Return an http(s) address.

    Every variable's text is percent-encoded, so a value never adds a path or parameter.

    Raises:
        TemplateError: as `render`, or the result is no http(s) address.
    """
    url = _rendered(template, {name: _quoted(value) for name, value in variables.items()}, urls=True).strip()
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


def _rendered(template: str, variables: Mapping[str, object], *, urls: bool) -> str:
    parsed = _parsed(template, urls=urls)
    try:
        return parsed.render(**variables)
    except (LiquidError, ArithmeticError, ValueError, TypeError, RecursionError) as error:
        # Filters raise what Python raises on odd operands (a division by zero, a float of a word).
        raise TemplateError(_said(error)) from error


@lru_cache(maxsize=4096)
def _parsed(template: str, *, urls: bool) -> BoundTemplate:
    try:
        return (_URLS if urls else _TEXTS).from_string(template)
    except (LiquidError, RecursionError) as error:
        raise TemplateError(_said(error)) from error


def _said(error: Exception) -> str:
    message = error.message if isinstance(error, LiquidError) else error
    return wording.clean(message, 200)


def _quoted(value: object) -> object:
    match value:
        case str():
            return _Quoted(quote(wording.clean(value, 1024), safe=""))
        case Mapping():
            return {key: _quoted(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_quoted(inner) for inner in value]
        case _:
            return value


def _number(value: Any) -> float:  # noqa: ANN401  # a filter is given whatever stands before it
    return float(value)


def _duration(value: Any, unit: str = "s") -> str:  # noqa: ANN401
    scale = {"s": 1.0, "ms": 1e-3, "ns": 1e-9}.get(unit)
    if scale is None:
        raise ValueError("duration takes s, ms or ns")
    return wording.duration(_number(value) * scale)


def _url_encode(value: Any) -> _Quoted:  # noqa: ANN401
    return value if isinstance(value, _Quoted) else _Quoted(quote(str(value), safe=""))


def _environment(*, urls: bool) -> Environment:
    made = _Templates(undefined=StrictDefaultUndefined)
    made.add_filter("usd", lambda value: wording.usd(_number(value)))
    made.add_filter("percent", lambda value: wording.percent(_number(value)))
    made.add_filter("number", lambda value: wording.plain_number(_number(value)))
    made.add_filter("duration", _duration)
    made.add_filter("quantity", lambda value, unit="": wording.quantity(_number(value), str(unit)))
    if urls:
        made.add_filter("url_encode", _url_encode)
    return made


_TEXTS = _environment(urls=False)
_URLS = _environment(urls=True)
