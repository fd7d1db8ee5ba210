"""`tocsin backtest`: its output, its exit codes, and what the documentation shows of it."""

import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import zstandard
from recording import recorded
from samples import EPOCH, SECOND, Span, rule_of

from tocsin.model.batch import CostSource
from tocsin.service.backtest import BacktestError, parse_period
from tocsin.service.backtest.sample import sample_files
from tocsin.service.backtest.traffic import requests

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_772_800_000 * SECOND


def tocsin(*arguments: str | Path, directory: Path | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tocsin", "backtest", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=directory)  # noqa: S603  # our own command


def test_the_bundled_day_is_what_its_script_makes() -> None:
    data = sample_files()[1].read_bytes()
    assert len(data) < 300_000
    assert zstandard.decompress(data) == b"".join(len(each).to_bytes(4, "big") + each for each in requests())


def test_the_documented_command_prints_what_the_documentation_shows() -> None:
    page = (ROOT / "docs" / "backtest.md").read_text()
    shown = re.search(r"^\$ tocsin (backtest --sample)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert shown
    ended = tocsin(*shown[1].split()[1:])
    assert (ended.returncode, ended.stderr) == (0, "")
    assert _timeless(ended.stdout) == _timeless(shown[2])


def _timeless(text: str) -> str:
    return re.sub(r" in [^ ]+ \([\d,]+ spans/s\)", "", text.strip())


def config(tmp_path: Path, *rules: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(f"storage: {{directory: {tmp_path}/data}}\nrules:\n" + "".join(f"- {{{rule}}}\n" for rule in rules))
    return path


RULE = "name: spent, metric: cost, window: 5m, group_by: conversation, condition: gt, threshold: $5"
STRICT = "name: strict, metric: cost, window: 5m, group_by: conversation, condition: gt, threshold: $2"


def record_some(tmp_path: Path) -> None:
    spans = [
        Span(EPOCH + n * SECOND, n, n, labels={"conversation": "a"}, cost_nano=10**9, cost_source=CostSource.COMPUTED)
        for n in range(1, 9)
    ]
    recorded(tmp_path / "data" / "journal", [rule_of()], [(span.time, [span]) for span in spans])


def test_recorded_history_as_json_for_programs(tmp_path: Path) -> None:
    record_some(tmp_path)
    ended = tocsin("--config", config(tmp_path, RULE, STRICT), "--json", "--rule", "spent", "--rule", "strict")
    assert (ended.returncode, ended.stderr) == (0, "")
    report = json.loads(ended.stdout)
    jsonschema.validate(report, json.loads(files("tocsin.service.backtest").joinpath("report.schema.json").read_text()))
    assert [(rule["name"], rule["breached"]) for rule in report["rules"]] == [("spent", 1), ("strict", 1)]
    assert report["comparisons"][0]["both"] == 1


def test_history_and_sorted_history_say_the_same_in_words(tmp_path: Path) -> None:
    record_some(tmp_path)
    one, other = (tocsin("--config", config(tmp_path, RULE), flag) for flag in ("--as-recorded", "--sorted"))
    assert "spent (> $5.00 in 5m): breached 1 time, notified nobody" in one.stdout
    assert "still firing after 2s  conversation a  $6.00, peak $8.00" in one.stdout
    assert _timeless(one.stdout) == _timeless(other.stdout)


def test_another_version_of_the_file_is_compared(tmp_path: Path) -> None:
    record_some(tmp_path)
    new = tmp_path / "new.yaml"
    new.write_text(f"rules:\n- {{{RULE.replace('$5', '$50')}}}\n")
    ended = tocsin("--config", config(tmp_path, RULE), "--against", new, "--chart", tmp_path / "c.html")
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"0 alerts in both, 1 by \S+config.yaml alone, 0 by \S+new.yaml alone", ended.stdout)
    assert "new.yaml" in (tmp_path / "c.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--config", "config.yaml"], 1, "nothing is recorded there"),
        (["--config", "config.yaml", "--rule", "spend"], 1, "did you mean 'spent'"),
        (["--config", "config.yaml", "--input", "none.jsonl"], 1, "No such file"),
        (["--config", "config.yaml", "--from", "yesterday"], 1, "--from: 'yesterday' is no time"),
        (["--config", "config.yaml", "--input", "config.yaml", "--chart", "c.gif"], 1, "ends in .html, .svg or .png"),
        (["--config", "none.yaml"], 2, "none.yaml"),
        ([], 2, "--sample"),
    ],
)
def test_what_can_not_be_done_is_said_with_what_to_do(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    config(tmp_path, RULE)
    ended = tocsin(*arguments, directory=tmp_path)
    assert ended.returncode == code
    assert words in " ".join(ended.stderr.replace("│", " ").split())
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7d", 1_772_800_000 - 7 * 86_400),
        ("1h30m", 1_772_800_000 - 5_400),
        ("now", 1_772_800_000),
        ("2026-03-01", 1_772_323_200),
        ("2026-03-01T03:14Z", 1_772_334_840),
        ("2026-03-01T03:14:00+01:00", 1_772_331_240),
        ("1772334840", 1_772_334_840),
    ],
)
def test_a_moment_is_read_as_people_write_it(text: str, seconds: int) -> None:
    assert parse_period(text, None, NOW).begin == seconds * SECOND


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(BacktestError, match="swap"):
        parse_period("1h", "2h", NOW)
    with pytest.raises(BacktestError, match="no time"):
        parse_period("soon", None, NOW)


def test_an_expression_is_replayed_and_drawn(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n- {name: dropped, expr: 'avg_over_time(app_rag_relevance_score[15m]) < 0.55'}\n")
    ended = tocsin("--config", path, "--input", sample_files()[1], "--json")
    assert ended.returncode == 0, ended.stderr
    [rule] = json.loads(ended.stdout)["rules"]
    assert rule["breached"] == 1
    assert rule["intervals"][0]["fired_at"].startswith("2026-03-10T16:2")
    assert min(low for _, low, _, _ in rule["series"][0]["points"]) < 0.4
    assert len(rule["series"][0]["points"]) > 300
