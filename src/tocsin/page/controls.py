"""The form of a contact point, from the model of its kind: a field of the model is a control of the form.

A kind that is new has its form at once. What a control can't show is written as YAML, as in the file.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tocsin.api.editing import FieldProblem, Fields, RejectedError
from tocsin.notify.contact import ContactConfig, Rate
from tocsin.notify.wording import duration
from tocsin.page.forms import Form
from tocsin.rules.document import parse

__all__ = ["Control", "Kind", "controls_of", "fields_of"]

_HINTS: Final[Mapping[str, str]] = {
    "allow_private": "Whether addresses of this machine and of private networks may be used.",
    "bot_token": "Of a Slack app with the scope chat:write; then name a channel or a user.",
    "ca_file": "A file of PEM certificates to trust in place of the system's.",
    "headers": "One a line, Name: value.",
    "min_severity": "What is less urgent is not sent here.",
    "mute_timings": "Names under mute_timings, with commas.",
    "rate_limit": "At most so many messages, like 30/m; empty: no limit.",
    "secret": "whsec_ and base64; every request is signed with it.",
    "timeout": "For one attempt, like 10s.",
    "to": "Several with commas.",
    "webhook_url": "Of a Slack app; or a bot token.",
}
_SHORT: Final = frozenset({"api", "ca", "html", "id", "sasl", "tls", "url"})


class Kind(StrEnum):
    """What a control is."""

    TEXT = "text"
    NUMBER = "number"
    LINES = "lines"
    """A text of several lines."""
    LIST = "list"
    """Several texts with commas."""
    CHOICE = "choice"
    YES_NO = "yes_no"
    YAML = "yaml"
    SECRET = "secret"  # noqa: S105  # a word
    """Write-only."""
    SECRETS = "secrets"
    """Write-only, one `Name: value` a line."""


@dataclass(frozen=True, slots=True)
class Control:
    """One field of a form."""

    name: str
    """In the YAML; `template.title` is inside `template`."""
    kind: Kind
    value: str
    """What is shown; never a secret."""
    otherwise: str
    """What counts where it is left empty, for people."""
    choices: tuple[str, ...]
    required: bool
    common: bool
    """Every kind of contact point has it."""
    is_set: bool
    """Of a secret: whether there is one."""
    hint: str

    @property
    def label(self) -> str:
        """For people."""
        words = self.name.rpartition(".")[2].split("_")
        shown = " ".join(word.upper() if word in _SHORT else word for word in words)
        return shown[:1].upper() + shown[1:]


def controls_of(model: type[BaseModel], secrets: tuple[str, ...], fields: Fields, form: Form | None) -> list[Control]:
    """Return the controls of a kind of contact point.

    Args:
        model: of that kind.
        secrets: its fields that are never shown.
        fields: what stands in the file; nothing for a new one.
        form: what was sent and could not be taken; it is shown again, but for secrets.
    """
    found = []
    for name, info in model.model_fields.items():
        key = info.alias or name
        if name == "type":
            continue
        inner = _model_in(info.annotation)
        if inner is not None and name == "template":
            held = fields.get(key)
            within = held if isinstance(held, Mapping) else {}
            found += [
                _control(f"{key}.{sub}", each, _kind(each, sub, ()), within.get(sub), form, common=True)
                for sub, each in inner.model_fields.items()
            ]
        else:
            common = name in ContactConfig.model_fields
            found.append(_control(key, info, _kind(info, key, secrets), fields.get(key), form, common=common))
    return found


def fields_of(controls: list[Control], form: Form) -> dict[str, Any]:
    """Return the fields that a form stands for: without secrets that stay, with None for those that go.

    Raises:
        RejectedError: a control holds what it can't.
    """
    found: dict[str, Any] = {}
    problems = []
    for control in controls:
        try:
            value = _value(control, form)
        except ValueError as error:
            problems.append(FieldProblem(control.name, str(error)))
            continue
        if value is _LEFT_OUT:
            continue
        outer, dot, inner = control.name.partition(".")
        if dot:
            found.setdefault(outer, {})[inner] = value
        else:
            found[outer] = value
    if problems:
        raise RejectedError(problems)
    return found


_LEFT_OUT: Final = object()


def _value(control: Control, form: Form) -> Any:  # noqa: ANN401  # of YAML
    text = form[control.name]
    if control.kind in (Kind.SECRET, Kind.SECRETS) and f"remove.{control.name}" in form:
        return None
    if not text:
        return _LEFT_OUT
    match control.kind:
        case Kind.YES_NO:
            return text == "yes"
        case Kind.LIST:
            return [each.strip() for each in text.split(",") if each.strip()]
        case Kind.LINES:
            return form.raw(control.name).rstrip()
        case Kind.SECRETS:
            return dict(_headers(form.raw(control.name)))
        case Kind.YAML:
            return _plain(form.raw(control.name))
        case Kind.NUMBER if text.isascii() and text.isdigit():
            return int(text)
        case _:
            return text


def _headers(text: str) -> Iterator[tuple[str, str]]:
    for line in filter(None, map(str.strip, text.splitlines())):
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not value.strip():
            raise ValueError("write one a line, like Authorization: Bearer abc")
        yield name.strip(), value.strip()


def _plain(text: str) -> object:
    document, problems = parse(text, "")
    if problems:
        raise ValueError(f"no YAML: {problems[0].text}")
    return document.root.plain()


def _control(name: str, info: FieldInfo, kind: Kind, held: object, form: Form | None, *, common: bool) -> Control:
    secret = kind in (Kind.SECRET, Kind.SECRETS)
    if kind is Kind.LIST and not _is_list(held):
        kind = Kind.YAML
    value = "" if secret or held is None else _shown(held, kind)
    if form is not None and name in form and not secret:
        value = form.raw(name)
    choices = ("yes", "no") if kind is Kind.YES_NO else _choices(info.annotation)
    return Control(
        name,
        kind,
        value,
        _default(info),
        choices,
        info.is_required(),
        common,
        secret and held not in (None, "", {}),
        _HINTS.get(name, ""),
    )


def _kind(info: FieldInfo, name: str, secrets: tuple[str, ...]) -> Kind:
    kinds = set(_parts(info.annotation))
    if name in secrets:
        return Kind.SECRETS if _holds_several(info.annotation) else Kind.SECRET
    if bool in kinds:
        return Kind.YES_NO
    if _choices(info.annotation):
        return Kind.CHOICE
    if name in ("title", "text", "html", "body"):
        return Kind.LINES
    if any(get_origin(each) in (tuple, list) for each in kinds):
        return Kind.LIST
    if int in kinds and str not in kinds:
        return Kind.NUMBER
    simple = (str, int, float, Path, timedelta, Rate, type(None))
    return Kind.TEXT if all(each in simple for each in kinds) else Kind.YAML


def _parts(kind: object) -> Iterator[Any]:
    """Yield the members of a union, or the one kind that it is."""
    arguments = get_args(kind)
    if not arguments or get_origin(kind) in (tuple, list, dict, Literal):
        yield kind
    else:
        for each in arguments:
            if isinstance(each, type) or get_args(each) or each is None:
                yield from _parts(each)


def _holds_several(kind: object) -> bool:
    return any(get_origin(each) in (dict, Mapping) for each in _parts(kind)) or "dict[" in str(kind)


def _model_in(kind: object) -> type[BaseModel] | None:
    for each in _parts(kind):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return each
    return None


def _choices(kind: object) -> tuple[str, ...]:
    for each in _parts(kind):
        if isinstance(each, type) and issubclass(each, StrEnum):
            return tuple(str(one) for one in each)
        if get_origin(each) is Literal:
            return tuple(str(one) for one in get_args(each))
    return ()


def _default(info: FieldInfo) -> str:
    value = info.default
    if info.is_required() or value is None or info.default_factory is not None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, timedelta):
        return duration(value.total_seconds()).replace(" ", "")
    return "" if isinstance(value, tuple | Mapping | BaseModel) else str(value)


def _is_list(held: object) -> bool:
    return (
        held is None or isinstance(held, str) or (isinstance(held, list) and all(isinstance(one, str) for one in held))
    )


def _shown(held: object, kind: Kind) -> str:
    if kind is Kind.YES_NO and isinstance(held, bool):
        return "yes" if held else "no"
    if kind is Kind.LIST and isinstance(held, list):
        return ", ".join(held)
    if kind is not Kind.YAML and isinstance(held, str | int | float):
        return str(held)
    stream = io.StringIO()
    try:
        YAML(typ="safe", pure=True).dump(held, stream)
    except YAMLError:
        return ""
    return stream.getvalue().removesuffix("...\n").rstrip("\n")
