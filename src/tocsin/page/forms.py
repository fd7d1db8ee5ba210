"""What a browser sends: the fields of a form, bounded in number."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final
from urllib.parse import parse_qs, urlsplit

from fastapi import Depends, HTTPException, Request

from tocsin.api.edge import PROOF_FIELD

__all__ = ["Filled", "Form", "form_of", "local_path"]

_MOST_FIELDS: Final = 1_000


class Form:
    """The fields of a form; what is not there is empty."""

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        """Return a field's text without blanks around it."""
        return self.raw(name).strip()

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def raw(self, name: str) -> str:
        """Return a field's text as it was sent, with line feeds only."""
        found = self._fields.get(name)
        return found[0].replace("\r\n", "\n") if found else ""

    def all(self, name: str) -> list[str]:
        """Return the texts of every field of that name that are not empty."""
        return [text.strip() for text in self._fields.get(name, ()) if text.strip()]

    def starting(self, prefix: str) -> list[str]:
        """Return the names that begin so, in order, without the prefix."""
        return [name.removeprefix(prefix) for name in self._fields if name.startswith(prefix)]


async def form_of(request: Request) -> Form:
    """Return the form in a request's body; a dependency of routes.

    Raises:
        HTTPException: it is none.
    """
    try:
        fields = parse_qs(
            (await request.body()).decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
        )
    except ValueError as error:
        raise HTTPException(400, "this is no form") from error
    fields.pop(PROOF_FIELD, None)
    return Form(fields)


Filled = Annotated[Form, Depends(form_of)]
"""Of a route's parameter: the form that was sent."""


def local_path(text: str, otherwise: str = "/") -> str:
    """Return where to go on to, if it is a path of ours: `next=//evil.example` is not."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return otherwise
    bad = parts.scheme or parts.netloc or not text.startswith("/") or text[1:2] in ("/", "\\")
    return otherwise if bad or not text.isascii() or not text.isprintable() or "\\" in text else text
