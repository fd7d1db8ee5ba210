"""YAML and JSON of other tools, read as plain values."""

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

__all__ = ["documents_of", "listed", "seconds_text"]

_LARGEST = 16 * 1024 * 1024


def documents_of(text: str) -> list[Any]:
    """Return the documents of a YAML or JSON text as mappings, lists and scalars.

    Raises:
        ValueError: it is neither.
    """
    if len(text) > _LARGEST:
        raise ValueError("it is larger than 16 MiB; import its parts")
    try:
        return [document for document in YAML(typ="safe", pure=True).load_all(text) if document is not None]
    except (YAMLError, ValueError, RecursionError) as error:
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"it is neither YAML nor JSON: {problem[:200]}") from error


def listed(value: object) -> list[Any]:
    """Return a list as it is, and anything else, which is none, as an empty one."""
    return value if isinstance(value, list) else []


def seconds_text(seconds: int) -> str:
    """Return seconds as a duration of a rule: `5m`, `1h30m`, `90s`."""
    parts = []
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
