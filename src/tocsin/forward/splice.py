"""The cost of each span, added to a request's own bytes.

`app.llm.cost_usd` is appended inside the Span message, and the lengths of the messages around it are written anew;
every other byte stays as it is, whatever it means: unknown fields, groups, the order of fields and odd numbers go on
as they came. The fast way is Rust (`native/src/splice.rs`), the plain one `tocsin.forward.splice_reference`; both give
the same bytes or both refuse (tests/forward/test_splice.py). Speed: docs/forwarding.md.
"""

import numpy as np
from numpy.typing import NDArray

from tocsin.errors import DecodeError
from tocsin.forward import splice_reference

try:
    from tocsin._native import splice as _native_splice
except ImportError:  # the Rust module was not built
    NATIVE = False
else:
    NATIVE = True

__all__ = ["NATIVE", "splice"]


def splice(request: bytes, costs: NDArray[np.float64]) -> bytes:
    """Return a serialized ExportTraceServiceRequest with the costs of its spans.

    A span that states `app.llm.cost_usd` already is left as it is. Where nothing changes, `request` itself is
    returned.

    Args:
        request: the bytes.
        costs: [spans] US dollars in the order of the wire; NaN where there is none.

    Raises:
        DecodeError: the bytes are no such message.
        ValueError: the request has another number of spans.
    """
    if not NATIVE:
        return splice_reference.splice(request, costs.tolist())
    try:
        spans, changed = _native_splice(request, costs.astype(np.float64, copy=False).tobytes())
    except ValueError as error:
        raise DecodeError(f"no cost can be added: {error}") from error
    if spans != len(costs):
        raise ValueError(f"the request has {spans} spans, and {len(costs)} costs were given")
    return request if changed is None else changed
