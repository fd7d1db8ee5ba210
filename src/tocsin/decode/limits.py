"""The limits that both decoders set; those of single attributes stand in the projection."""

__all__ = ["MOST_ROWS", "NAME_CAP", "TRACE_STATE_CAP"]

MOST_ROWS = 1 << 17
"""Rows (spans or wanted log records) of one request; also its resources, and its scopes. A span of a
model call takes 500 bytes and more, so a request of the greatest size (64 MiB) stays below this; without it one of
empty spans, 2 bytes each, would become gigabytes."""

NAME_CAP = 256
"""Bytes that are kept of a span's name, a log record's event name, and a scope's name and version."""

TRACE_STATE_CAP = 512
"""Bytes that are kept of a trace state: what W3C Trace Context asks everyone to pass on."""
