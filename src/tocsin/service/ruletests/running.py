"""Files of tests, run."""

import time
from collections.abc import Collection, Mapping
from pathlib import Path

from tocsin.pricing import PriceBook
from tocsin.rules.needs import needs_of
from tocsin.service.ruletests.expecting import Alerts, Silence
from tocsin.service.ruletests.judging import failure_of
from tocsin.service.ruletests.otlp import batch_of
from tocsin.service.ruletests.outcome import CaseResult, SuiteResult
from tocsin.service.ruletests.playing import play
from tocsin.service.ruletests.reading import Case, Suite, read_suite

__all__ = ["run_file", "run_suite"]


def run_file(path: Path, environ: Mapping[str, str] | None = None) -> SuiteResult:
    """Return what became of the tests of a file.

    Args:
        path: the file.
        environ: what `${env:}` stands for in rules; the process's environment if None.

    Raises:
        ConfigError: with every problem of every file.
    """
    return run_suite(read_suite(path, environ))


def run_suite(suite: Suite) -> SuiteResult:
    """Return what became of tests. Blocks; tests know nothing of each other."""
    prices = PriceBook(suite.prices)
    return SuiteResult(suite.file, tuple(_run(suite, case, prices) for case in suite.cases), suite.notes)


def _run(suite: Suite, case: Case, prices: PriceBook) -> CaseResult:
    begun = time.perf_counter()
    batch = batch_of(case.items, case.start, needs_of(suite.rules), prices, suite.attributes)
    played = play(suite.rules, batch, case.start, case.end, _asked(case), suite.trace, suite.limits)
    failures = tuple(failure for check in case.checks if (failure := failure_of(check, played)) is not None)
    return CaseResult(case.name, case.line, failures, len(case.checks), time.perf_counter() - begun)


def _asked(case: Case) -> Collection[int]:
    instants = [check.begin for check in case.checks if isinstance(check, Alerts) and check.is_instant]
    return {*instants, *(check.begin for check in case.checks if isinstance(check, Silence))}
