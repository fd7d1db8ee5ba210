"""YAML with positions, bounded."""

# ruff: noqa: E501  # one case a line

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.rules.document import MAX_DEPTH, WrittenFloat, WrittenInt, parse
from tocsin.rules.problems import Mistake

data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def plain(text: str) -> object:
    document, problems = parse(text, "f.yaml")
    assert problems == []
    return document.root.plain()


@given(data)
def test_reads_json_as_json_does(value: object) -> None:
    # YAML 1.2 is a superset of JSON.
    assert plain(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("''", ""),
        ("0o17", 15),
        ("0x1F", 31),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("1_000", "1_000"),
        ("+5", 5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-.INF", float("-inf")),
        ("5m", "5m"),
        ("5%", "5%"),
        ("'5'", "5"),
        ("! 5", "5"),
        ("!!str 5", "5"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    found = plain(f"a: {text}\n")
    assert found == {"a": value}


def test_numbers_remember_how_they_were_written() -> None:
    found = plain("[007, 1.10]")
    assert isinstance(found, list)
    whole, number = found
    assert isinstance(whole, WrittenInt)
    assert isinstance(number, WrittenFloat)
    assert (whole, whole.written, number, number.written) == (7, "007", 1.1, "1.10")


def test_aliases_and_merge_keys_are_expanded() -> None:
    text = "base: &b {a: 1, b: 2}\nx: {<<: *b, b: 3}\ny: {<<: [*b, {c: 4}]}\nz: *b\n"
    assert plain(text) == {
        "base": {"a": 1, "b": 2},
        "x": {"a": 1, "b": 3},
        "y": {"a": 1, "b": 2, "c": 4},
        "z": {"a": 1, "b": 2},
    }


def test_every_key_and_value_has_its_place() -> None:
    document, _ = parse("a:\n  - b: 1\n    'c c':   [x, y]\n", "f.yaml")
    places = {
        (path, at_key): str(document.problem(Mistake(path, "", at_key)))
        for path in [("a",), ("a", 0), ("a", 0, "c c"), ("a", 0, "c c", 1), ("a", 0, "missing")]
        for at_key in (False, True)
    }
    assert places[("a",), True] == "f.yaml:1:1: "
    assert places[("a",), False] == "f.yaml:2:3: "
    assert places[("a", 0), False] == "f.yaml:2:5: "
    assert places[("a", 0, "c c"), True] == "f.yaml:3:5: "
    assert places[("a", 0, "c c"), False] == "f.yaml:3:14: "
    assert places[("a", 0, "c c", 1), False] == "f.yaml:3:18: "
    assert places[("a", 0, "missing"), False] == "f.yaml:2:5: "


def test_an_alias_that_is_used_twice_has_the_place_of_the_key_that_was_meant() -> None:
    document, _ = parse("a: &x 1\nb: *x\nc: *x\n", "f.yaml")
    assert str(document.problem(Mistake(("c",), "", at_key=True))) == "f.yaml:3:1: "


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("a:\n\tb: 1\n", ["2:1: a tab where indentation is expected; indent with spaces"]),
        ("a: @x\n", ["1:4: a value can't begin with this character; put it in quotes"]),
        ("a: %5\n", ["1:4: a value can't begin with this character; put it in quotes"]),
        ("a: b: c\n", ["1:5: a ': ' that does not belong here; quote the value, or align the indentation"]),
        ("a: >=5\n", ["1:5: '>' and '|' begin a text block; put a value that begins with one in quotes"]),
        ("a: [1, 2\nb: 3", ["2:2: the list that began with '[' is not closed before this; add ',' or ']'"]),
        ("a: {b: 1\nc: 3", ["2:2: the mapping that began with '{' is not closed before this; add ',' or '}'"]),
        ("a: 1\nb\nc: 2\n", ["3:1: a key without ': value'; add it, or align the indentation"]),
        ("- a\nb: 1\n", ["2:1: this line is not aligned with the ones above it; fix its indentation"]),
        ("a: 'x\n", ["1:4: the quote that begins here is not closed; close it"]),
        ("a: ]\n", ["1:4: a value is expected here; write one, or remove the bracket"]),
        ('a: "\\q"\n', ["1:6: an unknown escape in double quotes; use single quotes, or write '\\\\' for a backslash"]),
        ("a: !prod\n", ["1:4: a YAML tag ('!…'), which is not used here; quote a value that begins with '!'"]),
        ("a: !x!prod\n", ["1:4: a YAML tag ('!…'), which is not used here; quote a value that begins with '!'"]),
        ("a: !!python/object:os.system {}\n", ["1:4: a YAML tag ('!…'), which is not used here; quote a value that begins with '!'"]),
        ("a: *gpt\n", ["1:4: an alias ('*') of nothing before it; quote a value that begins with '*'"]),
        ("a: &a [*a]\n", ["1:8: an alias ('*') of nothing before it; quote a value that begins with '*'"]),
        ("a: 1\n---\nb: 2\n", ["3:1: a second document ('---'); write one document a file"]),
        ("{a: 1}: b\n", ["1:1: a key that is a list or mapping; quote text that begins with '{' or '['"]),
        ("<<: 5\n", ["1:5: '<<' takes a mapping or a list of mappings, like <<: *defaults"]),
        ("a: 1\nb: \x01\n", ["2:4: a character that YAML does not allow; remove it"]),
        (
            "a: 1\nb: 2\na: 3\nb: 4\n",
            ["3:1: key 'a' a second time; it is on line 1 already, keep one", "4:1: key 'b' a second time; it is on line 2 already, keep one"],
        ),
    ],
)  # fmt: skip
def test_says_where_and_what_to_do(text: str, problems: list[str]) -> None:
    _, found = parse(text, "f.yaml")
    assert [str(problem) for problem in found] == [f"f.yaml:{problem}" for problem in problems]


def test_depth_is_bounded() -> None:
    _, problems = parse("[" * 100_000, "f.yaml")
    assert [problem.text for problem in problems] == [f"nested more than {MAX_DEPTH} deep; make it flatter"]


def test_half_characters_become_whole_or_are_replaced() -> None:
    assert plain(r'{"\ud83d\ude00": "\ud83d\ude00", b: "x\ud83d"}') == {"😀": "😀", "b": "x\ufffd"}


@pytest.mark.parametrize("kind", ["list", "mapping", "merge"])
def test_billion_laughs_are_refused_before_they_are_expanded(kind: str) -> None:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]" if kind == "list" else "l0: &l0 {a0: x, b0: x, c0: x}"]
    for level in range(1, 40):
        below = f"*l{level - 1}"
        match kind:
            case "list":
                body = f"[{', '.join([below] * 10)}]"
            case "mapping":
                body = "{" + ", ".join(f"{key}: {below}" for key in "abcdefghij") + "}"
            case _:
                body = f"{{<<: {below}, x{level}: {below}, y{level}: {below}}}"
        lines.append(f"l{level}: &l{level} {body}")
    began = time.monotonic()
    _, problems = parse("\n".join(lines), "f.yaml")
    assert "aliases expanded" in problems[0].text
    assert time.monotonic() - began < 5


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused_with_a_place(text: str) -> None:
    document, problems = parse(text, "f.yaml")
    document.root.plain()
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)


pieces = st.sampled_from(
    [*"abc:-?[]{},&*!|>'\"%@`#\n \t~<$1.", ": ", "- ", "\n  ", "<<: ", "*a ", "&a ", "${env:X}", "---\n"]
)


@given(st.lists(pieces, max_size=30).map("".join))
def test_any_punctuation_is_parsed_or_refused_with_a_place(text: str) -> None:
    document, problems = parse(text, "f.yaml")
    document.root.plain()
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)
