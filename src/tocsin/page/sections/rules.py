"""The rules: all of them in a table, and what can be done to each."""

from fastapi import Request
from starlette.responses import Response

from tocsin.api.authorization import Reader
from tocsin.page.shell import Link, Pages, Section

__all__ = ["rules_section"]


def rules_section(pages: Pages) -> Section:
    """Return the section of rules."""
    router = pages.routes()

    @router.get("/rules")
    async def table(request: Request, who: Reader) -> Response:
        return pages.render(request, "rules.html")

    return Section(router, Link("/rules", "Rules", group="change"))
