"""`tocsin import`: what it prints is what `tocsin check` takes."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tocsin.cli import app

ALERTS = """
groups:
  - name: llm
    rules:
      - alert: Runaway
        expr: |
          sum by (gen_ai_conversation_id) (
            rate(app_llm_cost_usd_sum[5m]) * 300
          ) > 25
        labels: {severity: page}
        annotations: {summary: "{{ $labels.gen_ai_conversation_id }} spent {{ $value }}"}
"""
MONITOR = """
{"name": "Slow", "type": "query alert",
 "query": "avg(last_10m):p95:ml_obs.span.duration{env:prod} by {model} > 5",
 "options": {"thresholds": {"critical": 5, "warning": 3}}}
"""


def test_what_is_printed_passes_the_check(tmp_path: Path) -> None:
    prometheus, datadog, written = tmp_path / "alerts.yaml", tmp_path / "monitor.json", tmp_path / "rules.yaml"
    prometheus.write_text(ALERTS, encoding="utf-8")
    datadog.write_text(MONITOR, encoding="utf-8")
    done = CliRunner().invoke(app, ["import", str(prometheus), str(datadog), "--output", str(written)])
    assert (done.exit_code, done.stdout) == (0, "")
    assert "2 rules" in done.stderr
    checked = CliRunner().invoke(app, ["check", str(written)])
    assert checked.exit_code == 0, checked.output
    assert "ok, 2 rules" in checked.output


def test_standard_input_is_a_file_and_the_rules_are_printed() -> None:
    done = CliRunner().invoke(app, ["import", "-"], input="sum:app.llm.cost_usd{*}.rollup(sum, 300) > 25")
    assert done.exit_code == 0
    assert "attribute: app.llm.cost_usd" in done.stdout
    assert done.stderr == ""


def test_what_is_taken_for_something_is_said_and_is_no_failure() -> None:
    query = 'sum_over_time({app="llm"} | json | unwrap cost_usd [5m]) > 25'
    done = CliRunner().invoke(app, ["import", "-", "--from", "logql"], input=query)
    assert done.exit_code == 0
    assert "note: " in done.stderr


def test_what_has_no_equivalent_is_said_and_is_a_failure(tmp_path: Path) -> None:
    file = tmp_path / "alerts.yaml"
    file.write_text(ALERTS + "      - {alert: B, expr: 'irate(x[5m]) > 1'}\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["import", str(file)])
    assert done.exit_code == 1
    assert "name: Runaway" in done.stdout
    assert f"not imported: {file}: B: irate() has no equivalent" in done.stderr


@pytest.mark.parametrize("arguments", [["import", "nowhere.yaml"], ["import", "-", "--from", "nagios"]])
def test_wrong_arguments_are_told(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments, input="cost > 5")
    assert done.exit_code != 0
