"""Values as documents and back, exactly: how each kind of value is written as JSON, and what is accepted when read.

The documents outlive the process that wrote them, so a reader trusts nothing: whatever is not as the writer leaves it
is a `ValueError` whose text says where. Floats may be NaN or infinite, and text may hold anything that Python's can,
lone surrogates included, so this is JSON with `NaN` and `Infinity`, in UTF-8 that lets surrogates pass.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Generic, TypeAlias, TypeVar

__all__ = [
    "EXACT",
    "FLAG",
    "REAL",
    "TEXT",
    "TEXTS",
    "WHOLE",
    "Form",
    "Plain",
    "decode",
    "encode",
    "listed",
    "optional",
    "record",
    "word",
]

T = TypeVar("T")
E = TypeVar("E", bound=Enum)
Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
"""What JSON has."""


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How one kind of value is written and read."""

    write: Callable[[T], Plain]
    read: Callable[[Plain], T]
    """Raises ValueError for what `write` does not leave."""


def _text(value: Plain) -> str:
    if not isinstance(value, str):
        raise _wrong(value, "is no text")
    return value


def _whole(value: Plain) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(value, "is no whole number")
    return value


def _real(value: Plain) -> float:
    if not isinstance(value, float | int) or isinstance(value, bool):
        raise _wrong(value, "is no number")
    try:
        return float(value)
    except OverflowError:
        raise _wrong("a number of too many digits", "is no number") from None


def _flag(value: Plain) -> bool:
    if not isinstance(value, bool):
        raise _wrong(value, "is neither true nor false")
    return value


def _exact(value: Plain) -> Decimal:
    try:
        return Decimal(_text(value))
    except InvalidOperation:
        raise _wrong(value, "is no decimal number") from None


def _texts(value: Plain) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _wrong(value, "is no mapping")
    return {key: _text(text) for key, text in value.items()}


def _texts_written(value: Mapping[str, str]) -> Plain:
    return dict(value)


TEXT: Form[str] = Form(str, _text)
WHOLE: Form[int] = Form(int, _whole)
REAL: Form[float] = Form(float, _real)
FLAG: Form[bool] = Form(bool, _flag)
EXACT: Form[Decimal] = Form(str, _exact)
"""A decimal number in its own digits: 0.50 stays 0.50."""
TEXTS: Form[Mapping[str, str]] = Form(_texts_written, _texts)
"""Text by text, in order."""


def word(words: type[E]) -> Form[E]:
    """Return the form of an enumeration's members: their values."""
    members: dict[object, E] = {member.value: member for member in words}

    def read(value: Plain) -> E:
        found = None if isinstance(value, list | dict | bool) else members.get(value)
        if found is None:
            raise _wrong(value, f"is no {words.__name__}")
        return found

    return Form(lambda member: member.value, read)


def optional(form: Form[T]) -> Form[T | None]:
    """Return the form of a value that may be None."""
    return Form(
        lambda value: None if value is None else form.write(value),
        lambda value: None if value is None else form.read(value),
    )


def listed(form: Form[T]) -> Form[tuple[T, ...]]:
    """Return the form of a tuple of such values."""
    write_one, read_one = form.write, form.read

    def read(value: Plain) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise _wrong(value, "is no list")
        found = []
        for index, item in enumerate(value):
            try:
                found.append(read_one(item))
            except ValueError as error:
                raise ValueError(f"{index}: {error}") from None
        return tuple(found)

    return Form(lambda values: [write_one(value) for value in values], read)


def record(kind: type[T], /, **fields: Form) -> Form[T]:  # type: ignore[type-arg]  # of any kinds, by name
    """Return the form of a dataclass: all of its fields by name, none missing and none more."""
    writers = [(name, form.write) for name, form in fields.items()]
    readers = [(name, form.read) for name, form in fields.items()]

    def write(value: T) -> Plain:
        return {name: write_one(getattr(value, name)) for name, write_one in writers}

    def read(value: Plain) -> T:
        if not isinstance(value, dict):
            raise _wrong(value, f"is no {kind.__name__}")
        if value.keys() != fields.keys():
            missing = ", ".join(sorted(fields.keys() - value.keys()))
            unknown = ", ".join(sorted(value.keys() - fields.keys()))
            raise ValueError(f"{kind.__name__} without {missing}" if missing else f"{kind.__name__} has no {unknown}")
        read_values = {}
        for name, read_one in readers:
            try:
                read_values[name] = read_one(value[name])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return kind(**read_values)

    return Form(write, read)


def encode(version: int, value: Plain) -> bytes:
    """Return a document of some version of its kind."""
    document = {"version": version, "value": value}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), check_circular=False).encode(
        "utf-8", "surrogatepass"
    )


def decode(document: bytes, version: int, what: str) -> Plain:
    """Return the value of a document that `encode` made.

    Raises:
        ValueError: it is none of ours, or of another version; `what` says what it should be.
    """
    try:
        found = json.loads(document.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what}: not a document: {type(error).__name__}") from None
    if not isinstance(found, dict) or found.keys() != {"version", "value"}:
        raise ValueError(f"{what}: not a document of ours")
    if found["version"] != version:
        raise ValueError(f"{what}: of version {_shown(found['version'])}, and only {version} is read here")
    value: Plain = found["value"]
    return value


def _wrong(value: object, what: str) -> ValueError:
    """Return the error: a document's fault, whatever its type, so never a TypeError."""
    return ValueError(f"{_shown(value)} {what}")


def _shown(value: object) -> str:
    return ascii(value)[:80]
