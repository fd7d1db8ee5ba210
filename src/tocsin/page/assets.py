"""`/assets/…`: styles, scripts and pictures, under a name that changes with what is in them, so that they are kept.

Third parties' files are as their makers published them, with their licences: see `assets/vendored`.
"""

import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from fastapi import APIRouter, HTTPException
from starlette.responses import Response

__all__ = ["assets_router", "version"]

_KINDS: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}


@cache
def _files() -> dict[str, bytes]:
    """Path below `assets` -> content."""
    found: dict[str, bytes] = {}

    def take(folder: Traversable, prefix: str) -> None:
        for each in folder.iterdir():
            if each.is_dir():
                take(each, f"{prefix}{each.name}/")
            elif each.name.rpartition(".")[2] in _KINDS:
                found[prefix + each.name] = each.read_bytes()

    take(files("tocsin.page").joinpath("assets"), "")
    return found


@cache
def version() -> str:
    """Return a digest of all assets."""
    digest = hashlib.sha256()
    for path, content in sorted(_files().items()):
        digest.update(path.encode() + b"\0" + content + b"\0")
    return digest.hexdigest()[:16]


def assets_router() -> APIRouter:
    """Return the route of the assets, which is open to everybody: the login page needs them."""
    router = APIRouter(prefix="/assets", include_in_schema=False)

    @router.get("/{digest}/{path:path}")
    async def asset(digest: str, path: str) -> Response:
        """One file; for a page of another version of the program, the present one, which is not kept."""
        content = _files().get(path)
        if content is None:
            raise HTTPException(404)
        kept = "public, max-age=31536000, immutable" if digest == version() else "no-store"
        return Response(content, media_type=_KINDS[path.rpartition(".")[2]], headers={"cache-control": kept})

    return router
