"""Prices written into the file by a program: in force, beside what stands there, and never for more than one model."""

from decimal import Decimal
from pathlib import Path

import pytest

from tocsin.api.editing import RejectedError, TakenError
from tocsin.service.editing.editor import Editor
from tocsin.service.loading import load

BARE = "# main\ncontact_points: {}\nrules: []\n"
SOME = """\
# main
prices:
  # what we negotiated
  prefer: computed
  overrides:
    our-model: {input: 2.5, output: 10} # by hand
rules: []
"""


@pytest.fixture(params=[BARE, SOME], ids=["without prices", "with some"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(request.param)
    return path


def test_a_price_is_in_force_and_everything_else_stays(config: Path) -> None:
    before = config.read_text()
    Editor(config).add_price("acme/their model:1", {"input": 1.5, "output": 0.00000025, "cache_read": 0})
    after = config.read_text()
    assert [line for line in before.splitlines() if line not in after.splitlines()] == []
    [override] = load(config).configuration.prices.overrides["acme/their model:1"]
    assert [override.input, override.output, override.cache_read] == [Decimal("1.5"), Decimal("0.00000025"), Decimal(0)]


def test_an_override_that_is_there_stays(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(SOME)
    with pytest.raises(TakenError, match=r"our-model.*config\.yaml:6"):
        Editor(config).add_price("our-model", {"input": 1})
    assert config.read_text() == SOME


@pytest.mark.parametrize(
    ("model", "prices", "why"),
    [
        ("*", {"input": 1}, "pattern"),
        ("gpt-?", {"input": 1}, "pattern"),
        ("${env:HOME}", {"input": 1}, "reference to the environment"),
        ("m", {"input": "${file:/etc/passwd}"}, "reference to the environment"),
        ("m", {"input": -1}, "0 or more"),
        ("m", {"output": 1}, "has no `input`"),
        ("m", {}, "gives no price"),
    ],
)
def test_what_is_no_price_of_one_model_changes_nothing(
    config: Path, model: str, prices: dict[str, object], why: str
) -> None:
    before = config.read_text()
    with pytest.raises(RejectedError, match=why):
        Editor(config).add_price(model, prices)
    assert config.read_text() == before
