"""Errors as RFC 9457 problem documents."""

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

__all__ = ["install", "problem"]

_TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Timeout",
    409: "Conflict",
    412: "Changed meanwhile",
    413: "Too large",
    414: "Too long",
    415: "Not JSON",
    421: "Misdirected",
    422: "Not valid",
    429: "Too many requests",
    431: "Too many headers",
    500: "Internal error",
    503: "Not now",
}


def problem(status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: object) -> JSONResponse:
    """Return a problem document with these HTTP headers; `more` are its extension members."""
    document = {
        "type": "about:blank",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
    }
    return JSONResponse(
        {**document, **more},
        status_code=status,
        headers=dict(headers or {}),
        media_type="application/problem+json",
    )


def install(app: FastAPI) -> None:
    """Make `app` answer every error as a problem document."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(Exception, _internal_error)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = {
        404: f"there is nothing at {request.url.path}; the routes are in /api/openapi.json",
        405: f"{request.method} is not possible at {request.url.path}",
    }.get(status, str(getattr(error, "detail", "")))
    answer = problem(status, detail)
    for name, value in (getattr(error, "headers", None) or {}).items():
        answer.headers[name] = value
    return answer


async def _validation_error(_request: Request, error: Exception) -> JSONResponse:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    errors = [{"field": ".".join(map(str, one["loc"])), "detail": one["msg"]} for one in found]
    return problem(422, "the request is not valid", errors=errors)


async def _internal_error(_request: Request, _error: Exception) -> JSONResponse:
    return problem(500, "an error inside Tocsin; its log says where")
