"""Who is asking, and may they?

A token is looked at once, at the edge, before a body is read; what a route asks is only whether the principal that
was found may do it. A route that forgot to ask is still closed to whoever has no token: see `edge`.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Final

from fastapi import Depends, HTTPException, Request
from starlette.types import Scope

from tocsin.api.clients import Clients
from tocsin.security.roles import ANONYMOUS, Principal, Role
from tocsin.security.sessions import Session, Sessions, session_id_of
from tocsin.security.tokens import Tokens, bearer_of
from tocsin.telemetry import security as events

__all__ = ["FORBIDDEN", "Access", "Reader", "Writer", "access_of", "principal_of", "requires", "session_of"]

_KEY: Final = "tocsin.principal"
_SESSION: Final = "tocsin.session"
_ACCESS: Final = "tocsin.access"
FORBIDDEN: Final = "this token may not do that; use one with a higher role, or one that is not bound to projects"


class Access:
    """Who may use the API: one listener's tokens, browsers' sessions, how often a client may fail to show a token."""

    def __init__(self, tokens: Tokens | None = None) -> None:
        self.tokens = tokens or Tokens()
        self.sessions = Sessions()
        self.failures = Clients(count=10, seconds=10.0)
        """Failed attempts of one client's address."""

    def identify(self, scope: Scope, authorization: Sequence[str], cookies: str = "") -> Principal | None:
        """Return who sent a request, and remember it in its scope; None where they did not show it.

        Args:
            scope: ASGI's, of an HTTP request.
            authorization: the values of its `Authorization` headers; where there are any, no cookie counts.
            cookies: its `Cookie` header.
        """
        session = None if authorization or not self.tokens else self.sessions.find(session_id_of(cookies))
        principal: Principal | None = ANONYMOUS
        if session is not None:
            principal = self.tokens.holder(session.digest)
        elif self.tokens:
            principal = self.tokens.find(bearer_of(authorization))
        scope[_KEY], scope[_ACCESS] = principal, self
        scope[_SESSION] = session if principal is not None else None
        return principal


def access_of(request: Request) -> Access:
    """Return who may use what a request came to."""
    found: Access = request.scope[_ACCESS]
    return found


def session_of(scope: Scope) -> Session | None:
    """Return the session by whose cookie a request showed who sent it; None where it did so otherwise, or not."""
    found: Session | None = scope.get(_SESSION)
    return found


def principal_of(request: Request) -> Principal | None:
    """Return who sent a request; None where a token is asked for and they showed none (`/healthz`, `/readyz`)."""
    found: Principal | None = request.scope.get(_KEY)
    return found


def requires(role: Role, *, everywhere: bool = False) -> Callable[[Request], Awaitable[Principal]]:
    """Return a FastAPI dependency that gives the principal, who may do what `role` stands for.

    `who: Annotated[Principal, Depends(requires(Role.WRITE))]`; then ask `who.sees(project)` of what is touched.

    Args:
        role: the least that will do.
        everywhere: what is done is not within one project, so that a token bound to some will not do.

    Raises:
        HTTPException: when it is called: 401 without a principal, 403 with one who may not.
    """

    async def allowed(request: Request) -> Principal:
        principal = principal_of(request)
        if principal is None:
            raise HTTPException(401, "a bearer token is needed", {"www-authenticate": "Bearer"})
        if not principal.may(role) or (everywhere and principal.projects is not None):
            events.request_refused(reason="forbidden", who=principal.name)
            raise HTTPException(403, FORBIDDEN)
        return principal

    return allowed


Reader = Annotated[Principal, Depends(requires(Role.READ))]
"""Of a route's parameter: whoever may see."""
Writer = Annotated[Principal, Depends(requires(Role.WRITE))]
"""Of a route's parameter: whoever may change."""
