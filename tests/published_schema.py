"""The published schemas of what is sent, beside the tests of notifications."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

__all__ = ["check"]

_DIRECTORY = Path(__file__).parent / "notify" / "schemas"


def check(instance: Any, name: str) -> None:  # noqa: ANN401  # any JSON
    """Raise where `instance` does not follow the schema `name`."""
    _validator(name).validate(instance)


@cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((_DIRECTORY / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)
