"""One value of a YAML text changed, and nothing else."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.rules.document import parse
from tocsin.service.editing.splicing import REMOVED, SpliceError, plain_of, spliced

TEXT = """\
# the team's configuration
log: {level: info}   # quiet
contact_points:
  # wakes people
  hook: {type: webhook, url: "${env:URL}"}   # kept secret
rules:  # all of them
  - name: a   # the first
    sql: |
      SELECT 1

      # no comment
    # between keys
    expr: >-
       a
       b

  # about b
  - enabled: false  # for now
    name: "b"
    filters: {a: 1, b: [c, d]}  # in brackets
    empty:
    group_by:
    - x
    - y
    labels:   # a block
      one: 1   # uno
      # in between
      two: 2
# the end
"""


def comments(text: str) -> list[str]:
    return [line.partition("#")[2] for line in text.splitlines() if "#" in line]


def test_a_number_changes_and_the_comment_behind_it_stays() -> None:
    assert spliced(TEXT, ("rules", 1, "labels", "one"), 7) == TEXT.replace("one: 1   # uno", "one: 7   # uno")


def test_a_rule_is_added_below_the_last_one() -> None:
    changed = spliced(TEXT, ("rules", 2), {"name": "c", "filters": {"model": ["x*", "!y"]}, "sql": "SELECT\n  2"})
    added = 'rules:\n  - name: c\n    filters:\n      model: ["x*", "!y"]\n    sql: |-\n      SELECT\n        2\n'
    assert changed == TEXT.replace("      two: 2\n", "      two: 2\n" + added.partition("\n")[2])


def test_a_rule_is_taken_out_and_comments_around_it_stay() -> None:
    changed = spliced(TEXT, ("rules", 0), REMOVED)
    assert "# about b" in changed
    assert changed.startswith(TEXT[: TEXT.index("  - name: a")])
    assert changed.endswith(TEXT[TEXT.index("  # about b") :])


def test_the_last_rule_leaves_an_empty_list() -> None:
    text = "rules:  # all\n  # one\n  - name: a\nlog: {}\n"
    assert spliced(text, ("rules", 0), REMOVED) == "rules: []  # all\n  # one\nlog: {}\n"


@pytest.mark.parametrize("before", ["rules: []\n", "rules:\n", "log: {}\n", "log: {}", "# nothing yet\n", "rules: ~\n"])
def test_the_first_rule_finds_its_place(before: str) -> None:
    changed = spliced(before, ("rules", 0), {"name": "x"})
    found = plain_of(changed)
    assert isinstance(found, dict)
    assert found["rules"] == [{"name": "x"}]
    assert "- name: x" in changed or "{name: x}" in changed


def test_what_an_alias_points_to_is_not_changed_for_others() -> None:
    text = "rules:\n  - name: a\n    labels: &team {t: 1}\n  - name: b\n    labels: *team\n"
    changed = spliced(text, ("rules", 1, "labels"), {"t": 2})
    assert plain_of(changed) == {"rules": [{"name": "a", "labels": {"t": 1}}, {"name": "b", "labels": {"t": 2}}]}
    with pytest.raises(SpliceError, match="by hand"):
        spliced(text, ("rules", 0), REMOVED)


def test_a_key_of_a_merge_is_overridden_in_its_own_rule() -> None:
    text = "rules:\n  - &base\n    name: a\n    window: 5m\n  - <<: *base\n    name: b\n"
    changed = spliced(text, ("rules", 1), {"name": "b", "window": "1h"})
    assert "<<: *base" in changed
    assert plain_of(changed) == {"rules": [{"name": "a", "window": "5m"}, {"name": "b", "window": "1h"}]}


def test_line_ends_of_windows_stay() -> None:
    changed = spliced(TEXT.replace("\n", "\r\n"), ("rules", 2), {"name": "c"})
    assert "\n" not in changed.replace("\r\n", "")


def test_a_file_that_is_no_yaml_is_left_alone() -> None:
    with pytest.raises(SpliceError, match="by hand"):
        spliced("rules: [", ("rules", 0), {"name": "c"})


scalars = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="ab :#-?{}[],&*!|>'\"%@`\n\\\t ", max_size=12),
    st.integers(-(10**6), 10**6),
    st.booleans(),
    st.none(),
    st.sampled_from(
        ["yes", "null", "1.10", "0x1f", "~", "${start_time}", "- a", "a: b", "a #b", "SELECT\n  1\nFROM x", "é"]
    ),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=6), inner, max_size=3),
    max_leaves=6,
)
places = st.sampled_from(
    [
        ("log", "level"),
        ("contact_points", "hook", "url"),
        ("contact_points", "new"),
        ("rules", 0, "sql"),
        ("rules", 0, "expr"),
        ("rules", 0, "name"),
        ("rules", 1, "filters"),
        ("rules", 1, "filters", "b"),
        ("rules", 1, "empty"),
        ("rules", 1, "group_by"),
        ("rules", 1, "labels"),
        ("rules", 1, "labels", "two"),
        ("rules", 1, "more"),
        ("rules", 2),
    ]
)


@settings(max_examples=300)
@given(places, values)
def test_any_value_can_be_set_anywhere_and_all_else_keeps_its_meaning(path: tuple[Any, ...], value: object) -> None:
    if isinstance(value, str):
        value = value.encode("utf-8", "replace").decode()
    wanted = copy.deepcopy(plain_of(TEXT))
    holder: Any = wanted
    for step in path[:-1]:
        holder = holder[step]
    if path == ("rules", 2):
        holder.append(value)
    else:
        holder[path[-1]] = value
    try:
        changed = spliced(TEXT, path, value)
    except SpliceError:
        return  # refused, nothing is lost; what people write is never refused: see the tests above
    document, problems = parse(changed, "")
    assert not problems
    assert document.root.plain() == wanted


@settings(max_examples=200)
@given(
    st.sampled_from([("rules", 1, "enabled"), ("rules", 1, "labels", "one"), ("log", "level"), ("rules", 0, "name")]),
    st.one_of(st.integers(0, 99), st.booleans(), st.sampled_from(["x", "a: b", "it's", "7"])),
)
def test_no_comment_is_lost_where_a_value_changes(path: tuple[Any, ...], value: object) -> None:
    changed = spliced(TEXT, path, value)
    assert comments(changed) == comments(TEXT)
    assert len([None for old, new in zip(TEXT.splitlines(), changed.splitlines(), strict=True) if old != new]) <= 1
