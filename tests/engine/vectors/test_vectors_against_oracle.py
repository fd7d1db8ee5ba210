"""Values of expressions are those of brute force, whatever the tree and however samples came."""

import math
from typing import Any

from expressions_drawn import (
    LABEL_SETS,
    at_end_of,
    expression_rule,
    fed,
    found_by,
    histories_of,
    keeping,
    samples_of,
    steps_of,
    vectors,
)
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from samples import Span
from vector_oracle import AmbiguousMatchError, evaluate

from tocsin.engine import Engine
from tocsin.rules.rule import Rule
from tocsin.rules.vector import labels_of

LENIENT: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def same(left: float, right: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right)) or math.isclose(left, right, rel_tol=1e-9)


def expected(rule: Rule, spans: list[Span], second: int) -> dict[tuple[str | None, ...], float]:
    assert rule.expression is not None
    try:
        return evaluate(rule.expression.value, samples_of(spans), at_end_of(second))
    except AmbiguousMatchError:
        assume(False)
        raise


@settings(max_examples=250, **LENIENT)
@given(data=st.data(), spans=histories_of(), labels=st.sampled_from(LABEL_SETS), depth=st.integers(0, 3))
def test_values_are_those_of_brute_force(
    data: st.DataObject, spans: list[Span], labels: tuple[Any, ...], depth: int
) -> None:
    value = data.draw(vectors(labels, depth))
    assert set(labels_of(value) or ()) == set(labels)
    rule = expression_rule(value)
    engine = Engine([rule, *keeping()])
    for second, sent in steps_of(data.draw, spans, until=400):
        fed(engine, sent, data.draw)
        if not engine.time:
            continue
        engine.advance(at_end_of(second))
        wanted, found = expected(rule, spans, second), found_by(engine, rule)
        order = labels_of(value) or ()
        assert rule.group_by == order
        assert found.keys() == wanted.keys(), (second, found, wanted)
        for key, number in found.items():
            assert same(number, wanted[key]), (second, key, found, wanted)
