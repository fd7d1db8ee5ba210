"""Liquid that writes JSON: a value between quotation marks can't leave them, one without is written as JSON.

Liquid escapes for HTML or not at all, so the three tags that write values are replaced: `{{ … }}`, `echo` and
`capture`. `cycle`, which writes what it is given, is taken out.
"""

from io import StringIO
from typing import TextIO

from liquid import RenderContext, Undefined
from liquid.builtin.output import Output, OutputNode
from liquid.builtin.tags.capture_tag import CaptureNode, CaptureTag
from liquid.builtin.tags.echo_tag import EchoNode, EchoTag

from tocsin.notify.templating.bounds import BoundedEnvironment
from tocsin.notify.templating.filters import Written, json_value

__all__ = ["JsonEnvironment"]


class JsonEnvironment(BoundedEnvironment):
    """Templates whose output is JSON."""

    output_stream_limit = 1024 * 1024

    def __init__(self) -> None:
        super().__init__()
        for tag in (_JsonOutput, _JsonEcho, _JsonCapture):
            self.add_tag(tag)
        self.tags.pop("cycle", None)


class _JsonOutputNode(OutputNode):
    __slots__ = ()

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        return buffer.write(_shown(self.expression.evaluate(context)))


class _JsonEchoNode(EchoNode):
    __slots__ = ()

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        return buffer.write(_shown(self.expression.evaluate(context)))


class _JsonCaptureNode(CaptureNode):
    __slots__ = ()

    def _assign(self, context: RenderContext, buf: StringIO) -> None:
        context.assign(self.name, Written(buf.getvalue()))


class _JsonOutput(Output):
    node_class = _JsonOutputNode


class _JsonEcho(EchoTag):
    node_class = _JsonEchoNode


class _JsonCapture(CaptureTag):
    node_class = _JsonCaptureNode


def _shown(value: object) -> str:
    """Return text as it stands between quotation marks, nothing for nothing, and anything else as JSON."""
    if isinstance(value, Written):
        return value
    if value is None:
        return ""
    if isinstance(value, str | Undefined):  # an undefined name raises where it becomes text
        return json_value(str(value))[1:-1]
    return json_value(list(value) if isinstance(value, range) else value)
