"""The filters that Liquid does not have: money, shares, durations, times, links, JSON."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import orjson
from liquid import Markup

from tocsin.notify import wording
from tocsin.notify.link import web_address

__all__ = ["Written", "filters_of", "html_link", "json_value", "plain_link", "quoted", "slack_link"]

_TIME: Final = "%Y-%m-%d %H:%M:%S %Z"
_FORMAT: Final = 100
"""Characters of a time's form."""

Link = Callable[[str | None, str], str]
"""Address, None where there is none, and text -> a link as the receiver writes them."""


class Written(str):
    """Text that is in the receiver's own form already, so that it is not escaped once more."""

    __slots__ = ()


def filters_of(link: Link) -> dict[str, Callable[..., object]]:
    """Return name -> filter, with links as `link` writes them."""
    return {
        "usd": lambda value: wording.usd(_number(value)),
        "percent": lambda value: wording.percent(_number(value)),
        "number": lambda value: wording.plain_number(_number(value)),
        "duration": _duration,
        "quantity": lambda value, unit="": wording.quantity(_number(value), str(unit)),
        "time": _time,
        "link": lambda url, text=None: link(web_address(None if url is None else str(url)), _text_of(text, url)),
        "json": lambda value: Written(json_value(value)),
    }


def json_value(value: object) -> str:
    """Return a value as JSON.

    Raises:
        TypeError: it has none.
    """
    return orjson.dumps(value, default=_plain).decode()


def plain_link(url: str | None, text: str) -> str:
    """Return `text: url`, where there is an address."""
    return text if url is None or text == url else f"{text}: {url}"


def html_link(url: str | None, text: str) -> str:
    """Return an anchor."""
    return Markup.escape(text) if url is None else Markup('<a href="{}">{}</a>').format(url, text)


def slack_link(url: str | None, text: str) -> str:
    """Return a link as Slack writes it; what would end it early is taken out."""
    if url is None:
        return Markup.escape(text)
    return Markup("<{}|{}>").format(url.replace("|", "%7C").replace(">", "%3E"), text.replace("|", "¦"))


def _text_of(text: object, url: object) -> str:
    return wording.clean(text if text else url or "")


def _plain(value: object) -> object:
    if isinstance(value, str):
        return str(value)
    if hasattr(value, "items"):
        return dict(value.items())
    raise TypeError(f"json can't write a {type(value).__name__}")


def _number(value: Any) -> float:  # noqa: ANN401  # a filter is given whatever stands before it
    return math.nan if value is None else float(value)


def _duration(value: Any, unit: str = "s") -> str:  # noqa: ANN401
    scale = {"s": 1.0, "ms": 1e-3, "ns": 1e-9}.get(unit)
    if scale is None:
        raise ValueError("duration takes s, ms or ns")
    return wording.duration(_number(value) * scale)


def _time(value: Any, zone: str = "UTC", form: str = _TIME) -> str:  # noqa: ANN401
    """Return the time on the wall in `zone` of a moment as `2026-01-06T03:14:10.123456Z`."""
    if value is None:
        return ""
    if len(form) > _FORMAT:
        raise ValueError(f"time takes a form of at most {_FORMAT} characters")
    try:
        where = UTC if zone == "UTC" else ZoneInfo(str(zone))
    except (KeyError, OSError, ValueError):
        raise ValueError(f"time does not know the zone {wording.clean(zone, 40)!r}") from None
    return datetime.fromisoformat(str(value)).astimezone(where).strftime(form)


def quoted(value: object) -> Written:
    """Return text for a part of an address, once: what is quoted already stays."""
    return value if isinstance(value, Written) else Written(quote(str(value), safe=""))
