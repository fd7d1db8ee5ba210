"""The pages of a running service: each section with what it needs of it."""

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from tocsin import __version__
from tocsin.api.authorization import Reader
from tocsin.page.login import login_router
from tocsin.page.sections.rules import rules_section
from tocsin.page.shell import Pages

if TYPE_CHECKING:
    from tocsin.service.serve import Service

__all__ = ["FIRST", "pages_of"]

FIRST = "/rules"
"""Where `/` leads."""


def pages_of(service: "Service") -> tuple[APIRouter, ...]:
    """Return the routes of the pages; those that change files where it has files. The order is the navigation's."""
    pages = Pages(__version__)
    sections = [rules_section(pages)]
    first = pages.routes()

    @first.get("/")
    async def beginning(request: Request, _: Reader) -> Response:
        """On to the page that is looked at most."""
        return RedirectResponse(request.scope.get("root_path", "") + FIRST, 303)

    return (first, login_router(pages), pages.router(*sections))
