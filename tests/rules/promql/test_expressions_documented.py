"""docs/expressions.md: what it shows compiles and has values, what it calls refused is, and nothing is left out."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner
from vector_oracle import VectorSample, evaluate

from tocsin.cli import app
from tocsin.rules.measures import Metric
from tocsin.rules.promql import compile_promql
from tocsin.rules.promql.functions import COMBINING, SUPPORTED
from tocsin.rules.refusals import QueryError
from tocsin.rules.vector import Operator, series_of

TEXT = (Path(__file__).parents[3] / "docs" / "expressions.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)( refused)?\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
EXAMPLES = [text for kind, refused, text in BLOCKS if kind == "promql" and not refused]
REFUSED = [text for kind, refused, text in BLOCKS if kind == "promql" and refused]
FILES = [text for kind, _, text in BLOCKS if kind == "yaml"]

NOW = 1_790_000_000 * 10**9


def span(text: str, age: int) -> VectorSample:
    """Return a sample that every leaf of an expression takes: of any metric, with all the labels that it asks for."""
    compiled = compile_promql(text, ())
    expression = compiled.expression
    leaves = series_of(expression.value, *(expression.limits or ()), expression.gate)
    labels = {label: "value" for leaf in leaves for entry in leaf.labels for label in entry}
    labels |= {"model": "gpt-4o", "environment": "prod", "region": "eu"}
    metrics = {(leaf.metric, leaf.attribute): 77.0 for leaf in leaves}
    return VectorSample(NOW - age, labels, {**metrics, (Metric.COUNT, None): 1.0})


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_compile_and_have_values(text: str) -> None:
    compiled = compile_promql(text, ())
    samples = [span(text, age * 10**9) for age in (30, 3000, 90_000)]
    found = evaluate(compiled.expression.value, samples, NOW)
    if "absent" not in text and 'region=""' not in text:
        assert found
    assert all(isinstance(value, float) for value in found.values())


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_called_refused_is(text: str) -> None:
    with pytest.raises(QueryError):
        compile_promql(text, ())


@pytest.mark.parametrize("text", FILES)
def test_files_pass_the_check(text: str, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(text, encoding="utf-8")
    done = CliRunner().invoke(app, ["check", str(file)])
    assert done.exit_code == 0, done.output


def test_every_function_aggregation_and_operator_has_an_example() -> None:
    shown = set(re.findall(r"[a-z_0-9]+", " ".join(EXAMPLES)))
    assert not {*SUPPORTED, *COMBINING, "on", "ignoring", "group_left", "by", "without", "bool", "offset"} - shown
    assert not {"and", "or", "unless"} - shown
    assert not [sign for sign in Operator if f" {sign.value} " not in " ".join(EXAMPLES)]
