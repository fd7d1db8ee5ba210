"""`tocsin suggest`: its output, its exit codes, and what the documentation shows of it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tocsin(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tocsin", "suggest", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)  # noqa: S603  # our own command


@pytest.mark.slow
def test_the_documented_command_prints_what_the_documentation_shows() -> None:
    page = (ROOT / "docs" / "suggest.md").read_text()
    shown = re.search(r"^\$ tocsin (suggest --sample)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert shown
    ended = tocsin("--sample")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == shown[2]


def test_a_rule_over_a_period_for_programs() -> None:
    period = ("--from", "2026-03-10T03:00Z", "--to", "2026-03-10T04:00Z")
    ended = tocsin("--sample", "--rule", "runaway-conversation", *period, "--per-week", "500", "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    report = json.loads(ended.stdout)
    (rule,) = report["rules"]
    assert (report["version"], rule["name"], rule["unit"]) == ("1", "runaway-conversation", "USD")
    now = next(each for each in rule["levels"][0]["candidates"] if "now" in each["sources"])
    assert (now["threshold"], now["breached"], now["notified"]) == (25, 1, 1)
    assert now["notified_per_week"] == pytest.approx(168)


def test_a_template_is_tried_before_it_is_written() -> None:
    ended = tocsin(
        "--sample", "--template", "expensive-call", "--template", "retry_storm", "--from", "2026-03-10T23:00Z"
    )
    assert ended.returncode == 1
    assert "--template: " in ended.stderr
    period = ("--from", "2026-03-10T03:00Z", "--to", "2026-03-10T04:00Z")
    ended = tocsin("--sample", "--template", "runaway_conversation", *period)
    assert ended.returncode == 0, ended.stderr
    assert "runaway-conversation: sum of cost over 5m by conversation or trace" in ended.stdout
    assert "it has no contact point; notified is how often one would have been told" in ended.stdout


def test_what_can_not_be_done_says_what_to_do(tmp_path: Path) -> None:
    assert tocsin().returncode == 2
    config = tmp_path / "config.yaml"
    config.write_text(
        f"storage: {{directory: {tmp_path}/data}}\n"
        "rules: [{name: spent, metric: cost, condition: gt, threshold: 1}]\n"
    )
    ended = tocsin("--config", config)
    assert ended.returncode == 1
    assert "nothing is recorded there" in ended.stderr
    ended = tocsin("--config", config, "--rule", "spend")
    assert ended.stderr == "no enabled rule 'spend'; did you mean 'spent'?\n"
