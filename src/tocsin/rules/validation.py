"""Data against a pydantic model, with every mistake at its line and column, and what was probably meant."""

import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tocsin.rules.document import Document
from tocsin.rules.problems import KeyPath, Mistake, closest, one_of, shown_key

__all__ = ["later_keys", "unknown_key", "validate"]

M = TypeVar("M", bound=BaseModel)

_TYPES = {
    "string_type": "should be text",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "decimal_type": "should be a number",
    "decimal_parsing": "should be a number",
    "finite_number": "should be a finite number",
    "dict_type": "should be a mapping, 'key: value' lines",
    "model_type": "should be a mapping, 'key: value' lines",
    "model_attributes_type": "should be a mapping, 'key: value' lines",
    "mapping_type": "should be a mapping, 'key: value' lines",
    "list_type": "should be a list, like [a, b]",
    "tuple_type": "should be a list, like [a, b]",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_SECRET_FREE = frozenset({"enum", "literal_error"})
"""Errors of fields whose values are words of ours: what was written may be shown."""


def validate(model: type[M], document: Document, path: KeyPath, data: object) -> tuple[M | None, list[Mistake]]:
    """Return the model of some data, or None and all that is wrong with it.

    Args:
        model: what the data should be.
        document: where it stands, to tell which keys of an error's location are really in the file.
        path: where the data begins in the document; the mistakes' paths begin there too.
        data: plain data.
    """
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        mistakes = [_mistake(model, document, path, details) for details in error.errors(include_url=False)]
        return None, list(_joined(mistakes))


def later_keys(model: type[BaseModel]) -> Mapping[str, str]:
    """Return the keys that a model will know in a later version, with what to do until then."""
    later: Mapping[str, str] = getattr(model, "later", {})
    return later


def unknown_key(model: type[BaseModel] | None, key: str) -> str:
    """Return the sentence for a key that a model does not have."""
    later = later_keys(model) if model is not None else {}
    if key in later:
        return f"{key!r} comes in a later version of Tocsin; until then {later[key]}"
    elsewhere: Mapping[str, str] = getattr(model, "elsewhere", {})
    if key in elsewhere:
        return f"unknown key {key!r}; here it is {elsewhere[key]!r}"
    known = _keys_of(model) if model is not None else ()
    advice = closest(key, known)
    if not advice:
        advice = f"; remove it, or use one of {', '.join(known)}" if known else "; remove it"
    return f"unknown key {shown_key(key)}{advice}"


def _mistake(model: type[BaseModel], document: Document, path: KeyPath, details: ErrorDetails) -> Mistake:
    location: KeyPath = details["loc"]
    known = _present(document, path, location)
    kind = details["type"]
    if kind == "extra_forbidden":
        text = unknown_key(_model_at(model, location[:-1]), str(location[-1]))
        return Mistake((*path, *known), text, at_key=True)
    if kind == "missing":
        return Mistake((*path, *known), f"{str(location[-1])!r} is missing; add it")
    if kind == "union_tag_not_found":
        return Mistake((*path, *known), f"{_discriminator(details)} is missing; add it")
    if kind == "union_tag_invalid":
        tags = [tag.strip().strip("'") for tag in details["ctx"]["expected_tags"].split(",")]
        place = (*path, *known, _discriminator(details).strip("'"))
        return Mistake(place, one_of(str(details["ctx"]["tag"]), tags))
    return Mistake((*path, *known), _sentence(details), at_key=location[-1:] == ("[key]",))


def _discriminator(details: ErrorDetails) -> str:
    return str(details["ctx"]["discriminator"])


def _sentence(details: ErrorDetails) -> str:
    kind, message = details["type"], str(details["msg"])
    if details["input"] is None and "'None'" in message:
        return "nothing is written here; write a value, or remove the key"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind in _SECRET_FREE and isinstance(details["input"], str):
        expected = details["ctx"]["expected"].replace(" or ", ", ")
        return one_of(details["input"], [word.strip().strip("'") for word in expected.split(",")])
    if kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        return f"should be {words} {details['ctx'][name]}"
    text = _TYPES.get(kind, message.replace("Input should", "should"))
    if details["input"] is None and kind.endswith("_type"):
        return f"nothing is written here; it {text}"
    return text[:1].lower() + text[1:]


def _joined(mistakes: Iterable[Mistake]) -> Iterator[Mistake]:
    """One mistake for the branches of a union that all failed on the same value."""
    seen: dict[tuple[KeyPath, bool], list[str]] = {}
    for mistake in mistakes:
        texts = seen.setdefault((mistake.path, mistake.at_key), [])
        if mistake.text not in texts:
            texts.append(mistake.text)
    for (path, at_key), texts in seen.items():
        yield Mistake(path, "; or ".join(texts), at_key)


def _present(document: Document, path: KeyPath, location: KeyPath) -> KeyPath:
    """The keys of an error's location that are in the file; pydantic adds tags of unions and validators."""
    node = document.at(path)
    found: list[str | int] = []
    for key in location:
        child = node.child(key)
        if child is not None:
            found.append(key)
            node = child
    return tuple(found)


def _keys_of(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _model_at(model: type[BaseModel], location: KeyPath) -> type[BaseModel] | None:
    """The model that an error's location leads to."""
    return next(_descend(model, location), None)


def _descend(kind: Any, location: KeyPath) -> Iterator[type[BaseModel]]:  # noqa: ANN401  # any annotation
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        yield from _descend(arguments[0], location)
    elif origin in (Union, types.UnionType):
        yield from _descend_union(arguments, location)
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        if not location:
            yield kind
        for name, field in kind.model_fields.items():
            if location and location[0] == (field.alias or name):
                yield from _descend(field.annotation, location[1:])
    elif origin is not None and location:
        for argument in arguments[-1:] if issubclass(origin, Mapping) else arguments:
            yield from _descend(argument, location[1:])


def _descend_union(members: tuple[Any, ...], location: KeyPath) -> Iterator[type[BaseModel]]:
    for member in members:
        if location and location[0] in _tags(member):
            yield from _descend(member, location[1:])
            return
    for member in members:
        yield from _descend(member, location)
        if location and getattr(member, "__name__", None) == location[0]:
            yield from _descend(member, location[1:])


def _tags(member: Any) -> Iterator[object]:  # noqa: ANN401  # any annotation
    """The words that choose this member of a tagged union."""
    if isinstance(member, type) and issubclass(member, BaseModel):
        for field in member.model_fields.values():
            if get_origin(field.annotation) is Literal:
                yield from get_args(field.annotation)
