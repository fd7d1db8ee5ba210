"""Unit tests of rules: spans and series at times, and the alerts, or the silence, that are expected of them.

A test goes through what the service goes through: OTLP requests are decoded, made canonical, priced and given to the
engine, whose wall clock is event time.
"""

from tocsin.service.ruletests.outcome import CaseResult, Failure, Row, SuiteResult
from tocsin.service.ruletests.reading import Suite, read_suite
from tocsin.service.ruletests.running import run_file, run_suite

__all__ = ["CaseResult", "Failure", "Row", "Suite", "SuiteResult", "read_suite", "run_file", "run_suite"]
