"""Who may do what at the API: tokens and roles, and what those are told who have none."""

import importlib
import pkgutil
import ssl
from itertools import product
from pathlib import Path

import httpx2
import pytest
from api_harness import TOKENS, bearer, serving_trial, tokens_of
from fastapi import APIRouter
from fastapi.routing import APIRoute
from made_certificates import Authority

from tocsin import api, telemetry
from tocsin.api.config import ApiConfig
from tocsin.api.status import Status
from tocsin.security.roles import Role

ALL = (Role.INGEST, Role.READ, Role.WRITE, Role.ADMIN)
EXPECTED = {
    ("GET", "/healthz"): {None: 200, Role.INGEST: 200, Role.READ: 200, Role.WRITE: 200, Role.ADMIN: 200},
    ("GET", "/readyz"): {None: 503, Role.INGEST: 503, Role.READ: 503, Role.WRITE: 503, Role.ADMIN: 503},
    ("GET", "/metrics"): {None: 401, Role.INGEST: 403, Role.READ: 200, Role.WRITE: 200, Role.ADMIN: 200},
    ("GET", "/api/openapi.json"): {None: 401, Role.INGEST: 403, Role.READ: 200, Role.WRITE: 200, Role.ADMIN: 200},
    ("GET", "/api/v1/trial/seen"): {None: 401, Role.INGEST: 403, Role.READ: 200, Role.WRITE: 200, Role.ADMIN: 200},
    ("POST", "/api/v1/trial/done"): {None: 401, Role.INGEST: 403, Role.READ: 403, Role.WRITE: 200, Role.ADMIN: 200},
    ("GET", "/api/v1/trial/everything"): {
        None: 401,
        Role.INGEST: 403,
        Role.READ: 403,
        Role.WRITE: 403,
        Role.ADMIN: 200,
    },
    ("GET", "/api/v1/trial/forgotten"): {
        None: 401,
        Role.INGEST: 403,
        Role.READ: 200,
        Role.WRITE: 200,
        Role.ADMIN: 200,
    },
    ("GET", "/nothing/here"): {None: 401, Role.INGEST: 403, Role.READ: 404, Role.WRITE: 404, Role.ADMIN: 404},
}


async def test_each_role_may_do_what_the_table_says() -> None:
    async with serving_trial(tokens=tokens_of(*ALL)) as (client, _):
        for ((method, path), answers), role in product(EXPECTED.items(), (None, *ALL)):
            answer = await client.request(method, path, headers=bearer(role))
            assert answer.status_code == answers[role], (method, path, role)


async def test_without_tokens_whoever_reaches_it_may_do_everything() -> None:
    async with serving_trial() as (client, _):
        for method, path in EXPECTED:
            status = (await client.request(method, path)).status_code
            assert status == {"/nothing/here": 404, "/readyz": 503}.get(path, 200), path


async def test_a_401_is_the_same_whatever_was_wrong_and_repeats_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="tocsin")
    tried = [
        {},
        {"authorization": "Bearer guess-that-is-to-be-kept"},
        {"authorization": "Bearer " + TOKENS[Role.READ][:-1]},
        {"authorization": "Basic Z3Vlc3M6Z3Vlc3M="},
        {"authorization": ""},
        {"cookie": f"authorization={TOKENS[Role.READ]}"},
    ]
    async with serving_trial(tokens=tokens_of(Role.READ)) as (client, _):
        answers = [await client.get("/api/v1/trial/seen", headers=headers) for headers in tried]
        answers.append(await client.get(f"/metrics?token={TOKENS[Role.READ]}&access_token={TOKENS[Role.READ]}"))
    assert {(answer.status_code, answer.headers["www-authenticate"], answer.content) for answer in answers} == {
        (401, "Bearer", answers[0].content)
    }
    logged = "".join(str(vars(record)) for record in caplog.records)
    for text in ("guess", "Z3Vlc3M6", TOKENS[Role.READ]):
        assert text not in logged + "".join(f"{answer.headers!r}{answer.text}" for answer in answers)


async def test_a_wrong_token_is_refused_on_public_paths_too() -> None:
    """Else they would say, uncounted, whether a guess is right."""
    async with serving_trial(tokens=tokens_of(Role.READ)) as (client, _):
        assert (await client.get("/readyz", headers={"authorization": "Bearer no-such-token-here"})).status_code == 401


async def test_readyz_tells_a_probe_the_word_only() -> None:
    ready = Status(version="1.2.3", decoder="native", ready=True, rule_errors=("/etc/tocsin/rules.yaml:1:1: what",))
    for tokens, headers, details in (
        (tokens_of(Role.READ), {}, False),
        (tokens_of(Role.READ), bearer(Role.READ), True),
        (tokens_of(Role.READ, projects=["a"]), bearer(Role.READ), False),
        ([], {}, True),
    ):
        async with serving_trial(ready, tokens=tokens) as (client, _):
            told = (await client.get("/readyz", headers=headers)).json()
            assert told["status"] == "ready"
            assert (set(told) > {"status"}) == details


async def test_a_token_of_some_projects_does_not_open_what_is_of_all() -> None:
    async with serving_trial(tokens=tokens_of(Role.ADMIN, projects=["b", "a"])) as (client, _):
        seen = await client.get("/api/v1/trial/seen", headers=bearer(Role.ADMIN))
        assert seen.json() == {"name": "the admin", "projects": ["a", "b"]}
        for path in ("/api/v1/trial/everything", "/metrics"):
            assert (await client.get(path, headers=bearer(Role.ADMIN))).status_code == 403


def routes() -> list[APIRoute]:
    modules = [importlib.import_module(f"tocsin.api.{found.name}") for found in pkgutil.iter_modules(api.__path__)]
    routers = [value for module in modules for value in vars(module).values() if isinstance(value, APIRouter)]
    return [route for router in routers for route in router.routes if isinstance(route, APIRoute)]


@pytest.mark.parametrize("route", routes(), ids=lambda route: route.path)
def test_every_route_but_the_probes_says_which_role_it_needs(route: APIRoute) -> None:
    asked = any("requires" in str(each.call) for each in route.dependant.dependencies)
    assert asked == (route.path not in ("/healthz", "/readyz"))


async def test_tokens_are_changed_while_running() -> None:
    async with serving_trial(tokens=tokens_of(Role.READ)) as (client, served):
        assert (await client.get("/metrics", headers=bearer(Role.READ))).status_code == 200
        served.adopt(ApiConfig.model_validate({"tokens": tokens_of(Role.ADMIN)}))
        assert (await client.get("/metrics", headers=bearer(Role.READ))).status_code == 401
        assert (await client.get("/metrics", headers=bearer(Role.ADMIN))).status_code == 200
        served.adopt(ApiConfig())  # which would open it: that waits for a restart
        assert (await client.get("/metrics")).status_code == 401


async def test_wrong_tokens_are_soon_answered_later_and_refusals_are_counted() -> None:
    wrong = {"authorization": "Bearer no-such-token-here"}
    async with serving_trial(tokens=tokens_of(Role.READ)) as (client, _):
        answers = [await client.get("/metrics", headers=wrong) for _ in range(30)]
        codes = [answer.status_code for answer in answers]
        assert codes[:10] == [401] * 10
        assert 429 in codes[10:]
        assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 429)
        assert (await client.get("/healthz")).status_code == 200
    text = telemetry.exposition("")[0].decode()
    assert 'tocsin_refused_api_requests_total{reason="unauthenticated"}' in text
    assert 'tocsin_refused_api_requests_total{reason="rate"}' in text


async def test_the_api_over_tls_and_mutual_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, caller = authority.issue("server"), authority.issue("caller")
    tls = {"cert_file": server.cert, "key_file": server.key, "min_version": 1.3}
    context = ssl.create_default_context(cafile=authority.ca_file)
    async with (
        serving_trial(tls=tls, tokens=tokens_of(Role.READ)) as (_, served),
        httpx2.AsyncClient(base_url=f"https://{served.address}", trust_env=False, verify=context) as client,
    ):
        answer = await client.get("/metrics", headers=bearer(Role.READ))
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        assert answer.extensions["network_stream"].get_extra_info("ssl_object").version() == "TLSv1.3"
    old = ssl.create_default_context(cafile=authority.ca_file)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving_trial(tls=tls | {"client_ca_file": authority.ca_file}) as (_, served):
        for number, (trust, cert) in enumerate(((context, None), (old, caller), (context, caller))):
            if cert:
                trust.load_cert_chain(cert.cert, cert.key)
            async with httpx2.AsyncClient(
                base_url=f"https://{served.address}", trust_env=False, verify=trust
            ) as client:
                if number < 2:
                    with pytest.raises(httpx2.HTTPError):
                        await client.get("/metrics")
                else:
                    assert (await client.get("/metrics")).status_code == 200


@pytest.mark.parametrize("endpoint", ["0.0.0.0:8417", "[::]:8417", "192.0.2.7:8417", "tocsin.example:8417"])
def test_an_api_that_others_reach_asks_who_is_there_or_is_told_not_to(endpoint: str) -> None:
    with pytest.raises(ValueError, match="add tokens, or tls with client_ca_file, or listen on 127"):
        ApiConfig.model_validate({"endpoint": endpoint})
    assert ApiConfig.model_validate({"endpoint": endpoint, "allow_unauthenticated": True})
    assert ApiConfig.model_validate({"endpoint": endpoint, "tokens": tokens_of(Role.READ)})
    with pytest.raises(ValueError, match="none of the tokens opens anything here; give one the role read"):
        ApiConfig.model_validate({"endpoint": endpoint, "tokens": tokens_of(Role.INGEST)})
