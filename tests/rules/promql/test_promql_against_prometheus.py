"""Expressions mean what they mean in Prometheus: its own engine, brute force and ours, over the same samples."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from promql_peer import Prometheus, PrometheusSeries, prometheus
from promql_strategies import GRID, MODELS, TENANTS, Written, expressions
from samples import Span, batch_of, rule_of
from vector_oracle import AmbiguousMatchError, VectorSample, evaluate

from tocsin.engine import Engine
from tocsin.rules.measures import Aggregate, Condition, Metric, NoData
from tocsin.rules.promql.matching import Labelling
from tocsin.rules.promql.parting import parted
from tocsin.rules.promql.reading import read
from tocsin.rules.promql.trees import Trees
from tocsin.rules.refusals import QueryError
from tocsin.rules.vector import Expression, Language, Vector, labels_of, series_of

SECOND = 10**9
BEGIN = 1_790_000_000
STEPS = 60
GROUP_BY = (("model",), ("tenant",))

Elements = dict[frozenset[tuple[str, str]], float]

CASES_PER_HISTORY = 12
HISTORIES = 260
"""3,120 expressions are drawn, some of them refused; each history is judged at one instant."""


@dataclass(frozen=True)
class History:
    """The spans of ten minutes, for either side."""

    spans: tuple[VectorSample, ...]
    scraped: tuple[PrometheusSeries, ...]


@st.composite
def histories(draw: st.DrawFn) -> History:
    chance = random.Random(draw(st.integers(0, 2**32)))
    spans: list[VectorSample] = []
    scraped: list[PrometheusSeries] = []
    for model in MODELS:
        for tenant in TENANTS:
            if chance.random() < 0.15:
                continue
            labels = {"model": model, "tenant": tenant}
            for gauge in "gh":
                gauged = _gauge(chance)
                spans += [_span(step, labels, gauge, value) for step, value in gauged.items()]
                scraped.append(_series(gauge, labels, gauged))
            each = chance.randrange(1, 9) / 4
            spans += [_span(step, labels, "c", each) for step in range(STEPS)]
            # Far from zero, where Prometheus extrapolates no further back than to it.
            total = {step: 1e4 + (step + 1) * each for step in range(STEPS)}
            scraped += [_series(name, labels, total) for name in ("c_sum", "c_total")]
            scraped.append(_series("c_count", labels, {step: 1e4 + step + 1 for step in range(STEPS)}))
    return History(tuple(spans), tuple(scraped))


def _gauge(chance: random.Random) -> dict[int, float]:
    """A gauge with gaps: a chance sample, or a whole stretch that is missing."""
    missing = chance.choice((0.0, 0.1, 0.6, 1.0))
    begin = chance.randrange(STEPS)
    gap = range(begin, begin + chance.choice((0, 10, 35)))
    steps = [step for step in range(STEPS) if step not in gap and chance.random() >= missing]
    return {step: chance.choice((0.0, 0.5, chance.uniform(-9, 9), chance.gauss(0, 3))) for step in steps}


def _time(step: int) -> float:
    return BEGIN + GRID * step + GRID / 2


def _span(step: int, labels: Mapping[str, str], key: str, value: float) -> VectorSample:
    return VectorSample(int(_time(step) * SECOND), labels, {(Metric.ATTRIBUTE, key): value})


def _series(name: str, labels: Mapping[str, str], values: Mapping[int, float]) -> PrometheusSeries:
    samples = tuple((int(_time(step) * 1000), value) for step, value in sorted(values.items()))
    return PrometheusSeries({"__name__": name, **labels}, samples)


def tree_of(text: str) -> Vector:
    """Return the tree of a text whose series are told apart by both labels, as those in Prometheus are."""
    return Trees(Labelling(GROUP_BY), GROUP_BY).vector(read(text))


def elements_of(vector: Vector, spans: Sequence[VectorSample], at: int) -> Elements | str:
    """Return the elements by their labels, or that several match where one may."""
    try:
        found = evaluate(vector, spans, at * SECOND)
    except AmbiguousMatchError as error:
        return str(error)
    names = [entry[0] for entry in labels_of(vector) or ()]
    return {frozenset(zip(names, map(str, key), strict=True)): value for key, value in found.items()}


def breaching(vector: Vector, spans: Sequence[VectorSample], at: int) -> Elements:
    """Return the elements that a rule is in breach for, from its parts."""
    part = parted(vector)
    values = elements_of(part.value, spans, at)
    limit = {} if part.limit is None else elements_of(part.limit, spans, at)
    gate = {} if part.gate is None else elements_of(part.gate, spans, at)
    assert not isinstance(values, str)
    assert not isinstance(limit, str)
    assert not isinstance(gate, str)
    gate_labels = {entry[0] for entry in labels_of(part.gate) or ()} if part.gate is not None else set()
    found: Elements = {}
    for key, value in values.items():
        bound = 0.0
        if part.limit is not None:
            bound = limit.get(frozenset() if labels_of(part.limit) is None else key, math.nan)
            if labels_of(part.limit) is not None and key not in limit:
                continue
        opened = part.gate is None or frozenset(pair for pair in key if pair[0] in gate_labels) in gate
        if opened and holds(part.condition, value, bound):
            found[key] = value
    return found


def holds(condition: Condition, value: float, bound: float) -> bool:
    return {
        Condition.GT: value > bound,
        Condition.GTE: value >= bound,
        Condition.LT: value < bound,
        Condition.LTE: value <= bound,
        Condition.EQ: value == bound,
        Condition.NE: value != bound,
        Condition.PRESENT: True,
    }[condition]


def engine_elements(trees: Mapping[str, Vector], history: History, at: int) -> dict[str, Elements]:
    """Return what the engine has for each tree, when all spans came in two requests and time went on to an instant."""
    rules = {
        text: rule_of(
            name=f"rule-{number}",
            metric=Metric.EXPRESSION,
            condition=Condition.PRESENT,
            no_data=NoData.OK,
            window_ns=None,
            group_by=labels_of(tree) or (),
            expression=Expression(Language.PROMQL, text, tree),
        )
        for number, (text, tree) in enumerate(trees.items())
    }
    keep = rule_of(name="keep", metric=Metric.COUNT, threshold=10**9, window_ns=3600 * SECOND, group_by=GROUP_BY)
    engine = Engine([*rules.values(), keep])
    spans = [
        Span(sample.time_ns, number, number, labels=sample.labels, numbers=_numbers(sample))
        for number, sample in enumerate(sorted(history.spans, key=lambda sample: sample.time_ns), 1)
        if sample.time_ns <= at * SECOND
    ]
    for part in (spans[: len(spans) // 2], spans[len(spans) // 2 :]):
        if part:
            engine.ingest(batch_of(part, ("model", "tenant", "region"), ("g", "h", "c")), part[-1].time)
    engine.advance(at * SECOND)
    found: dict[str, Elements] = {text: {} for text in trees}
    texts = {rule.key: text for text, rule in rules.items()}
    for each in engine.values():
        if each.rule.key in texts:
            names = [entry[0] for entry in each.rule.group_by]
            found[texts[each.rule.key]][frozenset((name, each.group[name]) for name in names)] = each.value
    return found


def _numbers(sample: VectorSample) -> dict[str, float]:
    return {key: value for (_, key), value in sample.values.items() if key is not None}


def is_exact(tree: Vector) -> bool:
    """Whether the engine's values are; percentiles are within 1 %, which may decide a comparison."""
    return all(leaf.aggregate is not Aggregate.QUANTILE for leaf in series_of(tree))


def agree(left: Elements | str, right: Elements | str) -> bool:
    if isinstance(left, str) or isinstance(right, str):
        return isinstance(left, str) and isinstance(right, str)
    return left.keys() == right.keys() and all(near(value, right[key]) for key, value in left.items())


def near(left: float, right: float) -> bool:
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    return left == right or math.isclose(left, right, rel_tol=1e-7, abs_tol=1e-7)


def on_an_edge(vector: Vector, spans: Sequence[VectorSample], at: int) -> bool:
    """Whether the last bit of a sum decides: the elements change when samples do by less than two sums may differ."""
    chance = random.Random(1)
    usual = elements_of(vector, spans, at)
    for _ in range(8):
        shaken = [
            replace(
                span, values={key: value * (1 + chance.uniform(-1e-12, 1e-12)) for key, value in span.values.items()}
            )
            for span in spans
        ]
        if not agree(elements_of(vector, shaken, at), usual):
            return True
    return False


@pytest.fixture(scope="module")
def engine() -> Iterator[Prometheus]:
    with prometheus() as running:
        yield running


INSTANTS = [BEGIN + GRID * step for step in (32, 45, STEPS, STEPS + 20)]
LENIENT: dict[str, Any] = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


def lists_of_expressions() -> st.SearchStrategy[list[Written]]:
    return st.lists(expressions, min_size=CASES_PER_HISTORY, max_size=CASES_PER_HISTORY)


def trees_of(texts: Sequence[Written]) -> dict[str, Vector]:
    """Return the trees of the texts that are not refused."""
    trees = {}
    for written in texts:
        with suppress(QueryError):
            trees[written.text] = tree_of(written.text)
    return trees


@pytest.mark.peer
@pytest.mark.slow
def test_expressions_mean_what_they_mean_in_prometheus(engine: Prometheus) -> None:
    compared = 0

    @settings(max_examples=HISTORIES, **LENIENT)
    @given(histories(), lists_of_expressions(), st.sampled_from(INSTANTS))
    def check(history: History, texts: list[Written], at: int) -> None:
        nonlocal compared
        trees = trees_of(texts)
        answers = engine.ask(history.scraped, [(text, at * 1000) for text in trees])
        for (text, tree), theirs in zip(trees.items(), answers, strict=True):
            ours = elements_of(tree, history.spans, at)
            if not agree(ours, theirs) and not on_an_edge(tree, history.spans, at):
                pytest.fail(f"{text}\nat {at}: {theirs} in Prometheus, {ours} here")
            if not isinstance(ours, str):
                assert agree(breaching(tree, history.spans, at), ours), text
            compared += 1

    check()
    assert compared >= 2000


@pytest.mark.slow
@settings(max_examples=12, **LENIENT)
@given(histories(), lists_of_expressions(), st.sampled_from(INSTANTS))
def test_the_engine_has_the_elements_of_brute_force(history: History, texts: list[Written], at: int) -> None:
    trees = {text: tree for text, tree in trees_of(texts).items() if is_exact(tree)}
    found = engine_elements(trees, history, at)
    for text, tree in trees.items():
        ours = elements_of(tree, history.spans, at)
        if not isinstance(ours, str) and not agree(found[text], ours):
            assert on_an_edge(tree, history.spans, at), f"{text}\nat {at}: {found[text]}, by brute force {ours}"
