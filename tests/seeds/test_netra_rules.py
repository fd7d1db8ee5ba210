"""Netra's use cases: each fires on what it is for, and on nothing else."""

import pytest
from seeded import Played, Span, Value, loaded_file, play, tool

RULES = loaded_file("netra.yaml")
PRODUCTION = {"deployment.environment.name": "production"}


def said(*spans: Span) -> Played:
    return play(RULES, spans, until=900)


def call(at: float = 0.0, cost: float = 0.0, seconds: float = 1.0, trace: str = "", **more: object) -> Span:
    attributes = {"app.llm.cost_usd": cost, **{key.replace("__", "."): value for key, value in more.items()}}
    return Span(at, attributes, seconds, trace=trace, resource=PRODUCTION)  # type: ignore[arg-type]  # as a test writes it


def test_a_trace_of_cheap_calls_costs_too_much_on_the_call_that_crosses_the_line() -> None:
    played = said(*(call(at, 0.2, trace="a") for at in (0, 1, 2)), call(3, 0.4, trace="b"))
    assert [(one.rule, one.at) for one in played.fired] == [("High Cost Alert - Production", 2.0)]


def test_a_trace_at_the_threshold_or_of_another_environment_does_not() -> None:
    staging = Span(1, {"app.llm.cost_usd": 5.0}, resource={"deployment.environment.name": "staging"})
    assert said(call(0, 0.5, trace="a"), staging).rules() == set()


def test_a_slow_trace_breaks_its_promise_and_a_fast_one_does_not() -> None:
    assert said(call(10, seconds=3.001)).rules() == {"Latency SLA"}
    assert said(call(10, seconds=3.0)).rules() == set()


def errors(failed: int, of: int) -> list[Span]:
    return [Span(at, failed=at < failed, resource=PRODUCTION) for at in range(of)]


def test_errors_over_five_per_cent_fire_and_a_single_failure_does_not() -> None:
    assert said(*errors(2, 25)).rules() == {"Error Rate"}
    assert said(*errors(1, 20)).rules() == set()
    assert said(*errors(1, 1)).rules() == set()


@pytest.mark.parametrize(("tenant", "rules"), [("acme", {"Tenant Cost"}), ("other", set())])
def test_what_one_tenant_costs(tenant: str, rules: set[str]) -> None:
    spans = [call(at * 60, 0.4, tenant__id=tenant) for at in range(30)]
    assert said(*spans).rules() == rules


def test_single_tools_may_be_slow_too() -> None:
    assert said(tool(5, "search", seconds=2.5)).rules() == {"Tool Latency"}
    assert said(tool(5, "search", seconds=1.5)).rules() == set()


@pytest.mark.parametrize(
    ("model", "service", "fires"), [("gpt-4o", "chat", True), ("o3", "chat", False), ("gpt-4o", "x", False)]
)
def test_tokens_of_some_models_of_a_service(model: str, service: str, fires: bool) -> None:
    attributes: dict[str, Value] = {
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": 100_000,
        "gen_ai.usage.output_tokens": 1,
    }
    played = said(Span(0, {**attributes, "app.llm.cost_usd": 0.0}, resource={"service.name": service}))
    assert played.rules() == ({"Token Count"} if fires else set())
