"""The edge: what every request goes through before a route sees it, and every answer on its way out.

What costs least is looked at first: sizes, how often this client asks, by which name, with which token; then where a
change comes from; only then the body is read. A path that is not public is closed to whoever shows no token, whether
its route asks or not. A browser shows a cookie in a token's place; since it does so for whoever asks it to, a change
must then show the session's proof, too, in a header or a field of its form.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, quote

from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tocsin.api.authorization import FORBIDDEN, Access, session_of
from tocsin.api.clients import Clients, client_of
from tocsin.api.headers import headers_for
from tocsin.api.origin import Hosts, is_forged, is_form, is_json
from tocsin.api.problems import problem
from tocsin.security.roles import Principal, Role
from tocsin.telemetry import internal_error
from tocsin.telemetry import security as events

__all__ = ["PROOF_FIELD", "PROOF_HEADER", "Edge", "Protection"]

PUBLIC: Final = frozenset({"/healthz", "/readyz", "/login"})
"""Paths that a probe asks without a token, and where a person shows theirs."""
_ASSETS: Final = "/assets/"
"""Where what pages are made of is: the same for everybody."""
_PROGRAMS: Final = ("/api/", "/prometheus/", "/metrics", "/healthz", "/readyz")
"""Where programs ask; everything else is pages."""
PROOF_HEADER: Final = "x-tocsin-proof"
PROOF_FIELD: Final = "_proof"
MAX_BODY: Final = 1024 * 1024
MAX_HEADERS: Final = 64
MAX_HEADER_BYTES: Final = 16 * 1024
MAX_TARGET: Final = 8 * 1024
"""Bytes of path and query."""
BODY_SECONDS: Final = 10.0
_MOST_FIELDS: Final = 1_000
"""Of a form."""
UNMETERED: Final = ("/api/v1/blocks/check", "/api/v1/blocks/authorize", "/api/v1/blocks/watch")
"""Paths that are asked before every model call, so that how often says nothing; who fails to show a token is slowed
down there too."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(slots=True)
class Protection:
    """What the edge of one API asks and allows; the default is for one that only this machine reaches."""

    access: Access = field(default_factory=Access)
    hosts: Hosts = field(default_factory=Hosts)
    clients: Clients | None = field(default_factory=lambda: Clients(count=100, seconds=1.0))
    """How often one client may ask; None: no limit."""
    public_url: str | None = None


class Edge:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, protection: Protection, base_path: str) -> None:
        self._app = app
        self._protection = protection
        self._base_path = base_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; what is no request has no way in."""
        if scope["type"] != "http":
            return
        begun = False

        async def protected(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                encrypted = scope.get("scheme") == "https"
                message = {**message, "headers": headers_for(message["headers"], encrypted=encrypted)}
            await send(message)

        scope = {**scope, "root_path": self._base_path}
        try:
            refused = self._refused(scope)
            if refused is None:
                body = await _body(scope, receive)
                refused = body if isinstance(body, Response) else _unproven(scope, body)
                if refused is None and not isinstance(body, Response):
                    await self._app(scope, _replayed(body, receive), protected)
        except Exception as error:  # noqa: BLE001  # if it were raised, uvicorn would log its text, whatever is in it
            internal_error(stage="api", error=error)
            refused = None if begun else problem(500, "an error inside Tocsin; its log says where")
        if refused is not None:
            await refused(scope, receive, protected)

    def _refused(self, scope: Scope) -> Response | None:
        """Return why a request goes no further, judged by all but its body."""
        headers: dict[str, str] = {}
        authorization: list[str] = []
        for name, value in scope["headers"]:
            headers[name.decode("latin-1")] = value.decode("latin-1")
            if name == b"authorization":
                authorization.append(value.decode("latin-1"))
        client = client_of((scope.get("client") or ("unknown", 0))[0])
        return (
            self._too_much(scope, client)
            or self._misdirected(headers)
            or self._unknown(scope, client, authorization, headers)
            or self._forged(scope, headers)
        )

    def _too_much(self, scope: Scope, client: str) -> Response | None:
        if len(scope["headers"]) > MAX_HEADERS:
            return problem(431, f"more than {MAX_HEADERS} headers; send fewer")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            return problem(431, f"headers are over {MAX_HEADER_BYTES} bytes; send less")
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET:
            return problem(414, f"path and query are longer than {MAX_TARGET} bytes")
        unmetered = self._route_path(scope["path"]).startswith(UNMETERED)
        if (clients := self._protection.clients) is not None and not unmetered:
            if wait := clients.wait(client):
                return _later(wait, "this address asks too often; api.rate_limit says how often it may")
            clients.count(client)
        return None

    def _misdirected(self, headers: dict[str, str]) -> Response | None:
        if self._protection.access.tokens or self._protection.hosts.allow(headers.get("host")):
            return None
        events.request_refused(reason="host")
        return problem(
            421, "this is not a name of this service; add it to api.allowed_hosts or api.public_url, or ask for tokens"
        )

    def _unknown(self, scope: Scope, client: str, authorization: list[str], headers: dict[str, str]) -> Response | None:
        access = self._protection.access
        if authorization and access.tokens and (wait := access.failures.wait(client)):
            return _later(wait, "too many attempts with a wrong token")
        principal = access.identify(scope, authorization, headers.get("cookie", ""))
        path = self._route_path(scope["path"])
        public = path in PUBLIC or path.startswith(_ASSETS)
        if principal is None and (authorization or not public):
            if authorization:
                access.failures.count(client)
            events.request_refused(reason="unauthenticated")
            if not authorization and _is_person(scope["method"], path, headers):
                return self._to_login(scope, path, headers)
            return problem(401, "a bearer token is needed", headers={"www-authenticate": "Bearer"})
        if principal is not None and not public and not principal.may(Role.READ):
            return _forbidden(principal)
        return None

    def _to_login(self, scope: Scope, path: str, headers: dict[str, str]) -> Response:
        """Return where a browser without a session is sent; a part of a page sends the whole page there."""
        login = self._base_path + "/login"
        if "hx-request" in headers:
            return problem(401, "log in first", headers={"hx-redirect": login})
        asked = quote(path, safe="/") + ("?" + scope["query_string"].decode("latin-1") if scope["query_string"] else "")
        return RedirectResponse(login if asked == "/" else f"{login}?next={quote(asked, safe='')}", 303)

    def _forged(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        if scope["method"] in _SAFE:
            return None
        for_people = not self._route_path(scope["path"]).startswith(_PROGRAMS)
        # A page of another site can't have a browser send a token in a header; what can send one is no such page.
        shown_by_browser = for_people or not self._protection.access.tokens or session_of(scope) is not None
        if shown_by_browser and is_forged(headers, self._protection.public_url):
            events.request_refused(reason="forged")
            return problem(403, "a change that another site's page asks for is not made")
        kind = headers.get("content-type")
        if ("content-type" in headers or _has_body(headers)) and not (is_form if for_people else is_json)(kind):
            return problem(415, "send a form" if for_people else "send application/json")
        return None

    def _route_path(self, path: str) -> str:
        """Return the path that routes are compared with, as Starlette does with a root path."""
        prefix = self._base_path
        return path[len(prefix) :] if prefix and path.startswith(prefix + "/") else path


def _is_person(method: str, path: str, headers: dict[str, str]) -> bool:
    """Whether whoever has no session looks at pages, and so can be shown where to log in."""
    if path.startswith(_PROGRAMS):
        return path == "/api/docs" and "text/html" in headers.get("accept", "")
    return "hx-request" in headers or (method in _SAFE and "text/html" in headers.get("accept", ""))


def _unproven(scope: Scope, body: bytes | None) -> Response | None:
    """Return why a change that a cookie opened is not made: no page of its session asked for it."""
    session = session_of(scope)
    if session is None or scope["method"] in _SAFE:
        return None
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    shown = headers.get(PROOF_HEADER)
    if shown is None and is_form(headers.get("content-type")):
        with suppress(ValueError):  # more fields than any form of ours has
            fields = parse_qs((body or b"").decode("utf-8", "replace"), max_num_fields=_MOST_FIELDS)
            shown = fields.get(PROOF_FIELD, [""])[0]
    if session.proves(shown):
        return None
    events.request_refused(reason="forged")
    return problem(403, "this does not come from a page of this session; load the page again")


def _forbidden(principal: Principal) -> Response:
    events.request_refused(reason="forbidden", who=principal.name)
    return problem(403, FORBIDDEN)


def _later(seconds: int, detail: str) -> Response:
    events.request_refused(reason="rate")
    return problem(429, detail, headers={"retry-after": str(seconds)})


def _has_body(headers: dict[str, str]) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


async def _body(scope: Scope, receive: Receive) -> bytes | Response | None:
    """Return a request's whole body, or why it is not read to its end; None where there is none to read."""
    headers = dict(scope["headers"])  # h11 lets no two of these pass
    announced = headers.get(b"content-length", b"0")
    if announced == b"0" and b"transfer-encoding" not in headers:
        return None
    if len(announced) > len(str(MAX_BODY)) or int(announced) > MAX_BODY:
        return _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return problem(400, "the request ended before its body was complete")
                body += message.get("body", b"")
                if len(body) > MAX_BODY:
                    return _too_large()
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        return problem(408, f"the body took longer than {BODY_SECONDS:g} s", headers={"connection": "close"})


def _too_large() -> Response:
    # The connection stays: closed at once, a client that still sends would see a reset in the answer's place. What
    # follows is dropped, and for no longer than headers may take.
    return problem(413, f"the body is over {MAX_BODY} bytes")


def _replayed(body: bytes | None, receive: Receive) -> Callable[[], "asyncio.Future[Message]"] | Receive:
    """Return a `receive` that gives the body that was read, and then what follows."""
    if body is None:
        return receive
    waiting = [body]

    async def replay() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return replay
