"""Suggestions for people: what each rule measured, and a table of thresholds."""

from collections.abc import Iterator

from tocsin.notify.wording import clean, counted, plain_number, quantity
from tocsin.service.suggest.suggestion import Candidate, LevelSuggestion, RuleSuggestion, Suggestions

__all__ = ["text_of"]

_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "==", "ne": "!="}
_FALLING = ("lt", "lte")


def text_of(suggestions: Suggestions) -> str:
    """Return them as lines."""
    return "\n".join(_lines(suggestions))


def _lines(found: Suggestions) -> Iterator[str]:
    begin, end = ((text or "?")[:19].replace("T", " ") + "Z" for text in (found.begin, found.end))
    yield f"{found.spans:,} spans of {clean(found.source)}, {begin} to {end} ({_days(found.days)})"
    if found.problem_count:
        yield f"{counted(found.problem_count, 'problems')} in the input; the rest was used"
    for rule in found.rules:
        yield ""
        yield from _rule(rule)
    if any(each.suggested for rule in found.rules for level in rule.levels for each in level.candidates):
        yield ""
        seldom = f"{plain_number(found.per_week)} time{'' if found.per_week == 1 else 's'} a week"
        yield f"* the mildest that would have told people at most {seldom} (--per-week), or once in all"


def _days(days: float) -> str:
    return f"{plain_number(days, digits=2)} days" if days >= 1 else f"{plain_number(days * 24, digits=2)} hours"


def _rule(rule: RuleSuggestion) -> Iterator[str]:
    yield f"{clean(rule.name)}: {clean(rule.what, 500)}"
    yield from _measured(rule)
    for level in rule.levels:
        if len(rule.levels) > 1:
            yield f"  {level.severity}"
        yield from _table(rule, level)
    yield from (f"  {clean(note, 500)}" for note in rule.notes)


def _measured(rule: RuleSuggestion) -> Iterator[str]:
    measured = rule.measured
    if not measured.values:
        return
    if rule.condition in _FALLING:
        values = (("p50", measured.p50), ("p5", measured.p5), ("p1", measured.p1), ("min", measured.minimum))
    else:
        values = (("p50", measured.p50), ("p95", measured.p95), ("p99", measured.p99), ("max", measured.maximum))
    told = "  ".join(f"{name} {quantity(value, rule.unit)}" for name, value in values if value is not None)
    yield f"  measured {told}  ({counted(measured.values, 'values')} of {counted(rule.samples, 'samples')})"


def _table(rule: RuleSuggestion, level: LevelSuggestion) -> Iterator[str]:
    rows = [_row(rule, candidate) for candidate in level.candidates]
    heads = ("threshold", "from", "breached", "a week", "notified", "a week", "")
    widths = [max(len(head), *(len(row[at]) for row in rows)) for at, head in enumerate(heads)]
    for row in (heads, *rows):
        cells = (
            text.ljust(width) if at in (0, 1, 6) else text.rjust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "    " + "  ".join(cells).rstrip()


def _row(rule: RuleSuggestion, candidate: Candidate) -> tuple[str, ...]:
    sign = _SIGNS.get(rule.condition)
    threshold = f"{sign} {quantity(candidate.threshold, rule.unit)}" if sign and rule.has_line else "as it is"
    return (
        threshold,
        ", ".join(candidate.sources),
        f"{candidate.breached:,}",
        _weekly(candidate.breached_per_week),
        f"{candidate.notified:,}",
        _weekly(candidate.notified_per_week),
        "*" if candidate.suggested else "",
    )


def _weekly(number: float | None) -> str:
    return "?" if number is None else plain_number(number, digits=2)
