"""Filter values as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.rules.filters import Filter, Match, MatchKind, parse_match

EQUAL, GLOB, REGEX = MatchKind.EQUAL, MatchKind.GLOB, MatchKind.REGEX


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("gpt-4o", Match(EQUAL, "gpt-4o")),
        ("", Match(EQUAL, "")),
        ("gpt-4o*", Match(GLOB, "gpt-4o*")),
        ("gpt-?", Match(GLOB, "gpt-?")),
        ("!prod", Match(EQUAL, "prod", negated=True)),
        ("! prod-*", Match(GLOB, "prod-*", negated=True)),
        ("~gpt-(4|5).*", Match(REGEX, "gpt-(4|5).*")),
        ("!~.*-mini", Match(REGEX, ".*-mini", negated=True)),
        ("> 5", Match(MatchKind.GT, "5")),
        (">=0.5", Match(MatchKind.GTE, "0.5")),
        ("<1e3", Match(MatchKind.LT, "1e3")),
        ("<=-1", Match(MatchKind.LTE, "-1")),
        ("!>5", Match(MatchKind.GT, "5", negated=True)),
        ("=~literal", Match(EQUAL, "~literal")),
        ("=a*b", Match(EQUAL, "a*b")),
        ("==x", Match(EQUAL, "=x")),
        ("!=*", Match(EQUAL, "*", negated=True)),
    ],
)
def test_is_understood(text: str, match: Match) -> None:
    assert parse_match(text) == match


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("!!x", "negated twice"),
        ("!", "negates nothing"),
        ("~", "followed by no expression"),
        ("~(", "not an RE2 expression: missing"),
        (r"~(a)\1", "not an RE2 expression: invalid escape"),
        (">", "compares with no number"),
        ("<none>", "or '=' before text that begins with the sign"),
        (">nan", "compares with no number"),
        (">1_000", "compares with no number"),
    ],
)
def test_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_match(text)
    assert says in str(caught.value)


@given(st.text())
def test_an_equals_sign_makes_any_text_exact(value: str) -> None:
    assert Filter("x", (parse_match(f"={value}"),)).constant == value


def test_a_negated_star_is_for_samples_without_the_label() -> None:
    without = Filter("tenant", (parse_match("!*"),))
    assert (without.accepts(None), without.accepts("acme"), without.accepts("")) == (True, False, False)
