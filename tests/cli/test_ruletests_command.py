"""`tocsin test`: its output, its exit codes, and what the documentation shows of it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tocsin.service.ruletests.config import SpansConfig, TestConfig, TestFileConfig

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "testing-rules.md").read_text()
FILES = dict(re.findall(r"^```yaml (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
SHOWN = re.findall(r"^\$ tocsin test (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def tocsin(*arguments: str | Path, directory: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tocsin", "test", *map(str, arguments)]
    environment = {**os.environ, **environ}
    return subprocess.run(  # noqa: S603  # our own command
        command, capture_output=True, text=True, timeout=60, check=False, cwd=directory, env=environment
    )


def written(directory: Path) -> Path:
    for name, text in FILES.items():
        (directory / name).write_text(text)
    return directory


@pytest.mark.parametrize(("name", "output"), SHOWN, ids=[name for name, _ in SHOWN])
def test_the_documented_output_is_what_is_printed(tmp_path: Path, name: str, output: str) -> None:
    ended = tocsin(name, directory=written(tmp_path))
    assert (ended.stdout, ended.stderr) == (output, "")
    assert ended.returncode == int("FAILED" in output)


def test_every_documented_file_of_tests_runs(tmp_path: Path) -> None:
    names = [name for name in FILES if name != "drop.test.yaml"]
    ended = tocsin(*names, directory=written(tmp_path))
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    assert len(FILES) == 3


def test_results_for_programs_and_for_ci(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("rules: []\ntest: []\n")
    ended = tocsin(
        "runaway.test.yaml", "drop.test.yaml", "bad.yaml", "--json", "--junit", "out.xml", directory=written(tmp_path)
    )
    assert ended.returncode == 1
    report = json.loads(ended.stdout)
    assert not report["ok"]
    assert [(each["file"], each["ok"]) for each in report["files"]] == [
        ("runaway.test.yaml", True),
        ("drop.test.yaml", False),
    ]
    assert report["problems"][0].startswith("bad.yaml:")
    (failure,) = report["files"][1]["cases"][0]["failures"]
    assert [row["mark"] for row in failure["rows"]] == ["~", "-"]
    root = ElementTree.parse(tmp_path / "out.xml").getroot()  # noqa: S314  # our own
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    (told,) = root.iter("failure")
    assert "retrieval-drop" in (told.get("message") or "")
    assert "legal" in (told.text or "")


def test_colours_are_for_terminals(tmp_path: Path) -> None:
    plain, coloured = (
        tocsin("drop.test.yaml", directory=written(tmp_path), **environ)
        for environ in ({"NO_COLOR": "1"}, {"FORCE_COLOR": "1", "TERM": "xterm-256color"})
    )
    assert "\x1b[" not in plain.stdout
    assert "\x1b[" in coloured.stdout


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    ended = tocsin("gone.yaml", directory=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "gone.yaml: No such file or directory; name a file of tests\n"


def test_wrong_usage_is_another_exit_code(tmp_path: Path) -> None:
    assert tocsin(directory=tmp_path).returncode == 2


@pytest.mark.parametrize("model", [TestFileConfig, TestConfig, SpansConfig], ids=lambda model: model.__name__)
def test_every_field_is_documented(model: type[TestFileConfig]) -> None:
    labels = {"environment", "service", "agent", "operation", "tool", "data_source", "prompt_version", "user",
              "error_type", "finish_reason", "evaluation", "response_id"}  # fmt: skip
    foreign = {"group_eval_order", "fuzzy_compare", "external_labels", "external_url"}
    missing = [name for name in model.model_fields if f"`{name}`" not in PAGE and name not in labels | foreign]
    assert missing == []
