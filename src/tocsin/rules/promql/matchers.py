"""Label matchers as filters, with PromQL's meaning: a label that is missing is an empty one.

Source: Prometheus documentation, "Querying basics"; regular expressions are RE2's, hold for the whole value, and their
dot matches a line's end too.
"""

from collections.abc import Callable
from functools import cache

from tocsin.rules.filters import Filter, Match, MatchKind, compile_regex
from tocsin.semconv.labels import Labels
from tocsin.semconv.table import default_table

__all__ = ["filter_of"]

_PRESENT = Match(MatchKind.REGEX, "(?s:.+)")
_ABSENT = Match(MatchKind.REGEX, "(?s:.+)", negated=True)


def filter_of(label: str, sign: str, value: str) -> Filter | None:
    """Return the filter that a matcher is; None where everything passes.

    Args:
        label: a label of rules.
        sign: `=`, `!=`, `=~` or `!~`.
        value: what stands after it.

    Raises:
        ValueError: it can't be a filter; the text says why and what can.
    """
    if label == "trace":
        raise ValueError("a rule can't be about one trace; group by it instead: sum by (trace) (…)")
    negated = sign.startswith("!")
    if sign.endswith("~"):
        return _regex(label, value, negated=negated)
    if not value:
        return Filter(label, (_PRESENT if negated else _ABSENT,))
    return Filter(label, (Match(MatchKind.EQUAL, _canonical()(label, value), negated),))


def _regex(label: str, pattern: str, *, negated: bool) -> Filter | None:
    try:
        takes_nothing = compile_regex(f"(?s:{pattern})").fullmatch("") is not None
    except ValueError as error:
        raise ValueError(f"not an RE2 expression: {error}") from error
    if not pattern:
        return Filter(label, (_PRESENT if negated else _ABSENT,))
    match = Match(MatchKind.REGEX, f"(?s:{pattern})", negated)
    if not takes_nothing:
        return Filter(label, (match,))
    if negated:
        # A sample without the label matches the pattern, so it has to have one.
        return Filter(label, (_PRESENT, match))
    if pattern == ".*":
        return None
    raise ValueError(
        f"{pattern[:80]!r} matches samples without {label} as well, and no filter takes some values and none at all; "
        f'write a pattern that needs a value, like {label}=~".+", or write two rules'
    )


@cache
def _canonical() -> Callable[[str, str], str]:
    """Values of some labels have one spelling whatever the dialect; what a matcher names is spelled so too."""
    return Labels(default_table()).canonical
