"""The table of results: goals are read as written, and the document changes between its markers only."""

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.outcome import Outcome, median_outcome


@pytest.mark.parametrize(
    ("value", "target", "reached"),
    [
        (0.2, "<= 0.2", True),
        (0.21, "<= 0.2", False),
        (31.0, ">= 30", True),
        (29.0, "≥ 30", False),
        (2_000_000.0, ">= 1e6", True),
        (900.0, "≤ 1,024 MiB", True),
        (1.0, "", None),
    ],
)
def test_a_goal_is_read_as_it_is_written(value: float, target: str, reached: bool | None) -> None:
    assert Outcome("row", value, "x", target).reached is reached


def test_a_row_of_several_rounds_is_their_median_and_extremes() -> None:
    row = median_outcome("row", [3.0, 1.0, 2.0], "x")
    assert (row.value, row.low, row.high, row.rounds) == (2.0, 1.0, 3.0, 3)


def test_a_plain_mapping_is_a_row_too() -> None:
    row = Outcome.of({"name": "decode", "value": 35, "unit": "x", "target": ">= 30"})
    assert (row.name, row.reached) == ("decode", True)


def test_the_document_changes_between_its_markers_only(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    text = report.DOCUMENT.read_text(encoding="utf-8")
    document.write_text(text, encoding="utf-8")
    result = report.result_of({"whole path": [Outcome("CPU", 0.1, "x", "<= 0.2")]}, {"peer": "not built"})
    report.paste(result, document)
    pasted = document.read_text(encoding="utf-8")
    assert "| CPU | 0.1 x |  | ≤ 0.2 | yes |" in pasted
    assert "Not run: peer: not built" in pasted
    report.paste(result, document)
    assert document.read_text(encoding="utf-8") == pasted
    begin, end = text.index("<!-- results: begin"), text.index("<!-- results: end")
    assert pasted.startswith(text[:begin])
    assert pasted.endswith(text[end:])


def test_a_document_without_markers_is_refused(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="no markers"):
        report.paste(report.result_of({}, {}), document)


def test_a_value_is_compared_with_the_last_one_recorded() -> None:
    old = report.result_of({"memory": [Outcome("idle", 100, "MiB")]}, {})
    new = report.result_of({"memory": [Outcome("idle", 110, "MiB")]}, {})
    assert report.previous([old, new]) == {"idle": 110}
    assert "was 110" in report.table(old, report.previous([old, new]))
