"""OTLP bytes to columns, by the native decoder where it was built and by the protobuf one where not.

`decoder` gives one for a projection. Its `traces` and `logs` take requests that are evaluated together and
give one `Decoded`; a malformed request is refused alone. Both decoders give equal columns or both refuse.
"""

import functools
import logging
from collections.abc import Sequence
from typing import Protocol

from tocsin.decode import reference
from tocsin.model.columns import Decoded, Projection

try:
    from tocsin.decode import wire
except ImportError:  # the Rust module was not built: no cargo, or no network to fetch its crates
    NATIVE = False
else:
    NATIVE = True

__all__ = ["NATIVE", "Decoder", "decoder"]

_log = logging.getLogger(__name__)


class Decoder(Protocol):
    """What both decoders are."""

    def traces(self, requests: Sequence[bytes]) -> Decoded:
        """Decode serialized ExportTraceServiceRequest messages into one set of columns."""
        ...

    def logs(self, requests: Sequence[bytes]) -> Decoded:
        """Decode serialized ExportLogsServiceRequest messages into one set of columns."""
        ...


def decoder(projection: Projection) -> Decoder:
    """Return the fastest decoder that this installation has; says once where that is the slow one."""
    if NATIVE:
        return wire.Decoder(projection)
    _say_slow()
    return reference.Decoder(projection)


@functools.cache
def _say_slow() -> None:
    _log.warning("the native decoder was not built; the slower one is in use: install Rust's cargo and reinstall")
