"""Filter values as people write them."""

import re
from fnmatch import fnmatchcase

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


small = st.text(alphabet="ab*?.[\n", max_size=6)


@given(small, small)
def test_globs_match_as_the_shell_does(pattern: str, value: str) -> None:
    # fnmatch knows [sets] too; we do not.
    assert Match(GLOB, pattern).holds(value) == fnmatchcase(value, pattern.replace("[", "[[]"))


@given(st.sampled_from(["a+", "(a|b)*", ".", "^a$", "a?b", "[^a]"]), st.text(alphabet="ab\n", max_size=4))
def test_expressions_match_the_whole_value(pattern: str, value: str) -> None:
    assert Match(REGEX, pattern).holds(value) == (re.fullmatch(pattern, value) is not None)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_compare_as_numbers(value: float, limit: float) -> None:
    found = [parse_match(f"{sign}{limit!r}").holds(repr(value)) for sign in (">", ">=", "<", "<=")]
    assert found == [value > limit, value >= limit, value < limit, value <= limit]


def test_text_that_is_no_number_never_compares() -> None:
    assert not any(parse_match(f"{sign}5").holds(text) for sign in (">", "<=") for text in ("", "many", "nan", "0x6"))


@given(st.lists(st.sampled_from(["a", "b*", "!c", "!*d", "~.", "!>1"]), min_size=1, max_size=4), st.none() | small)
def test_a_filter_holds_if_no_negated_and_any_other_does(texts: list[str], value: str | None) -> None:
    each = Filter("x", tuple(parse_match(text) for text in texts))
    negated = [text[1:] for text in texts if text.startswith("!")]
    others = [text for text in texts if not text.startswith("!")]
    alone = {text: value is not None and parse_match(text).holds(value) for text in negated + others}
    assert each.accepts(value) == (
        not any(alone[text] for text in negated) and (not others or any(alone[text] for text in others))
    )


@given(st.lists(small, unique=True, max_size=5))
def test_a_table_has_a_verdict_for_every_value_and_for_none(values: list[str]) -> None:
    each = Filter("x", (parse_match("a*"), parse_match("!ab")))
    assert each.table(values).tolist() == [*map(each.accepts, values), each.accepts(None)]


def test_a_regular_expression_takes_linear_time() -> None:
    assert not parse_match("~(a*)*b").holds("a" * 5_000)
