"""Liquid within bounds: what one rendering may cost in processor time, loops, memory and output.

A template is rendered where deliveries are made, so one that never ends would hold them all up. Liquid's own limits
count loops, what is assigned and what is written; the ones added here are a deadline, looked at before every node and
filter, and the size of what goes into a filter and comes out of it (`replace` and `join` multiply texts).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from liquid import BoundTemplate, Environment, RenderContext, StrictDefaultUndefined
from liquid.exceptions import LiquidError
from liquid.token import Token

__all__ = ["SECONDS", "BoundedEnvironment", "SlowTemplateError"]

SECONDS: Final = 0.25
"""Of the thread's own processor time: a machine that is busy with other things makes no template slow."""
_MOST: Final = 64 * 1024
"""Characters of all that goes into one filter, and of what comes out of it."""
_ELEMENT: Final = 64
"""What an element of a list counts: some filters compare each with each."""
_DEPTH: Final = 4
_SAFE: Final = "safe"
"""Liquid's filter that switches escaping off."""


class SlowTemplateError(LiquidError):
    """A template takes too long."""


class _LargeError(LiquidError):
    """What goes through a filter is too large."""


class _BoundedContext(RenderContext):
    """Looks at the clock before each node and each filter."""

    __slots__ = ("_disabled", "_until")

    @property
    def disabled_tags(self) -> list[str]:
        """What Liquid reads before it renders a node, whichever it is: the one place that all of them pass."""
        self._check_time()
        return self._disabled

    @disabled_tags.setter
    def disabled_tags(self, tags: list[str]) -> None:
        self._until = time.thread_time() + SECONDS
        self._disabled = tags

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:
        """Return a filter that refuses what is too large."""
        self._check_time()
        return partial(_bounded, name, super().filter(name, token))

    def _check_time(self) -> None:
        if time.thread_time() > self._until:
            raise SlowTemplateError(f"it takes more than {SECONDS:g} s", token=None)


class _BoundedTemplate(BoundTemplate):
    context_class = _BoundedContext


class BoundedEnvironment(Environment):
    """Liquid that refuses unknown names and filters, loads no other template, and costs no more than it may."""

    loop_iteration_limit = 1_000
    local_namespace_limit = 64 * 1024
    output_stream_limit = 16 * 1024
    template_class = _BoundedTemplate

    def __init__(self, *, autoescape: bool = False) -> None:
        super().__init__(undefined=StrictDefaultUndefined, autoescape=autoescape)
        self.filters.pop(_SAFE, None)


def _bounded(name: str, call: Callable[..., object], left: object, *args: Any, **options: Any) -> object:  # noqa: ANN401
    _refuse(name, sum(map(_size, (left, *args))))
    if name == "replace" and args:
        _refuse(name, str(left).count(str(args[0])) * len(str(args[1] if len(args) > 1 else "")))
    elif name == "join" and args and isinstance(left, Sequence):
        _refuse(name, len(left) * len(str(args[0])))
    made = call(left, *args, **options)
    if name != "json":  # it makes a text of a value that is as large already
        _refuse(name, _size(made))
    return made


def _refuse(name: str, size: int) -> None:
    if size > _MOST:
        raise _LargeError(f"what goes through '{name}' is too large", token=None)


def _size(value: object, depth: int = 0) -> int:
    match value:
        case str() | bytes():
            return len(value)
        case int():
            return value.bit_length() // 8
        case Mapping():
            return _ELEMENT
        case list() | tuple() if depth < _DEPTH:
            return sum(_ELEMENT + _size(each, depth + 1) for each in value[: _MOST // _ELEMENT + 1])
        case range():
            return len(value)
        case _:
            return _ELEMENT
