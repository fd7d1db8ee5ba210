"""Unpriced models: calls whose cost nobody knows, and a price for them in one click."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, HTTPException, Request
from starlette.responses import Response

from tocsin.api.authorization import requires
from tocsin.api.changes import answered
from tocsin.api.contact_points import Admin
from tocsin.api.editing import Edits, RejectedError
from tocsin.errors import TocsinError
from tocsin.page.forms import Filled
from tocsin.page.shell import Link, Pages, Section, stay
from tocsin.pricing import PriceBook
from tocsin.pricing.unpriced import UnpricedModel
from tocsin.security.roles import Principal, Role

__all__ = ["unpriced_section"]

_SHOWN: Final = 50
_NEAR: Final = 3
_REMEMBERED: Final = 1_000
_KINDS: Final = ("input", "output", "cache_read", "cache_write")
"""What the form asks for, in US dollars per million tokens; the file can say more."""
_EVERY: Final = "every"


@dataclass(frozen=True, slots=True)
class _Near:
    """A model that the tables know, with a similar name."""

    model: str
    prices: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Row:
    """A model without a price."""

    one: UnpricedModel
    near: tuple[_Near, ...]
    """None for calls that lack something else than a price."""


def unpriced_section(pages: Pages, book: Callable[[], PriceBook], edits: Edits | None) -> Section:
    """Return the section of what `book` could not price; `edits` writes prices, where there is a file."""
    router = pages.routes()
    suggestions = _Suggestions()

    @router.get("/unpriced")
    async def table(
        request: Request, _: Annotated[Principal, Depends(requires(Role.READ, everywhere=True))]
    ) -> Response:
        """The most frequent first."""
        prices = book()
        listed = prices.unpriced()
        rows = [
            _Row(one, suggestions.of(prices, one.model) if one.model and one.reason == "no price" else ())
            for one in listed[:_SHOWN]
        ]
        return pages.render(
            request,
            "unpriced.html",
            rows=rows,
            more=max(0, len(listed) - _SHOWN),
            kinds=_KINDS,
            table=prices.table_version,
            editable=edits is not None,
        )

    @router.post("/unpriced/price")
    async def price(request: Request, _: Admin, form: Filled) -> Response:
        """Write an override; calls from now on are priced by it."""
        if edits is None:
            raise HTTPException(409, "this service has no file to write a price into")
        model, provider = form.raw("model"), form.raw("provider")
        key = model if form["for"] == _EVERY or not provider else f"{provider}/{model}"
        try:
            applied = await edits.add_price(key, {kind: _number(form[kind]) for kind in _KINDS if form[kind]})
        except RejectedError as error:
            told = "; ".join(f"{one.field}: {one.detail}" if one.field else one.detail for one in error.problems)
            raise HTTPException(422, told) from error
        except TocsinError as error:
            raise HTTPException(answered(error).status_code, str(error)) from error
        return stay(request, "/unpriced", applied.pending or f"{key} is priced from now on.")

    return Section(router, Link("/unpriced", "Unpriced models", everywhere=True))


class _Suggestions:
    """Models with similar names, looked for once: it takes some milliseconds each."""

    def __init__(self) -> None:
        self._book: PriceBook | None = None
        self._known: dict[str, tuple[_Near, ...]] = {}

    def of(self, book: PriceBook, model: str) -> tuple[_Near, ...]:
        """Return the nearest that have prices."""
        if book is not self._book or len(self._known) > _REMEMBERED:
            self._book, self._known = book, {}
        if model not in self._known:
            self._known[model] = tuple(_priced(book, model))[:_NEAR]
        return self._known[model]


def _priced(book: PriceBook, model: str) -> Iterator[_Near]:
    now = time.time_ns()
    for name in book.explain(None, model, at=now).near:
        known = book.explain(None, name, at=now)
        prices = {line.kind: f"{line.price.normalize():f}" for line in known.lines if line.kind in _KINDS}
        if known.priced and "input" in prices:
            yield _Near(name, prices)


def _number(text: str) -> object:
    """Return what a person wrote as a number that YAML has; what is none is told by the check of the file."""
    plain = text.strip().removeprefix("$").replace(",", ".")
    try:
        return int(plain) if plain.isascii() and plain.isdigit() else float(plain)
    except ValueError:
        return text[:80]
