"""What parts of the engine hand over to be kept, and get back: a tree of plain values and arrays."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Frozen", "State"]

State: TypeAlias = "bool | int | float | str | NDArray[np.generic] | Sequence[State] | Mapping[str, State] | None"
"""Keys are text; integers fit in 64 bits, signed or not; floats may be NaN or infinite; arrays hold no objects."""

Frozen: TypeAlias = "Callable[[], State]"
"""A part's state as it was when this was made; called once, in any thread, while the part itself goes on."""
