"""The pages of a running service: each section with what it needs of it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from tocsin import __version__
from tocsin.api.authorization import Reader
from tocsin.notify.message import MessageWriter
from tocsin.page.login import login_router
from tocsin.page.sections.alerts import AlertSources, alerts_section
from tocsin.page.sections.blocks import blocks_section
from tocsin.page.sections.rules import rules_section
from tocsin.page.sections.silences import silences_section
from tocsin.page.shell import Pages, Section

if TYPE_CHECKING:
    from tocsin.service.serve import Service

__all__ = ["FIRST", "pages_of"]

FIRST = "/alerts"
"""Where `/` leads."""


def pages_of(service: "Service") -> tuple[APIRouter, ...]:
    """Return the routes of the pages; those that change files where it has files. The order is the navigation's."""
    pages = Pages(__version__)
    sections = [
        *_watching(pages, service),
        rules_section(pages),
        silences_section(pages, service.database, service.routing),
        blocks_section(pages, service.blocks, service.database),
    ]
    first = pages.routes()

    @first.get("/")
    async def beginning(request: Request, _: Reader) -> Response:
        """On to the page that is looked at most."""
        return RedirectResponse(request.scope.get("root_path", "") + FIRST, 303)

    return (first, login_router(pages), pages.router(*sections))


def _watching(pages: Pages, service: "Service") -> list[Section]:
    """Return the sections of what happens."""

    def units() -> Mapping[tuple[str, str], str]:
        return {rule.key: rule.unit for rule in service.engine.rules}

    def writer() -> MessageWriter:
        configuration = service.loaded.configuration
        return MessageWriter(trace_url=configuration.trace_url, public_url=configuration.api.public_url)

    alerts = AlertSources(service.database, service.routing, service.blocks, units, writer)
    return [alerts_section(pages, alerts)]
