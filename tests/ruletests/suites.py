"""Files of tests, written to a directory and run."""

import textwrap
from pathlib import Path

from tocsin.service.ruletests import CaseResult, SuiteResult, run_file
from tocsin.service.ruletests.text import lines_of

__all__ = ["SPENT", "failing", "only", "run", "shown"]

SPENT = """
rules:
  - {name: spent, metric: cost, window: 5m, group_by: conversation, condition: gt, threshold: $5, severity: high,
     notify: oncall, cooldown: 10m}
"""
"""Fires on the sixth dollar of a conversation in five minutes."""


def run(directory: Path, text: str, name: str = "some.test.yaml") -> SuiteResult:
    path = directory / name
    path.write_text(textwrap.dedent(text))
    return run_file(path)


def only(directory: Path, test: str, rules: str = SPENT) -> CaseResult:
    """Run one test, written as the item of a list."""
    (case,) = run(directory, f"{rules}\ntests:\n{textwrap.indent(textwrap.dedent(test).strip(), '  ')}\n").cases
    return case


def failing(directory: Path, test: str, rules: str = SPENT) -> str:
    """Run one test that must fail with one failure, and return what is shown of it, without its first lines."""
    case = only(directory, test, rules)
    assert len(case.failures) == 1, case
    return shown(case)


def shown(case: CaseResult) -> str:
    lines = list(lines_of(SuiteResult("file", (case,))))
    return "\n".join(line.plain.strip() for line in lines[2:])
