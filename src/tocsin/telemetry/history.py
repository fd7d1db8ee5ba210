"""Events of what is recorded for later: logs and counts together."""

import logging

from prometheus_client import Counter

from tocsin.telemetry.log import log
from tocsin.telemetry.registry import REGISTRY

__all__ = ["attributes_left_out", "note_failed"]

_left_out = Counter(
    "tocsin_history_attributes_left_out",
    "Times that attributes were not recorded, being more than history.max_attributes.",
    registry=REGISTRY,
)


def note_failed(*, reason: str) -> None:
    """It could not be written down what is recorded from now on; it is recorded all the same."""
    log(logging.WARNING, "what is recorded from now on could not be written down beside the journal", reason=reason)


class _Said:
    once = False


def attributes_left_out(*, number: int) -> None:
    """There are more different attributes than are recorded by the beginning of their keys; said once."""
    _left_out.inc(number)
    if not _Said.once:
        _Said.once = True
        log(
            logging.WARNING,
            "more attributes begin as history.attributes says than are recorded; name fewer, or raise "
            "history.max_attributes",
        )
