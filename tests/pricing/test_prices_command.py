"""`tocsin prices`."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tocsin.cli.prices import prices

app = typer.Typer()
app.command()(prices)


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_shows_what_a_call_costs_and_why() -> None:
    code, said = run("gpt-4o", "--input", "1200", "--cache-read", "1000", "--output", "300")
    assert code == 0
    for part in ("priced as openai/gpt-4o", "genai-prices", "$1.25 per 1M tokens", "$0.00475"):
        assert part in said


def test_shows_prices_without_tokens() -> None:
    code, said = run("gpt-4o-mini")
    assert code == 0
    assert "$0.15 per 1M tokens" in said
    assert "total" not in said


def test_an_unknown_model_fails_with_near_names() -> None:
    code, said = run("gtp-4o")
    assert code == 1
    assert "gpt-4o" in said
    assert "overrides" in said


def test_a_price_depends_on_when() -> None:
    assert "$0.27" in run("deepseek-chat", "--at", "2026-01-01T12:00:00")[1]
    assert "$0.135" in run("deepseek-chat", "--at", "2026-01-01T20:00:00")[1]


def test_reads_overrides_and_discounts_of_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("rules: []\nprices: {overrides: {m: {input: 2, output: 8}}, discounts: [{factor: 0.5}]}\n")
    code, said = run("m", "--input", "1000", "--output", "1000", "--config", str(path), "--json")
    assert code == 0
    assert json.loads(said)["total_nano"] == 5_000_000


def test_says_which_tier_dates_and_discount_hold(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        """
prices:
  overrides:
    m:
      - {input: 2, request: 0.01, valid_from: 2026-01-01, valid_to: 2026-12-31,
         tiers: [{above: 1K, input: 4}]}
  discounts: [{factor: 0.5, tenant: acme}]
"""
    )
    arguments = ("m", "--input", "2000", "--output", "5", "--tenant", "acme", "--at", "2026-06-01")
    code, said = run(*arguments, "--config", str(path))
    assert code == 0
    for part in (
        "since 2026-01-01 00:00 UTC",
        "until 2027-01-01 00:00 UTC",
        "more than 1,000 input tokens",
        "discount x 0.5 for tenant acme",
        "$0.01 per call",
        "not billed",
        "$0.009",
    ):
        assert part in said


def test_says_where_a_model_without_a_usable_price_was_found() -> None:
    code, said = run("whisper-1")
    assert code == 1
    assert "billed by audio_hours" in said
    assert "openai/whisper-1" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "prices: {overrides: {m: {input: -2}}}",
            "prices.overrides.m.0.input: must be a finite number, 0 or more",
        ),
        ("prices: {overide: {}}", "prices.overide"),
        ("prices: [", "not a YAML file"),
    ],
)
def test_says_what_is_wrong_with_a_configuration(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    code, output = run("m", "--config", str(path))
    assert code == 1
    assert said in output
