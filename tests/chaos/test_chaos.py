"""A short run of the chaos suite; `make chaos` is the long one."""

import time
from pathlib import Path

import pytest
from chaos_run import Campaign

FAULTS = 25


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_what_was_acknowledged_survives_faults_exactly_once_and_every_alert_arrives(tmp_path: Path) -> None:
    seed = time.time_ns() % 2**32
    report = Campaign(tmp_path, seed=seed).run(FAULTS)
    shown = f"seed {seed}\n{report.text()}"
    print(shown)  # noqa: T201  # pytest shows it where the test fails
    assert report.violations == [], shown
    assert report.faults.total() == FAULTS
    assert report.acknowledged > 500
    assert report.expected > 50
