"""SQL as alert rules: a query over recorded metrics, compiled to an expression that is evaluated as data arrives.

The contract is that of Arthur's alert rules, described in docs/sql.md. Nothing here runs SQL: a query either becomes
windows of bounded size with the meaning that it has in SQL, or is refused with the place and the reason.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tocsin.rules.sql.checking import Requirement, checklist
    from tocsin.rules.sql.compiling import CompiledQuery, compile_sql
    from tocsin.rules.sql.config import SqlConfig

__all__ = ["CompiledQuery", "Requirement", "SqlConfig", "checklist", "compile_sql"]

_HOMES = {
    "CompiledQuery": "compiling",
    "Requirement": "checking",
    "SqlConfig": "config",
    "checklist": "checking",
    "compile_sql": "compiling",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # any public name
    """Import what is asked for: the parser takes a while to load, and most configurations have no SQL."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
