"""The pages of a running service: each section with what it needs of it."""

import time
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from tocsin import __version__
from tocsin.api.authorization import Reader
from tocsin.api.ruleset import Ruleset
from tocsin.notify.message import MessageWriter
from tocsin.page.charting import Recent
from tocsin.page.login import login_router
from tocsin.page.sections.alerts import AlertSources, alerts_section
from tocsin.page.sections.blocks import blocks_section
from tocsin.page.sections.closest import closest_section
from tocsin.page.sections.contact_points import contact_points_section
from tocsin.page.sections.health import HealthSources, health_section
from tocsin.page.sections.rule_editor import EditorSources, ReadyRule
from tocsin.page.sections.rules import RuleSources, rules_section
from tocsin.page.sections.silences import silences_section
from tocsin.page.sections.spend import spend_section
from tocsin.page.sections.unpriced import unpriced_section
from tocsin.page.shell import Pages, Section
from tocsin.rules.templates import built_in
from tocsin.service.resources import RunningRules, Shown

if TYPE_CHECKING:
    from tocsin.service.serve import Service

__all__ = ["FIRST", "pages_of"]

FIRST = "/alerts"
"""Where `/` leads."""


def pages_of(service: "Service") -> tuple[APIRouter, ...]:
    """Return the routes of the pages; those that change files where it has files. The order is the navigation's."""
    pages = Pages(__version__)
    sections = [*_watching(pages, service), *_changing(pages, service)]
    first = pages.routes()

    @first.get("/")
    async def beginning(request: Request, _: Reader) -> Response:
        """On to the page that is looked at most."""
        return RedirectResponse(request.scope.get("root_path", "") + FIRST, 303)

    return (first, login_router(pages), pages.router(*sections))


def _watching(pages: Pages, service: "Service") -> list[Section]:
    """Return the sections of what happens."""

    def writer() -> MessageWriter:
        configuration = service.loaded.configuration
        return MessageWriter(trace_url=configuration.trace_url, public_url=configuration.api.public_url)

    def lag() -> int | None:
        return time.time_ns() - service.engine.time if service.engine.time > 0 else None

    shown = Shown(service)
    alerts = AlertSources(service.database, service.routing, service.blocks, shown.units, writer)
    health = HealthSources(
        service.status, service.database, service.outbox, shown.figures, lag, lambda: service.watch.firing
    )
    return [
        alerts_section(pages, alerts),
        spend_section(pages, shown.spend),
        closest_section(pages, shown.series),
        silences_section(pages, service.database, service.routing),
        blocks_section(pages, service.blocks, service.database),
        unpriced_section(pages, lambda: service.prices, service.editing),
        health_section(pages, health),
    ]


def _changing(pages: Pages, service: "Service") -> list[Section]:
    """Return the sections of what stands in files, where there are any."""
    editing = service.editing
    if editing is None:
        return []
    shown, recorded = Shown(service), service.loaded.configuration.journal.enabled

    def templates() -> list[ReadyRule]:
        own = service.loaded.configuration.templates
        ready = [ReadyRule(name, one.description, one.parameters) for name, one in own.items()]
        for name, one in built_in().items():
            ready.append(ReadyRule(name, one.description, {key: node.plain() for key, node in one.parameters.items()}))
        return ready

    sources = RuleSources(
        Ruleset(editing, RunningRules(service)),
        Recent(shown.series),
        shown.tested,
        EditorSources(service.backtests if recorded else None, templates),
    )
    return [rules_section(pages, sources), contact_points_section(pages, editing, shown.tested)]
