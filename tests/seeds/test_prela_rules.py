"""Prela's six metrics."""

from seeded import Played, Span, every, loaded_file, play

RULES = loaded_file("prela.yaml")


def said(*spans: Span) -> Played:
    return play(RULES, spans, until=1000)


def calls(number: int, *, seconds: float = 1.0, slow: int = 0, failed: int = 0, cost: float = 0.01) -> list[Span]:
    """Calls of which the last some are slow or fail: one failure alone would be 100 % of one call."""
    return [
        Span(
            60 + at,
            {"app.llm.cost_usd": cost},
            10.0 if at >= number - slow else seconds,
            failed=at >= number - failed,
        )
        for at in range(number)
    ]


def test_quiet_traffic_fires_nothing() -> None:
    assert said(*calls(200, slow=5, failed=5)).rules() == set()


def test_the_slowest_twentieth_is_too_slow() -> None:
    assert said(*calls(108, slow=8)).rules() == {"High Latency Alert"}


def test_everything_is_a_little_slow() -> None:
    assert said(*calls(50, seconds=2.0)).rules() == {"Mean Latency"}
    assert said(*calls(50, seconds=1.99)).rules() == set()


def test_failures_are_told_by_both_rates() -> None:
    assert said(*calls(107, failed=7)).rules() == {"Error Rate Spike", "Success Rate"}


def test_traces_cost_more_on_average_than_they_should() -> None:
    spans = [Span(at, {"app.llm.cost_usd": 0.06}, trace=f"t{at // 2}") for at in range(40)]
    assert said(*spans).rules() == {"Cost per Trace"}
    spans = [Span(at, {"app.llm.cost_usd": 0.06}, trace=f"t{at}") for at in range(40)]
    assert said(*spans).rules() == set()


def test_tokens_of_one_agent() -> None:
    def thinking(agent: str) -> list[Span]:
        usage = {"gen_ai.usage.input_tokens": 90_000, "gen_ai.usage.output_tokens": 2_000, "app.llm.cost_usd": 0.01}
        return [Span(at, {**usage, "gen_ai.agent.name": agent}) for at in every(60, 0, 660)]

    assert said(*thinking("planner")).rules() == {"Token Usage"}
    assert said(*thinking("writer")).rules() == set()


def test_a_cooldown_holds_back_the_second_notification() -> None:
    burst = [Span(at, {"app.llm.cost_usd": 0.0}, 4.0) for at in range(5)]
    played = play(RULES, [*burst, *(Span(4200 + at, {"app.llm.cost_usd": 0.0}, 4.0) for at in range(3))], until=5000)
    told = [event for event in played.events if event.rule.name == "High Latency Alert" and event.notify]
    assert [event.transition for event in told][:1] == ["firing"]
