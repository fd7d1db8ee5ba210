"""The API on a free port, with routes to try its edge on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx2
from fastapi import APIRouter, Depends
from pydantic import BaseModel

from tocsin.api.authorization import Reader, Writer, requires
from tocsin.api.config import ApiConfig
from tocsin.api.server import Api, serving_api
from tocsin.api.status import Status
from tocsin.security.roles import Principal, Role

__all__ = ["TOKENS", "bearer", "serving_trial", "tokens_of", "trial_router"]

TOKENS = {role: f"{role.value}-token-of-the-tests" for role in Role}


class _Note(BaseModel):
    text: str = ""


def trial_router() -> APIRouter:
    """Return routes that a resource might have, one of which forgot to ask who is there."""
    router = APIRouter(prefix="/api/v1/trial")

    @router.get("/seen")
    async def seen(who: Reader) -> dict[str, Any]:
        return {"name": who.name, "projects": sorted(who.projects or ())}

    @router.post("/noted")
    async def noted(note: _Note, who: Writer) -> dict[str, str]:
        return {"by": who.name, "text": note.text}

    @router.post("/done")
    async def done(_: Writer) -> dict[str, bool]:
        return {"done": True}

    @router.get("/everything")
    async def everything(who: Annotated[Principal, Depends(requires(Role.ADMIN, everywhere=True))]) -> dict[str, str]:
        return {"name": who.name}

    @router.get("/forgotten")
    async def forgotten() -> dict[str, str]:
        return {"secret": "of the house"}

    @router.get("/broken")
    async def broken(_: Reader) -> None:
        raise RuntimeError("the secret is out")

    return router


@asynccontextmanager
async def serving_trial(
    status: Status | None = None, **config: object
) -> AsyncIterator[tuple[httpx2.AsyncClient, Api]]:
    """Serve the trial routes; `config` is of `api`."""
    settings = ApiConfig.model_validate({"endpoint": "127.0.0.1:0", **config})
    shown = status or Status(version="1.2.3", decoder="native", rule_errors=("rules.yaml:1:1: what",))
    scheme = "https" if settings.tls else "http"
    async with (
        serving_api(settings, shown, routers=[trial_router()]) as api,
        httpx2.AsyncClient(base_url=f"{scheme}://{api.address}", trust_env=False) as client,
    ):
        yield client, api


def tokens_of(*roles: Role, projects: list[str] | None = None) -> list[dict[str, object]]:
    """Return `api.tokens` with one of each role."""
    more = {"projects": projects} if projects else {}
    return [{"name": f"the {role.value}", "token": TOKENS[role], "role": role.value, **more} for role in roles]


def bearer(role: Role | None) -> dict[str, str]:
    """Return the header of a role's token."""
    return {"authorization": f"Bearer {TOKENS[role]}"} if role else {}
