"""The version of a rule: a digest of all that it means, the same in every process and version of Python."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any, Final

from tocsin.rules.vector import Vector

__all__ = ["version_of"]

_UNSAID: Final[Mapping[str, object]] = {"expression": None, "calendar": None, "shadow": False}
"""Parts that rules did not have at first: where they say nothing, a rule is the one that it was before them."""


def version_of(parts: Mapping[str, Any]) -> str:
    """Return 16 hex digits over the fields of a rule, its version left out."""
    said = {name: part for name, part in parts.items() if name not in _UNSAID or part != _UNSAID[name]}
    canonical = json.dumps(_canonical(said), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _canonical(value: Any) -> Any:  # noqa: ANN401  # any part of a rule
    """The same JSON for the same content."""
    if is_dataclass(value):
        # What does not count when two are compared (memories, hashes that differ by process) is no content.
        content = {field.name: _canonical(getattr(value, field.name)) for field in fields(value) if field.compare}
        # Nodes of an expression may have the same fields and mean different things.
        return {"is": type(value).__name__, **content} if isinstance(value, Vector) else content
    match value:
        case Mapping():
            return {str(key): _canonical(item) for key, item in value.items()}
        case frozenset():
            return sorted(_canonical(item) for item in value)
        case tuple() | list():
            return [_canonical(item) for item in value]
        case Decimal():
            return str(value)
        case _:
            return value
