"""A short soak: nothing is lost under a steady load, and memory stands still once the windows have filled."""

import shutil

import pytest

from benchmarks.load import configuration
from benchmarks.soak import Look, outcomes, run, slope

_SECONDS, _RATE = 80, 1000
_GROWTH_MIB = 20.0
"""Between the half and the end; 40,000 spans that left 0.5 kB each behind would be as much."""


def test_the_slope_is_that_of_the_line_through_all_looks() -> None:
    assert slope([Look(360.0 * i, 0.1, 100 + 2 * i, 0) for i in range(10)]) == pytest.approx(20)
    assert slope([Look(10, 0.1, 100, 0)]) == 0


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(shutil.which("go") is None, reason="the load generator is built with Go")
def test_a_steady_load_is_counted_whole_and_does_not_fill_memory() -> None:
    config = configuration.mixed()
    for rule in config["rules"]:
        rule["window"] = "10s"  # what is to be seen is what is left behind, not what is due to be kept
    config["limits"] = {"dedup_window": "10s", "evidence": 20_000}
    config["trace"] = {"grace": "1s", "idle": "2s", "max_age": "10s"}
    config["journal"] = {"snapshot_interval": "10s"}
    soak = run(_SECONDS, _RATE, config)
    assert not soak.errors
    assert soak.sent >= 0.9 * _SECONDS * _RATE
    assert soak.sent == soak.acknowledged == soak.counted
    assert soak.hits == soak.probes > 0
    assert all(look.disk_mib >= 0 for look in soak.looks)
    half = soak.looks[len(soak.looks) // 2]
    assert soak.looks[-1].resident_mib - half.resident_mib < _GROWTH_MIB
    assert all(row.reached is not False for row in outcomes(soak) if "lost" in row.name or "not" in row.name)
