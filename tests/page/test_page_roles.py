"""Every route of the page asks who is there, and what changes something asks for more than looking."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from tocsin.security.roles import Role
from tocsin.service.files import Watcher
from tocsin.service.pages import pages_of
from tocsin.service.serve import Service

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
OPEN = {"/login", "/logout", "/assets/{digest}/{path:path}"}
CHANGES_NOTHING = {"/rules/check", "/rules/backtest"}
"""Asked by POST since a form is sent along."""


def routes_of(router: APIRouter) -> Iterator[APIRoute]:
    for route in router.routes:
        if isinstance(route, APIRoute):
            yield route
        elif hasattr(route, "original_router"):
            yield from routes_of(route.original_router)


@pytest.fixture
def routes(tmp_path: Path) -> list[APIRoute]:
    config = tmp_path / "config.yaml"
    config.write_text(EXAMPLE.read_text() + f"\nstorage: {{directory: {tmp_path}/data}}\n")
    watcher = Watcher(config)
    return [route for router in pages_of(Service(watcher.load(), files=watcher)) for route in routes_of(router)]


def roles_of(route: APIRoute) -> list[Role]:
    asked = [each.call for each in route.dependant.dependencies if "requires" in str(each.call)]
    return [inspect.getclosurevars(call).nonlocals["role"] for call in asked if call is not None]


def test_every_route_of_the_page_says_which_role_it_needs(routes: list[APIRoute]) -> None:
    assert len(routes) > 20
    for route in routes:
        if route.path in OPEN:
            continue
        roles = roles_of(route)
        assert len(roles) == 1, route.path
        looks = route.methods == {"GET"} or route.path in CHANGES_NOTHING
        assert looks or roles[0].permits(Role.WRITE), route.path
        assert not route.include_in_schema, route.path


def test_no_route_of_the_page_is_one_of_the_api(routes: list[APIRoute]) -> None:
    for route in routes:
        assert not route.path.startswith(("/api", "/prometheus", "/metrics", "/healthz", "/readyz")), route.path
