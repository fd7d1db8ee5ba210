"""Logging in: a token is shown once, and a cookie stands for it from then on."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import RedirectResponse, Response

from tocsin.api.authorization import access_of, principal_of
from tocsin.api.clients import client_of
from tocsin.page.forms import Form, form_of, local_path
from tocsin.page.shell import Pages
from tocsin.security.roles import Role
from tocsin.security.sessions import COOKIE, session_id_of
from tocsin.telemetry import security as events

__all__ = ["login_router"]

_WRONG = "This token is not known. It has to stand under api.tokens in the configuration."


def login_router(pages: Pages) -> APIRouter:
    """Return the routes of login and logout."""
    router = pages.routes()

    @router.get("/login")
    async def login(request: Request, next: Annotated[str, Query(max_length=4096)] = "/") -> Response:  # noqa: A002
        """The form; whoever needs none goes on at once."""
        if principal_of(request) is not None:
            return _onward(request, next)
        return pages.render(request, "login.html", next=local_path(next), wrong="")

    @router.post("/login")
    async def enter(request: Request, form: Annotated[Form, Depends(form_of)]) -> Response:
        """A session, or the form again."""
        access, token, onward = access_of(request), form["token"], form["next"]
        client = client_of(request.client.host if request.client else "unknown")
        if not access.tokens:
            return _onward(request, onward)
        if wait := access.failures.wait(client):
            events.request_refused(reason="rate")
            wrong = f"Too many attempts with a wrong token; try again in {wait} s."
            return pages.render(
                request,
                "login.html",
                status=429,
                headers={"retry-after": str(wait)},
                next=local_path(onward),
                wrong=wrong,
            )
        principal = access.tokens.find(token)
        if principal is None or not principal.may(Role.READ):
            access.failures.count(client)
            events.request_refused(reason="unauthenticated" if principal is None else "forbidden")
            wrong = _WRONG if principal is None else "This token can send spans only; use one of role read or higher."
            return pages.render(request, "login.html", status=401, next=local_path(onward), wrong=wrong)
        answer = _onward(request, onward)
        answer.set_cookie(
            COOKIE,
            access.sessions.begin(token),
            path=request.scope.get("root_path", "") or "/",
            secure=_is_encrypted(request),
            httponly=True,
            samesite="strict",
        )
        return answer

    @router.post("/logout")
    async def leave(request: Request) -> Response:
        """The session is over, in the service too."""
        access_of(request).sessions.end(session_id_of(request.headers.get("cookie", "")))
        root = request.scope.get("root_path", "")
        answer = RedirectResponse(f"{root}/login", 303)
        answer.delete_cookie(COOKIE, path=root or "/", httponly=True, samesite="strict")
        return answer

    return router


def _onward(request: Request, path: str) -> RedirectResponse:
    return RedirectResponse(request.scope.get("root_path", "") + local_path(path), 303)


def _is_encrypted(request: Request) -> bool:
    """Whether the browser came over TLS, to us or to a proxy: it says so in the origin of the form."""
    return request.scope.get("scheme") == "https" or request.headers.get("origin", "").startswith("https://")
