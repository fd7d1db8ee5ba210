"""Who sees the page, and what a browser must show that changes something."""

import re
from http.cookies import SimpleCookie

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_server import serving_pages

from tocsin.api.config import ApiConfig
from tocsin.page.forms import local_path
from tocsin.security.sessions import Sessions, session_id_of

TOKENS = {role: f"{role}-token-of-the-tests" for role in ("ingest", "read", "write")}


def tokens(*roles: str) -> list[dict[str, str]]:
    return [{"name": f"the {role}", "token": TOKENS[role], "role": role} for role in roles]


async def log_in(client: httpx2.AsyncClient, role: str, **headers: str) -> httpx2.Response:
    return await client.post("/login", data={"token": TOKENS[role], "next": "/trial"}, headers=headers)


async def proof_of(client: httpx2.AsyncClient) -> str:
    found = re.search(r'name="_proof" value="([^"]+)"', (await client.get("/trial")).text)
    assert found is not None
    return found[1]


async def test_a_browser_without_a_session_is_sent_to_the_login_and_a_program_is_told() -> None:
    async with serving_pages(tokens=tokens("read")) as (client, _):
        page = await client.get("/trial?detail=a&b", headers={"accept": "text/html"})
        assert (page.status_code, page.headers["location"]) == (303, "/login?next=%2Ftrial%3Fdetail%3Da%26b")
        part = await client.get("/trial", headers={"hx-request": "true"})
        assert (part.status_code, part.headers["hx-redirect"]) == (401, "/login")
        program = await client.get("/api/openapi.json", headers={"accept": "text/html"})
        assert (program.status_code, program.headers["www-authenticate"]) == (401, "Bearer")
        assert (await client.get("/login")).status_code == 200


async def test_a_token_is_shown_once_and_a_cookie_from_then_on() -> None:
    async with serving_pages(tokens=tokens("read")) as (client, _):
        answer = await log_in(client, "read")
        assert (answer.status_code, answer.headers["location"]) == (303, "/trial")
        [cookie] = SimpleCookie(answer.headers["set-cookie"]).values()
        assert cookie["httponly"]
        assert (cookie["samesite"], cookie["path"], cookie["secure"]) == ("strict", "/", "")
        assert TOKENS["read"] not in answer.headers["set-cookie"]
        assert "the read: nothing" in (await client.get("/trial")).text
        assert (await client.get("/api/openapi.json")).status_code == 200
        assert (await client.get("/login")).headers["location"] == "/"


async def test_the_cookie_goes_over_tls_only_where_the_browser_came_by_it() -> None:
    async with serving_pages(tokens=tokens("read"), public_url="https://tocsin.example") as (client, _):
        behind_proxy = await log_in(client, "read", origin="https://tocsin.example")
        assert "Secure" in behind_proxy.headers["set-cookie"]
        assert (
            "Secure"
            not in (await log_in(client, "read", origin=str(client.base_url).rstrip("/"))).headers["set-cookie"]
        )


async def test_behind_a_prefix_everything_stays_below_it() -> None:
    async with serving_pages(tokens=tokens("write"), base_path="/ops/tocsin") as (client, _):
        page = await client.get("/trial", headers={"accept": "text/html"})
        assert page.headers["location"] == "/ops/tocsin/login?next=%2Ftrial"
        form = await client.get("/login")
        paths = re.findall(r'(?:href|src|action)="([^"#]+)"', form.text)
        assert paths
        assert all(path.startswith("/ops/tocsin/") for path in paths), paths
        for path in paths:
            if "/assets/" in path:
                assert (await client.get(path.removeprefix("/ops/tocsin"))).status_code == 200
        answer = await log_in(client, "write")
        assert answer.headers["location"] == "/ops/tocsin/trial"
        assert "Path=/ops/tocsin;" in answer.headers["set-cookie"]
        proof = await proof_of(client)
        changed = await client.post("/trial/done", data={"text": "hi", "_proof": proof})
        assert (changed.status_code, changed.headers["location"]) == (303, "/ops/tocsin/trial")


async def test_what_changes_something_by_cookie_must_show_the_sessions_proof() -> None:
    async with serving_pages(tokens=tokens("write")) as (client, api), httpx2.AsyncClient(trust_env=False) as other:
        await log_in(client, "write")
        proof = await proof_of(client)
        other.base_url = client.base_url
        await log_in(other, "write")
        of_another = await proof_of(other)
        for data, headers, status in (
            ({"text": "a"}, {}, 403),
            ({"text": "a", "_proof": "guess"}, {}, 403),
            ({"text": "a", "_proof": of_another}, {}, 403),
            ({"text": "a"}, {"x-tocsin-proof": "guess"}, 403),
            ({"text": "a", "_proof": proof}, {"origin": "https://evil.example"}, 403),
            ({"text": "a", "_proof": proof}, {"sec-fetch-site": "cross-site"}, 403),
            ({"text": "a", "_proof": proof}, {}, 303),
            ({"text": "a"}, {"x-tocsin-proof": proof}, 303),
        ):
            answer = await client.post("/trial/done", data=data, headers=headers)
            assert answer.status_code == status, (data, headers)
        assert (await client.post("/api/v1/nothing", json={})).status_code == 403
        client.cookies.clear()
        bearer = {"authorization": f"Bearer {TOKENS['write']}"}
        assert (await client.post("/trial/done", data={"text": "a"}, headers=bearer)).status_code == 303
        assert api.address


async def test_without_tokens_there_is_no_login_and_still_no_change_for_another_site() -> None:
    async with serving_pages() as (client, _):
        assert (await client.get("/login")).headers["location"] == "/"
        assert (await client.get("/trial")).status_code == 200
        assert (await client.post("/trial/done", data={"text": "a"})).status_code == 303
        for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
            assert (await client.post("/trial/done", data={"text": "a"}, headers=headers)).status_code == 403
        assert (await client.post("/trial/done", json={"text": "a"})).status_code == 415
        assert (await client.post("/api/v1/rules", data={"name": "a"})).status_code == 415


async def test_another_sites_page_can_log_nobody_in() -> None:
    async with serving_pages(tokens=tokens("read")) as (client, _):
        assert (await log_in(client, "read", origin="https://evil.example")).status_code == 403


async def test_wrong_tokens_are_told_and_soon_slowed_down() -> None:
    async with serving_pages(tokens=tokens("read")) as (client, _):
        answers = [await client.post("/login", data={"token": "guess-<b>-guess"}) for _ in range(14)]
        assert [answer.status_code for answer in answers[:10]] == [401] * 10
        assert answers[-1].status_code == 429
        assert "retry-after" in answers[-1].headers
        assert "This token is not known" in answers[0].text
        assert all("guess" not in answer.text for answer in answers)
        assert (await log_in(client, "read")).status_code == 429  # the right one would tell by its answer


async def test_a_token_that_only_sends_spans_sees_no_page() -> None:
    async with serving_pages(tokens=tokens("ingest", "read")) as (client, _):
        answer = await log_in(client, "ingest")
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers


async def test_a_viewer_sees_and_does_not_act() -> None:
    async with serving_pages(tokens=tokens("read")) as (client, _):
        await log_in(client, "read")
        answer = await client.post("/trial/done", data={"text": "a", "_proof": await proof_of(client)})
        assert answer.status_code == 403
        assert "Not yours to do" in answer.text


async def test_a_session_ends_at_the_logout_in_the_service_too() -> None:
    async with serving_pages(tokens=tokens("read")) as (client, _):
        await log_in(client, "read")
        kept = dict(client.cookies)
        answer = await client.post("/logout", data={"_proof": await proof_of(client)})
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert not client.cookies
        client.cookies.update(kept)
        assert (await client.get("/trial")).status_code == 401


async def test_a_session_ends_with_its_token() -> None:
    async with serving_pages(tokens=tokens("read")) as (client, api):
        await log_in(client, "read")
        assert (await client.get("/trial")).status_code == 200
        api.adopt(ApiConfig.model_validate({"tokens": tokens("write")}))
        assert (await client.get("/trial")).status_code == 401


def test_a_session_lasts_half_a_day_and_the_oldest_makes_room() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    first = sessions.begin("a-token")
    found = sessions.find(first)
    assert found is not None
    assert found.proves(found.proof)
    assert not found.proves(None)
    now[0] = 12 * 3600 - 1
    assert sessions.find(first) is found
    now[0] += 1
    assert sessions.find(first) is None
    kept = [sessions.begin("a-token") for _ in range(1001)]
    assert sessions.find(kept[0]) is None
    assert sessions.find(kept[1]) is not None


@pytest.mark.parametrize(
    ("cookies", "found"),
    [
        ("", None),
        ("tocsin_session=abc", "abc"),
        ("a=b; tocsin_session=abc ; c=d", "abc"),
        ("tocsin_session=abc; tocsin_session=def", None),
        ("xtocsin_session=abc", None),
        ("tocsin_session=" + "a" * 129, None),
        ("tocsin_session=", None),
    ],
)
def test_a_cookie_header_says_one_session_or_none(cookies: str, found: str | None) -> None:
    assert session_id_of(cookies) == found


@given(
    st.text(alphabet="/\\:.?#@ab\n\t é")
    | st.sampled_from(["//evil.example", "/\\evil.example", "https:/evil", "/\tevil"])
)
def test_after_a_login_nobody_is_sent_elsewhere(text: str) -> None:
    onward = local_path(text)
    assert onward.startswith("/")
    assert not onward.startswith(("//", "/\\"))
    assert httpx2.URL("https://tocsin.example").join(onward).host == "tocsin.example"
