"""The frame of every page: templates, navigation, errors, and answers to what a part of a page asks.

A section is a module of `sections` that gives a `Section`: routes and its place in the navigation. `Pages` renders
its templates with autoescape, so that what spans and files say stays text.
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from fastapi import APIRouter, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from tocsin.api.authorization import principal_of, session_of
from tocsin.api.headers import PAGE_POLICY
from tocsin.errors import OverloadedError, TocsinError
from tocsin.page import assets
from tocsin.page.wording import FILTERS
from tocsin.security.roles import Role

__all__ = ["Link", "Pages", "Section", "done", "is_fragment", "stay", "toast"]

_HEADERS: Final = {
    "content-security-policy": PAGE_POLICY,
    # With none at all, browsers would call the origin of our own forms "null".
    "referrer-policy": "same-origin",
}
_TITLES: Final = {
    400: "That can't be read",
    403: "Not yours to do",
    404: "Not here",
    409: "Not possible now",
    422: "Not valid",
    429: "Too often",
    503: "Not now",
}


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the navigation."""

    path: str
    """Below the base path, like `/rules`."""
    text: str
    group: str = "watch"
    """`watch`: what happens; `change`: what is set."""
    everywhere: bool = False
    """Not for tokens that are bound to projects."""


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page."""

    router: APIRouter
    link: Link


class Pages:
    """Renders pages. One for each application."""

    def __init__(self, version: str = "") -> None:
        self._links: list[Link] = []
        self._environment = Environment(
            loader=PackageLoader("tocsin.page"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(FILTERS)
        self._environment.globals.update(version=version, links=self._links)
        self._route = _route_of(self)

    def routes(self) -> APIRouter:
        """Return an empty router whose routes answer errors as pages; they are no part of the API's document."""
        return APIRouter(route_class=self._route, include_in_schema=False)

    def router(self, *sections: Section) -> APIRouter:
        """Return the routes of these sections, which are in the navigation in this order."""
        whole = self.routes()
        for section in sections:
            self._links.append(section.link)
            whole.include_router(section.router)
        whole.include_router(assets.assets_router())
        return whole

    def render(
        self,
        request: Request,
        template: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **more: Any,  # noqa: ANN401  # what templates show
    ) -> HTMLResponse:
        """Return a page or a part of one.

        Args:
            request: what is answered.
            template: its name.
            status: HTTP's.
            headers: further ones.
            more: what the template shows.
        """
        who, session = principal_of(request), session_of(request.scope)
        base = request.scope.get("root_path", "")
        text = self._environment.get_template(template).render(
            base=base,
            asset=f"{base}/assets/{assets.version()}",
            path=request.scope["path"].removeprefix(base) if base else request.scope["path"],
            who=who,
            may_write=who is not None and who.may(Role.WRITE),
            may_admin=who is not None and who.may(Role.ADMIN) and who.projects is None,
            proof=session.proof if session is not None else "",
            here=_address(request),
            **more,
        )
        return HTMLResponse(text, status, headers={**_HEADERS, **(headers or {})})

    def error(self, request: Request, status: int, detail: str) -> Response:
        """Return an error as a page, and as a notice where a part of a page asked."""
        if is_fragment(request):
            answer = toast(Response(status_code=status, headers=_HEADERS), detail, kind="bad")
            answer.headers["hx-reswap"] = "none"
            return answer
        title = _TITLES.get(status, "That did not work")
        return self.render(request, "error.html", status=status, title=title, detail=detail)


def _address(request: Request) -> str:
    """Return path and query as they were sent: what is quoted in a path stays so."""
    path, query = (request.scope[key].decode("latin-1") for key in ("raw_path", "query_string"))
    return f"{path}?{query}" if query else path


def is_fragment(request: Request) -> bool:
    """Whether a part of a page asks, not the browser for a whole one."""
    return "hx-request" in request.headers and "hx-boosted" not in request.headers


def toast(answer: Response, text: str, *, kind: str = "good", later: bool = False, refresh: bool = False) -> Response:
    """Have an answer show a notice.

    Args:
        answer: gets a header.
        text: one sentence.
        kind: `good`, `bad` or `plain`.
        later: whether on the page that follows.
        refresh: whether the live parts of the page are asked for again.
    """
    events: dict[str, object] = {"tocsin:toast": {"text": text[:500], "kind": kind, "later": later}}
    if refresh:
        events["tocsin:changed"] = {}
    shown = orjson.dumps(events).decode()
    # A header is ASCII; JSON can say everything in it.
    answer.headers["hx-trigger"] = "".join(c if c.isascii() else _escaped(c) for c in shown)
    return answer


def done(request: Request, to: str, text: str) -> Response:
    """Return the answer to a change that was made: on to the page `to`, which says `text`.

    Args:
        request: what is answered.
        to: a path below the base path, quoted.
        text: one sentence.
    """
    target = request.scope.get("root_path", "") + to
    if not is_fragment(request):
        return RedirectResponse(target, 303)
    return toast(Response(headers={"hx-redirect": target}), text, later=True)


def stay(request: Request, to: str, text: str, *, kind: str = "good") -> Response:
    """Return the answer to a change that leaves the reader where they are; live parts show it at once.

    Args:
        request: what is answered.
        to: where a browser without scripts goes.
        text: one sentence.
        kind: see `toast`.
    """
    if not is_fragment(request):
        return RedirectResponse(request.scope.get("root_path", "") + to, 303)
    return toast(Response(status_code=204), text, kind=kind, refresh=True)


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _route_of(pages: Pages) -> type[APIRoute]:
    """Return a class of routes that answer errors as pages."""

    class PageRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            plain = super().get_route_handler()

            async def handled(request: Request) -> Response:
                try:
                    return await plain(request)
                except RequestValidationError as error:
                    first = error.errors()[0]
                    return pages.error(request, 422, f"{first['loc'][-1]}: {first['msg']}")
                except OverloadedError as error:
                    return pages.error(request, 503, str(error))
                except TocsinError as error:  # of a file that can't be read or written
                    return pages.error(request, 409, str(error))
                except HTTPException as error:
                    nothing = error.status_code == 404 and error.detail == "Not Found"
                    detail = "There is no such thing, or it is not for this token." if nothing else str(error.detail)
                    return pages.error(request, error.status_code, detail)

            return handled

    return PageRoute
