"""The kill switch: keys (a conversation, a tenant, an agent) that are blocked for a while.

The service's part decides, keeps and tells what is blocked; `Guard` is the application's part, and needs no more than
grpcio. What is imported from here is loaded when it is used, so that neither brings in the other.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tocsin.guard.client import Guard
    from tocsin.guard.errors import BlockedError, GuardUnavailableError

__all__ = ["BlockedError", "Guard", "GuardUnavailableError"]

_MODULES = {"Guard": "client", "BlockedError": "errors", "GuardUnavailableError": "errors"}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # a module's attributes have any type
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
