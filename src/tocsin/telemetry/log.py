"""The log: events with fields, a line each, as text or JSON. No prompt text and no secret reaches it."""

import logging
import sys
import time
from typing import Final, Literal, TextIO

import orjson

__all__ = ["configure_logging", "log", "place_of"]

_FRAMES: Final = 4
_LOG = logging.getLogger("tocsin")


def place_of(error: BaseException) -> str:
    """Return the innermost frames of an error as `file:line`, which says where without saying what the data was."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename.replace("\\", "/")
        places.append(f"{'/'.join(path.rsplit('/', 2)[-2:])}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " < ".join(reversed(places[-_FRAMES:])) or "unknown"


def configure_logging(*, level: str, form: Literal["text", "json"], stream: TextIO | None = None) -> None:
    """Send the log to `stream` (None: standard error), a line an event; of other libraries only warnings."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    _LOG.setLevel(level.upper())
    # Alerts are what the product says, not what it says of itself: the level is for the latter.
    logging.getLogger("tocsin.alerts").setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(logging.WARNING)


def log(level: int, message: str, **fields: object) -> None:
    """Log an event with its fields."""
    if _LOG.isEnabledFor(level):
        _LOG.log(level, message, extra={"fields": fields})


def _moment(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


class _Text(logging.Formatter):
    """`TIME level message key=value`, one line whatever a value holds."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        tail = "".join(f" {key}={_shown(value)}" for key, value in fields.items())
        line = f"{_moment(record)} {record.levelname.lower():7} {_one_line(record.getMessage())}{tail}"
        return f"{line} {_one_line(self.formatException(record.exc_info))}" if record.exc_info else line


class _Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if hasattr(record, "alert"):
            entry["alert"] = record.alert
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _shown(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return orjson.dumps(text).decode() if any(c in ' "=' or not c.isprintable() for c in text) else text


def _one_line(text: str) -> str:
    """Escape what could start a line of its own: clients' values must not forge log entries."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
