"""Attributes as they are recorded: a number whose text follows from it has none, and is given one when it is read."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tocsin.model.batch import SpanBatch
from tocsin.model.columns import TextColumn

__all__ = ["derivable", "label_of", "number_of", "rendered"]

_EXACT: Final = 2.0**53
"""Below it whole numbers are written in decimal without a loss."""

_Floats = NDArray[np.float64]


def derivable(numbers: _Floats) -> NDArray[np.bool_]:
    """Return [n] where the text of a float follows from the number: those that are whole could be integers."""
    with np.errstate(invalid="ignore"):
        return np.isfinite(numbers) & (numbers != np.trunc(numbers))


def rendered(number: float) -> str:
    """Return the text of a recorded number: that of an integer where it is whole, else a float's shortest one."""
    return str(int(number)) if number == int(number) and abs(number) < _EXACT else repr(number)


def label_of(batch: SpanBatch, name: str) -> TextColumn | None:
    """Return [n] a label, or a recorded attribute as text; None where the batch has none of that name."""
    text, numbers = batch.labels.get(name), batch.numbers.get(name)
    if numbers is None:
        return text
    missing = np.isfinite(numbers) if text is None else np.isfinite(numbers) & (text.code < 0)
    if text is not None and not missing.any():
        return text
    values: dict[str, int] = {} if text is None else {value: code for code, value in enumerate(text.values)}
    code = np.full(len(batch), -1, np.int32) if text is None else text.code.copy()
    distinct, inverse = np.unique(numbers[missing], return_inverse=True)
    codes = [values.setdefault(rendered(number), len(values)) for number in distinct.tolist()]
    code[missing] = np.array(codes, np.int32)[inverse]
    return TextColumn(code, list(values))


def number_of(batch: SpanBatch, name: str, numeric: Callable[[str], float]) -> _Floats | None:
    """Return [n] a number, or a recorded attribute as one; None where the batch has none of that name.

    Args:
        batch: recorded.
        name: of the attribute.
        numeric: the number that a text stands for, NaN where for none.
    """
    text, numbers = batch.labels.get(name), batch.numbers.get(name)
    if text is None:
        return numbers
    table = np.array([*map(numeric, text.values), np.nan])
    found: _Floats = table[text.code]
    found[~np.isfinite(found)] = np.nan
    return found if numbers is None else np.where(np.isnan(numbers), found, numbers)
