"""What Python's repr writes is read back; everything else is refused."""

import ast
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.semconv.literal import parse_literal

leaves = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=30)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(values)
def test_reads_back_what_repr_wrote(value: object) -> None:
    assert parse_literal(repr(value)) == value


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="{}[](),:'\"\\ 0123.eE+-TrueFalsNonix\n", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse_literal(text)


@pytest.mark.parametrize(
    "text", ["{'a': None, 'None': 'True, None', 'b': [False, 1.5]}", "{'n': 12345678901234567890123}", "{1: 'x'}"]
)
def test_the_short_way_through_json_changes_nothing(text: str) -> None:
    assert parse_literal(text) == ast.literal_eval(text)


def test_tuples_become_lists() -> None:
    assert parse_literal("(1, (2,), ())") == [1, [2], []]


@pytest.mark.parametrize(
    "text", ["", "f(x)", "1 + 1", "{1: 2", "[1 2]", "{'a'}", "'a' 'b'", "(" * 17 + ")" * 17, "{[]: 1}", "1" * 41]
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # any text about it
        parse_literal(text)
