"""Results of tests for people: a line for each, and for one that failed what was expected beside what happened."""

from collections.abc import Iterable, Iterator, Sequence

from rich.text import Text

from tocsin.notify.wording import clean, counted
from tocsin.service.ruletests.outcome import CaseResult, Failure, Row, SuiteResult

__all__ = ["lines_of", "summary_of"]

_STYLES = {"-": "red", "+": "yellow", "~": "magenta", " ": "dim"}
_WIDEST = 60


def lines_of(suite: SuiteResult) -> Iterator[Text]:
    """Yield the lines of a file of tests, with colours for whoever shows them."""
    yield Text(clean(suite.file, 4096), "bold")
    for note in suite.notes:
        yield Text(f"  note: {clean(note, 1000)}", "dim")
    for case in suite.cases:
        yield from _case(case)


def summary_of(suites: Sequence[SuiteResult]) -> Text:
    """Return one line about all."""
    cases = [case for suite in suites for case in suite.cases]
    failed = sum(not case.ok for case in cases)
    if failed:
        return Text(f"{failed:,} of {counted(len(cases), 'tests')} FAILED", "bold red")
    return Text(f"{counted(len(cases), 'tests')} ok", "bold green")


def _case(case: CaseResult) -> Iterable[Text]:
    mark = ("ok", "green") if case.ok else ("FAILED", "bold red")
    yield Text.assemble("  ", mark, f"  {clean(case.name)}")
    for failure in case.failures:
        yield from _failure(failure)


def _failure(failure: Failure) -> Iterable[Text]:
    yield Text(f"    line {failure.line}: {failure.what}")
    if failure.rows:
        width = min(_WIDEST, max(len("expected"), *(len(row.expected) for row in failure.rows)))
        yield Text(f"      {'expected':{width + 4}}  got", "bold")
        yield from (_row(row, width) for row in failure.rows)
    for note in failure.notes:
        yield Text(f"      {note}", "cyan")


def _row(row: Row, width: int) -> Text:
    return Text(f"    {row.mark} {row.expected:{width}}      {row.got}".rstrip(), _STYLES[row.mark])
