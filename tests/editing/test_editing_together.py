"""Edits by hand and by program at the same moment: nothing is lost, and comments stay."""

import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.api.editing import Fields, MissingError, RejectedError, UnwritableError, WrittenItem
from tocsin.service.editing.editor import Editor
from tocsin.service.editing.swapping import exchange, swapped
from tocsin.service.loading import load

MAIN = """\
# main
contact_points:
  hook: {type: log}
rules:
  - name: first  # by hand
    metric: cost
    condition: gt
    threshold: 1
    notify: [hook]
rule_files: [more/*.yaml]
"""
MORE = "# more\nrules:\n  - name: second  # in its own file\n    metric: tokens\n    condition: gt\n    threshold: 2\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return written(tmp_path)


def written(directory: Path) -> Path:
    (directory / "more").mkdir(exist_ok=True)
    (directory / "more" / "a.yaml").write_text(MORE)
    path = directory / "config.yaml"
    path.write_text(MAIN)
    return path


def rule(name: str, **more: object) -> dict[str, Any]:
    return {"name": name, "metric": "cost", "condition": "gt", "threshold": 5, **more}


def to(fields: Mapping[str, Any] | None) -> Callable[[WrittenItem | None], Fields | None]:
    return lambda _: fields


def merging(**more: object) -> Callable[[WrittenItem | None], Fields | None]:
    def decide(before: WrittenItem | None) -> Fields | None:
        if before is None:
            raise MissingError
        return {**before.fields, **more}

    return decide


def test_a_rule_changes_in_the_file_that_it_stands_in(config: Path) -> None:
    Editor(config).change_rule(("default", "second"), merging(threshold=7))
    assert config.read_text() == MAIN
    assert (config.parent / "more" / "a.yaml").read_text() == MORE.replace("threshold: 2", "threshold: 7")


def test_a_new_rule_goes_to_the_file_that_is_named(config: Path) -> None:
    Editor(config).change_rule(("default", "third"), to(rule("third")), "config.yaml")
    assert [one.name for one in load(config).rules] == ["first", "third", "second"]
    with pytest.raises(MissingError, match=r"more/a\.yaml"):
        Editor(config).change_rule(("default", "fourth"), to(rule("fourth")), "/etc/passwd")


def test_what_is_not_valid_leaves_everything_as_it_was(config: Path) -> None:
    with pytest.raises(RejectedError) as refused:
        Editor(config).change_rule(("default", "first"), merging(notify=["nobody"], filters={"model": []}))
    assert {problem.field for problem in refused.value.problems} == {"notify.0", "filters.model"}
    assert config.read_text() == MAIN
    assert [path.name for path in config.parent.iterdir() if path.is_file()] == ["config.yaml"]


def test_a_contact_point_that_rules_name_can_not_go(config: Path) -> None:
    with pytest.raises(RejectedError, match="no contact point 'hook'"):
        Editor(config).change_contact_point("hook", to(None))


def test_secrets_of_the_machine_can_not_be_referred_to(config: Path) -> None:
    for text in ("${file:/etc/passwd}", "${env:HOME}"):
        with pytest.raises(RejectedError, match="in the file only"):
            Editor(config).change_rule(("default", "first"), merging(description=text))


def test_permissions_stay_and_links_are_followed(config: Path, tmp_path: Path) -> None:
    config.chmod(0o640)
    link = tmp_path / "linked.yaml"
    link.symlink_to(config)
    Editor(link).change_rule(("default", "first"), merging(threshold=9))
    assert link.is_symlink()
    assert "threshold: 9" in config.read_text()
    assert stat.S_IMODE(config.stat().st_mode) == 0o640


def test_an_edit_by_hand_in_the_very_moment_of_the_swap_is_kept(config: Path) -> None:
    calls: list[Path] = []

    def late(left: Path, right: Path) -> bool:
        if not calls:
            calls.append(right)
            config.write_text(config.read_text().replace("# main", "# main, and a word"))
        return exchange(left, right)

    Editor(config, swap=late).change_rule(("default", "first"), merging(threshold=9))
    assert config.read_text() == MAIN.replace("# main", "# main, and a word").replace("threshold: 1", "threshold: 9")


def test_an_editor_that_had_the_file_open_writes_into_the_new_one_again(config: Path) -> None:
    opened = config.open("r+")
    calls: list[Path] = []

    def late(left: Path, right: Path) -> bool:
        done = exchange(left, right)
        if not calls:
            calls.append(right)
            opened.write(MAIN.replace("# main", "# MAIN"))
            opened.close()
        return done

    Editor(config, swap=late).change_rule(("default", "first"), merging(threshold=9))
    assert config.read_text() == MAIN.replace("# main", "# MAIN").replace("threshold: 1", "threshold: 9")


def test_of_two_edits_by_hand_in_one_swap_the_older_is_kept_beside_and_told(
    config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = config.read_bytes()

    def crowded(left: Path, right: Path) -> bool:
        config.write_bytes(b"rules: [] # before\n")
        done = exchange(left, right)
        config.write_bytes(b"rules: [] # after\n")
        return done

    assert not swapped(config, expected, b"ours\n", swap=crowded)
    assert config.read_bytes() == b"rules: [] # after\n"
    (kept,) = config.parent.glob("config.yaml.kept-*")
    assert kept.read_bytes() == b"rules: [] # before\n"
    (record,) = caplog.records
    assert record.fields == {"file": str(config), "kept": kept.name}  # type: ignore[attr-defined]  # of our log


def test_where_files_can_not_change_places_a_foreign_change_is_still_seen(config: Path) -> None:
    def unable(_left: Path, _right: Path) -> bool:
        return False

    assert swapped(config, config.read_bytes(), b"rules: []\n", swap=unable)

    def foreign(_left: Path, _right: Path) -> bool:
        config.write_bytes(b"rules: [] # theirs\n")
        return False

    assert not swapped(config, b"rules: []\n", b"ours\n", swap=foreign)
    assert config.read_bytes() == b"rules: [] # theirs\n"
    assert {path.name for path in config.parent.iterdir()} == {"config.yaml", "more"}


def test_a_file_that_can_not_be_written_says_so(config: Path) -> None:
    def forbidden(_left: Path, _right: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(UnwritableError, match="Permission denied"):
        Editor(config, swap=forbidden).change_rule(("default", "first"), merging(threshold=3))


def test_a_broken_file_is_left_to_people(config: Path) -> None:
    config.write_text("rules: [")
    with pytest.raises(UnwritableError, match="by hand"):
        Editor(config).change_rule(("default", "first"), to(rule("first")))


NAMES = ("first", "second", "x", "y", "z")
steps = st.lists(
    st.tuples(
        st.sampled_from(["make", "change", "remove", "hand", "both"]), st.sampled_from(NAMES), st.integers(1, 99)
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_random_edits_of_both_kinds_lose_nothing(tmp_path: Path, drawn: list[tuple[str, str, int]]) -> None:
    path = written(tmp_path)
    files = [path, path.parent / "more" / "a.yaml"]
    by_hand: list[str] = []
    expected: dict[str, int] = {"first": 1, "second": 2}
    waiting: list[int] = []

    def hand(number: int) -> None:
        file = files[number % 2]
        word = f"# note {len(by_hand)}"
        by_hand.append(word)
        replacement = file.with_suffix(".new")
        replacement.write_text(f"{word}\n{file.read_text()}")
        replacement.replace(file)

    def swap(left: Path, right: Path) -> bool:
        if waiting:
            hand(waiting.pop())
        return exchange(left, right)

    editor = Editor(path, swap=swap)
    for kind, name, number in drawn:
        key = ("default", name)
        if kind == "hand":
            hand(number)
            continue
        if kind == "both":
            waiting.append(number)
        if kind == "remove":
            editor.change_rule(key, to(None))
            expected.pop(name, None)
        elif kind == "make" and name not in expected:
            editor.change_rule(key, to(rule(name, threshold=number)))
            expected[name] = number
        elif name in expected:
            editor.change_rule(key, merging(threshold=number))
            expected[name] = number
        waiting.clear()
    text = "\n".join(file.read_text() for file in files)
    assert all(word in text.splitlines() for word in by_hand)
    assert "# main" in text
    assert "# more" in text
    loaded = load(path)
    assert {one.name: float(one.levels[0].threshold) for one in loaded.rules} == expected
    assert {each.name for each in path.parent.iterdir()} == {"config.yaml", "more"}
    assert {each.name for each in files[1].parent.iterdir()} == {"a.yaml"}
    path.write_text(MAIN)
    files[1].write_text(MORE)
