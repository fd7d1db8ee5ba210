"""How a rule would stand in its file, before anything is written."""

import os
from pathlib import Path

import pytest

from tocsin.api.editing import MissingError, RejectedError, UnwritableError
from tocsin.service.editing.editor import Editor

CONFIG = """\
contact_points:
  hook: {type: log}
rules:
  - name: first  # by hand
    metric: cost
    condition: gt
    threshold: 1  # dollars
    notify: [hook]

  - {template: traffic_stopped, notify: hook}
"""
FIRST = {"name": "first", "metric": "cost", "condition": "gt", "threshold": 1, "notify": ["hook"]}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def test_lines_that_stay_go_and_come_are_told_with_their_comments(config: Path) -> None:
    written = Editor(config).written({**FIRST, "threshold": 2, "severity": "high"})
    assert written.file == str(config)
    assert written.read_only is None
    assert written.lines == (
        (" ", "- name: first  # by hand"),
        (" ", "  metric: cost"),
        (" ", "  condition: gt"),
        ("-", "  threshold: 1  # dollars"),
        ("+", "  threshold: 2  # dollars"),
        (" ", "  notify: [hook]"),
        ("+", "  severity: high"),
    )
    assert config.read_text() == CONFIG


def test_a_rule_that_was_not_touched_has_no_marks(config: Path) -> None:
    assert {mark for mark, _ in Editor(config).written(FIRST).lines} == {" "}


def test_a_new_rule_is_all_new_even_where_it_is_not_valid(config: Path) -> None:
    assert Editor(config).written({"name": "second", "threshold": "much"}).lines == (
        ("+", "- name: second"),
        ("+", "  threshold: much"),
    )


def test_a_rule_is_found_by_the_name_that_its_template_lends(config: Path) -> None:
    written = Editor(config).written({"template": "traffic_stopped", "notify": "hook", "severity": "high"})
    assert [mark for mark, _ in written.lines] == ["-", "+"]
    assert written.lines[1][1] == "- {template: traffic_stopped, notify: hook, severity: high}"


def test_a_file_that_can_not_be_written_is_told_before(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != config.parent)  # root may write everywhere
    read_only = Editor(config).written(FIRST).read_only
    assert read_only is not None
    assert str(config) in read_only


def test_what_only_a_person_may_do_is_refused(config: Path) -> None:
    with pytest.raises(RejectedError, match="written in the file only"):
        Editor(config).written({**FIRST, "description": "${env:HOME}"})
    with pytest.raises(MissingError, match=r"no file 'other\.yaml'"):
        Editor(config).written({"name": "second"}, "other.yaml")
    config.write_text("rules: [")
    with pytest.raises(UnwritableError, match="not in order"):
        Editor(config).written(FIRST)
