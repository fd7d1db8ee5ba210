"""`/api/docs`: a page of all routes, made here from the OpenAPI document; it loads nothing from anywhere else."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import HTMLResponse, Response

from tocsin.api.authorization import Reader
from tocsin.api.headers import PAGE_POLICY

__all__ = ["describe", "reference_router"]

_PROBLEM: Final = {
    "description": "A problem document (RFC 9457); `errors` names the fields.",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "errors": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
                        },
                    },
                },
            }
        }
    },
}
_STYLE: Final = """\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; }
code { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
summary { padding: .4rem 0; cursor: pointer; }
section { margin-bottom: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid #8884; }
.method { display: inline-block; min-width: 4.5rem; font-weight: 700; }
"""


def describe(app: FastAPI) -> None:
    """Have the OpenAPI document of an application say how one shows who one is, and what errors are like."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        components = document.setdefault("components", {})
        components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        components.setdefault("responses", {})["Problem"] = _PROBLEM
        document["security"] = [{"bearer": []}]
        for operations in document["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
                operation["responses"]["default"] = {"$ref": "#/components/responses/Problem"}
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation says it is extended


def reference_router() -> APIRouter:
    """Return the route of the page and of its style."""
    router = APIRouter(prefix="/api", include_in_schema=False)

    @router.get("/docs")
    async def docs(request: Request, _: Reader) -> HTMLResponse:
        """All routes."""
        page = "".join(_page(request.app.openapi(), request.scope.get("root_path", "")))
        return HTMLResponse(page, headers={"content-security-policy": PAGE_POLICY})

    @router.get("/docs.css")
    async def style(_: Reader) -> Response:
        """How it looks."""
        return Response(_STYLE, media_type="text/css")

    return router


def _page(document: Mapping[str, Any], root: str) -> Iterator[str]:
    base = escape(root, quote=True)
    yield "<!doctype html><html lang=en><head><meta charset=utf-8>"
    yield "<meta name=viewport content='width=device-width, initial-scale=1'><title>Tocsin: API</title>"
    yield f'<link rel=stylesheet href="{base}/api/docs.css"></head><body><main>'
    yield f"<h1>Tocsin {_text(document['info']['version'])}: API</h1>"
    yield f'<p>For programs: <a href="{base}/api/openapi.json">openapi.json</a>. '
    yield "Errors are problem documents (RFC 9457).</p>"
    by_tag: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            by_tag.setdefault((operation.get("tags") or ["other"])[0], []).append((method, path, operation))
    for tag, operations in by_tag.items():
        yield f"<section><h2>{_text(tag)}</h2>"
        for method, path, operation in operations:
            yield from _operation(method, path, operation, document)
        yield "</section>"
    yield "</main></body></html>"


def _operation(method: str, path: str, operation: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    yield f"<details><summary><span class=method>{_text(method.upper())}</span> <code>{_text(path)}</code> "
    yield f"{_text(operation.get('summary', ''))}</summary><p>{_text(operation.get('description', ''))}</p>"
    rows = [
        (one["name"], one["in"], _kind(one.get("schema", {})), one.get("description", ""))
        for one in operation.get("parameters", ())
    ]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content.get("schema", {})
        name = schema.get("$ref", "").rpartition("/")[2]
        found = document.get("components", {}).get("schemas", {}).get(name, schema)
        needed = found.get("required", ())
        rows += [
            (key, "body, required" if key in needed else "body", _kind(part), part.get("description", ""))
            for key, part in found.get("properties", {}).items()
        ]
        if "properties" not in found:
            rows.append(("", "body", _kind(found), operation["requestBody"].get("description", "")))
    if rows:
        yield "<table><thead><tr><th>name<th>where<th>type<th>what</tr></thead><tbody>"
        for row in rows:
            yield "<tr>" + "".join(f"<td>{_text(cell)}" for cell in row) + "</tr>"
        yield "</tbody></table>"
    yield "</details>"


def _kind(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    name = schema.get("$ref", "").rpartition("/")[2]
    return str(schema.get("format") or schema.get("type") or name)


def _text(text: object) -> str:
    return escape(str(text))
