"""What a baseline of seven days keeps for each series, by the sizes of its arrays."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from tocsin.model.sections import Section
from tocsin.windows.compact import Marks
from tocsin.windows.reach import baseline
from tocsin.windows.sums import FloatSums, IntegerSums, Samples

DAY = 86_400 * 10**9
SERIES = 10_000
BATCH = 2_500
MOST = 2048


def parts_of(held: object) -> Iterator[NDArray[np.generic] | Marks]:
    """Yield the arrays within tuples, lists and mappings."""
    if isinstance(held, np.ndarray | Marks):
        yield held
    elif isinstance(held, dict):
        yield from parts_of(list(held.values()))
    elif isinstance(held, tuple | list):
        for each in held:
            yield from parts_of(each)


def bytes_of(window: FloatSums | IntegerSums) -> int:
    """Return the bytes of all arrays of a window; what is one number over and over is one."""
    found: dict[int, int] = {}
    for each in parts_of([window._totals, window.panes.chunks, window.panes.waiting]):
        real = each
        while isinstance(real, np.ndarray) and isinstance(real.base, np.ndarray):
            real = real.base
        found[id(real)] = real.nbytes
    return sum(found.values())


@pytest.mark.parametrize("kind", [FloatSums, IntegerSums])
@pytest.mark.parametrize("offset", [0, DAY])
def test_a_baseline_of_a_week_takes_two_kilobytes_a_series_at_most(
    kind: type[FloatSums] | type[IntegerSums], offset: int
) -> None:
    window = kind(baseline(7 * DAY, offset))
    window.resize(1 << SERIES.bit_length())
    random = np.random.default_rng(7)
    width = window.panes.width_ns
    now, most = 1_700_000_000 * 10**9 // width * width, 0
    for pane in range((7 * DAY + offset) // width + 4):
        for part in range(SERIES // BATCH * 2):  # each series twice a pane
            now += width // (SERIES // BATCH * 2 + 1)
            window.expire(now)
            slots = np.arange(BATCH, dtype=np.int32) + part % (SERIES // BATCH) * BATCH
            values = random.normal(0.8, 0.1, BATCH)
            samples = Samples(slots, np.full(BATCH, now), values if kind is FloatSums else (values * 1e12).astype(int))
            window.add(samples)
            if pane > 60:
                most = max(most, bytes_of(window))
        now = (now // width + 1) * width
    assert len(window.panes.chunks) >= 64
    assert most / SERIES <= MOST
    restored = kind(baseline(7 * DAY, offset))
    restored.resize(window.capacity)
    restored.thaw(Section(window.freeze(SERIES)(), "window"), SERIES)
    assert bytes_of(restored) <= 1.1 * most
    every = np.arange(SERIES)
    np.testing.assert_array_equal(restored.mean(every), window.mean(every))
    if isinstance(window, FloatSums) and isinstance(restored, FloatSums):
        np.testing.assert_array_equal(restored.stddev(every), window.stddev(every))
