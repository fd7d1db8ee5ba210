"""The three alerts of the article and those it adds, on traffic as its emitter sends it."""

from random import Random

import pytest
from seeded import DAY, HOUR, Played, Score, Span, Value, every, loaded_file, play, tool

RULES = loaded_file("three_alerts.yaml")


def call(at: float, cost: float = 0.01, conversation: str = "c", **more: Value) -> Span:
    return Span(at, {"app.llm.cost_usd": cost, "gen_ai.conversation.id": conversation, **more})


def judged(at: float, score: float, **more: str) -> Span:
    return Span(at, {"app.llm.judge.score": score, "app.llm.cost_usd": 0.0, **more})


def retrieved(at: float, relevance: float, count: int = 5) -> Span:
    attributes: dict[str, Value] = {"gen_ai.operation.name": "retrieval", "app.rag.retrieved_count": count}
    return Span(at, {**attributes, "app.rag.relevance_score": relevance})


def test_a_loop_of_cheap_calls_breaches_the_ceiling_on_the_call_that_crosses_it() -> None:
    loop = [call(at * 0.3, 0.11, "runaway") for at in range(300)]
    calm = [call(at, 0.5, f"user-{at % 7}") for at in every(5, 0, 300)]
    played = play(RULES, [*loop, *calm], until=1200)
    [fired] = played.fired
    assert (fired.rule, fired.group) == ("cost-ceiling", {"conversation": "runaway"})
    assert fired.at == pytest.approx(227 * 0.3)  # the 228th call makes it $25.08
    assert played.resolved == ["cost-ceiling"]


def test_a_conversation_that_spends_as_much_over_an_hour_does_not() -> None:
    assert play(RULES, [call(at, 0.5) for at in every(36, 0, 3600)]).rules() == set()


def a_week(random: Random, mean: float, step: float = 1800) -> list[Span]:
    # A baseline of one sample has no spread, and this query nothing that waits for more: a low one fires nothing.
    return [judged(1, 0.7)] + [judged(at, mean + random.uniform(-0.05, 0.05)) for at in every(step, step, 8 * DAY)]


def test_judged_worse_than_two_standard_deviations_of_the_week_before() -> None:
    random = Random(1)
    spans = a_week(random, 0.8) + [judged(at, 0.65) for at in every(1800, 8 * DAY, 9 * DAY)]
    played = play(RULES, spans)
    assert played.rules() == {"judge-drift"}
    assert 8 * DAY < played.fired[0].at < 9 * DAY


def test_a_day_within_the_spread_of_the_week_is_no_drift() -> None:
    random = Random(2)
    spans = a_week(random, 0.8) + [judged(at, 0.76) for at in every(1800, 8 * DAY, 9 * DAY)]
    assert play(RULES, spans).rules() == set()


def test_one_customers_drift_is_seen_where_the_average_of_all_hides_it() -> None:
    random = Random(3)

    def scored(at: float, tenant: str, score: float) -> Score:
        attributes = {"gen_ai.request.model": "gpt-4o", "gen_ai.prompt.version": "7", "tenant.id": tenant}
        return Score(at, score + random.uniform(-0.05, 0.05), attributes=attributes)

    tenants = [f"t{number}" for number in range(8)]
    sent = [scored(at, tenant, 0.8) for at in every(3600, 0, 8 * DAY) for tenant in tenants]
    sent += [
        scored(at, tenant, 0.6 if tenant == "t3" else 0.8) for at in every(3600, 8 * DAY, 9 * DAY) for tenant in tenants
    ]
    played = play(RULES, sent)
    assert played.rules() == {"drift-by-slice"}
    assert [group["tenant"] for group in played.groups("drift-by-slice")] == ["t3"]


def test_relevance_falls_and_was_high_before() -> None:
    good = [retrieved(at, 0.8) for at in every(1800, 0, 5 * DAY)]
    bad = [retrieved(at, 0.4) for at in every(300, 5 * DAY, 5 * DAY + 2 * HOUR)]
    played = play(RULES, good + bad)
    assert played.rules() == {"retrieval-drop"}


def test_one_odd_question_and_a_corpus_that_never_was_relevant_are_no_drop() -> None:
    good = [retrieved(at, 0.8) for at in every(300, 0, DAY)]
    assert play(RULES, [*good, retrieved(DAY + 1, 0.1)]).rules() == set()
    poor = [retrieved(at, 0.5) for at in every(1800, 0, 5 * DAY)]
    assert play(RULES, poor).rules() == set()


def test_a_retriever_that_finds_nothing_pages_by_itself() -> None:
    found = [retrieved(at, 0.8) for at in every(60, 0, 600)]
    assert play(RULES, [*found, retrieved(700, 0.8, count=0)]).rules() == {"nothing-retrieved"}
    assert play(RULES, found).rules() == set()


def latencies(model: float, tools: float) -> Played:
    spans = [Span(at, {"app.llm.cost_usd": 0.0}, model) for at in every(10, 60, 660)]
    spans += [tool(at, "search", seconds=tools) for at in every(2, 60, 660)]
    return play(RULES, spans)


def test_provider_latency_is_that_of_models_not_of_tools() -> None:
    assert latencies(model=1.0, tools=30.0).rules() == set()
    assert latencies(model=9.0, tools=0.1).rules() == {"provider-p95"}
