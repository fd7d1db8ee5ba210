"""Values as YAML that a person would write: plain where that is clear, else quoted, and blocks for long texts."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from tocsin.rules.document import parse

__all__ = ["Value", "block_lines", "flow", "is_block", "scalar"]

Value = object
"""Text, number, true, false, nothing, a list or a mapping with keys of text."""

_PLAIN: Final = re.compile(r"[A-Za-z_$/.0-9][^\n\r\t#:,\[\]{}&*!|>'\"@`\\]*")
_LONG: Final = 60
_STEP: Final = 2


def scalar(value: Value) -> str:
    """Return one value on one line.

    Raises:
        ValueError: it is none that YAML's core schema has.
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return getattr(value, "written", None) or int.__repr__(value)
        case float():
            return getattr(value, "written", None) or _number(value)
        case str():
            return _text(value)
        case _:
            raise ValueError(f"{type(value).__name__} is no value of a configuration")


def flow(value: Value) -> str:
    """Return a value in brackets, on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(str(key))}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def is_block(value: Value) -> bool:
    """Whether a value is written on lines of its own, below its key."""
    if isinstance(value, Mapping):
        return bool(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return any(isinstance(each, Mapping | list | tuple) for each in value) or len(flow(value)) > _LONG
    return isinstance(value, str) and _as_block(value)


def block_lines(value: Value, indent: int) -> tuple[str, list[str]]:
    """Return what stands behind a key or dash, and the lines below it.

    Args:
        value: any.
        indent: columns of the lines below.
    """
    if not is_block(value):
        return flow(value), []
    space = " " * indent
    if isinstance(value, str):
        kept = value.removesuffix("\n")
        lines = [space + line if line else "" for line in kept.split("\n")]
        return ("|" if value.endswith("\n") else "|-"), lines
    lines = []
    if isinstance(value, Mapping):
        for key, each in value.items():
            head, below = block_lines(each, indent + _STEP)
            lines += [f"{space}{_text(str(key))}:{' ' if head else ''}{head}", *below]
        return "", lines
    assert isinstance(value, Sequence)  # noqa: S101  # is_block said so
    for each in value:
        if isinstance(each, Mapping) and each:
            lines += [f"{space}- {flow(each)}"]
        else:
            head, below = block_lines(each, indent + _STEP)
            lines += [f"{space}- {head}", *below]
    return "", lines


def _number(value: float) -> str:
    if math.isnan(value) or math.isinf(value):
        raise ValueError("a number has to be finite")
    return str(int(value)) if value == int(value) and abs(value) < 10**15 else repr(float(value))


def _as_block(text: str) -> bool:
    lines = text.removesuffix("\n").split("\n")
    return (
        len(lines) > 1
        and bool(lines[0].strip())
        and lines[0][0] not in " \t"
        and bool(lines[-1].strip())
        and not text.endswith("\n\n")
        and all(line.isprintable() and line == line.rstrip() for line in lines)
    )


def _text(text: str) -> str:
    plain = _PLAIN.fullmatch(text) and text == text.strip() and text.isprintable() and text.isascii()
    if plain and len(text) < 400 and _reads_as(text, text):
        return text
    ascii_only = not text.isprintable() or "\ufeff" in text
    return json.dumps(text, ensure_ascii=ascii_only)


def _reads_as(written: str, text: str) -> bool:
    document, problems = parse(f"[{written}]", "")
    node = document.root.child(0)
    return not problems and node is not None and node.value == text and type(node.value) is str
