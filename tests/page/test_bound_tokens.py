"""Whoever's token is bound to projects sees and writes those on the page, and learns nothing of others."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from page_scene import written
from running_service import RunningService

RULES = """
- {name: ours, project: search, metric: cost, condition: gt, threshold: 3}
- {name: theirs, project: chat, metric: cost, condition: gt, threshold: 12345}
"""
TOKENS = (
    "tokens: [{name: bound, token: a-token-of-search-only, role: write, projects: [search]},"
    " {name: reader, token: a-token-to-look-only, role: read}]"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    config = written(tmp_path_factory.mktemp("bound") / "tocsin.yaml", rules=RULES, api=TOKENS)
    with RunningService(config) as service:
        yield f"http://{service.addresses['api']}", config


@contextmanager
def logged_in(address: str, token: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=address, trust_env=False, timeout=30) as client:
        assert client.post("/login", data={"token": token}).status_code == 303
        found = re.search(r'name="_proof" value="([^"]+)"', client.get("/rules").text)
        assert found is not None
        client.headers["x-tocsin-proof"] = found[1]
        yield client


def test_a_bound_token_sees_its_projects_only(address: tuple[str, Path]) -> None:
    with logged_in(address[0], "a-token-of-search-only") as client:
        page = client.get("/rules").text
        assert "ours" in page
        assert "theirs" not in page
        for path in (
            "/rules/chat/theirs",
            "/rules/edit?project=chat&name=theirs",
            "/rules/new?project=chat&like=theirs",
        ):
            assert client.get(path).status_code == 404, path
        assert client.get("/rules/search/ours").status_code == 200


def test_a_bound_token_changes_and_learns_nothing_of_another_project(address: tuple[str, Path]) -> None:
    before = address[1].read_text()
    rule = {
        "kind": "measure",
        "metric": "cost",
        "condition": "gt",
        "threshold": "1",
        "name": "theirs",
        "project": "chat",
    }
    known = {"original": "theirs", "original_project": "chat", "tag": '"guess"'}
    with logged_in(address[0], "a-token-of-search-only") as client:
        for path, fields in (
            ("/rules/check", rule),
            ("/rules/check", {**rule, **known}),
            ("/rules/save", rule),
            ("/rules/save", {**rule, **known}),
            ("/rules/save", {**rule, **known, "again": "yes"}),
            ("/rules/switch", {"project": "chat", "name": "theirs", "on": ""}),
            ("/rules/delete", {"project": "chat", "name": "theirs"}),
            ("/rules/test", {"project": "chat", "name": "theirs"}),
            ("/rules/backtest", {**rule, "saved": "yes"}),
        ):
            answer = client.post(path, data=fields)
            assert answer.status_code in (403, 404), (path, answer.status_code)
            assert "12345" not in answer.text
    assert address[1].read_text() == before


def test_who_may_only_look_changes_nothing(address: tuple[str, Path]) -> None:
    before = address[1].read_text()
    with logged_in(address[0], "a-token-to-look-only") as client:
        for path in ("/rules/save", "/rules/switch", "/rules/delete", "/rules/test"):
            assert client.post(path, data={"project": "search", "name": "ours"}).status_code == 403, path
        assert client.get("/rules/new").status_code == 403
        checked = client.post("/rules/check", data={"kind": "measure", "name": "new", "metric": "cost"})
        assert (checked.status_code, "not right yet" in checked.text) == (200, True)
    assert address[1].read_text() == before
