"""Pages on a free port, with one that changes something, to try the frame and the login on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx2
from fastapi import Depends, HTTPException, Request
from starlette.responses import Response

from tocsin.api.authorization import Reader, Writer
from tocsin.api.config import ApiConfig
from tocsin.api.server import Api, serving_api
from tocsin.api.status import Status
from tocsin.errors import OverloadedError
from tocsin.page.forms import Form, form_of
from tocsin.page.login import login_router
from tocsin.page.shell import Link, Pages, Section, done, stay

__all__ = ["serving_pages"]


def _trial(pages: Pages) -> Section:
    router = pages.routes()

    @router.get("/trial")
    async def shown(request: Request, who: Reader, detail: str = "nothing") -> Response:
        return pages.render(request, "error.html", title="A trial", detail=f"{who.name}: {detail}")

    @router.post("/trial/done")
    async def changed(request: Request, who: Writer, form: Annotated[Form, Depends(form_of)]) -> Response:
        return done(request, "/trial", f"{who.name} said {form['text']}")

    @router.post("/trial/stay")
    async def stayed(request: Request, who: Writer) -> Response:
        return stay(request, "/trial", f"Für {who.name}: schön \N{BELL}")

    @router.get("/trial/{what}")
    async def wrong(what: str, count: int = 0) -> Response:
        errors = {
            "taken": HTTPException(409, "It is taken."),
            "busy": OverloadedError("busy", reason="x", retry_after=1),
        }
        raise errors.get(what, HTTPException(404))

    return Section(router, Link("/trial", "Trial"))


@asynccontextmanager
async def serving_pages(**config: object) -> AsyncIterator[tuple[httpx2.AsyncClient, Api]]:
    """Serve login and a trial section; `config` is of `api`."""
    settings = ApiConfig.model_validate({"endpoint": "127.0.0.1:0", **config})
    pages = Pages("1.2.3")
    routers = [login_router(pages), pages.router(_trial(pages))]
    status = Status(version="1.2.3", decoder="native")
    async with (
        serving_api(settings, status, routers=routers) as api,
        httpx2.AsyncClient(base_url=f"http://{api.address}{settings.base_path}", trust_env=False) as client,
    ):
        yield client, api
