"""Every ready rule fires on what it is for, and stays silent on what only looks like it."""

from collections.abc import Iterable
from random import Random

import pytest
from seeded import DAY, HOUR, Played, Score, Span, Value, every, play, tool

CONTACTS = "contact_points: {us: {type: log}}\nrules:\n"


def said(template: str, sent: Iterable[Span | Score], *, until: float = 0.0, **fields: str) -> Played:
    """What one ready rule says, as it is or with fields in YAML's flow style."""
    more = "".join(f"  {key.rstrip('_')}: {value}\n" for key, value in fields.items())
    return play(f"{CONTACTS}- template: {template}\n  notify: us\n{more}", sent, until=until)


def call(at: float, conversation: str = "c", **attributes: Value) -> Span:
    return Span(at, {"gen_ai.conversation.id": conversation, "app.llm.cost_usd": 0.01, **attributes})


def test_runaway_conversation() -> None:
    loop = [call(at * 0.5, "loop", **{"app.llm.cost_usd": 0.2}) for at in range(130)]
    calm = [call(at, f"user-{at}", **{"app.llm.cost_usd": 2.0}) for at in range(60)]
    assert said("runaway_conversation", [*loop, *calm]).groups("runaway-conversation") == [{"conversation": "loop"}]
    slow = [call(at, "long", **{"app.llm.cost_usd": 0.2}) for at in every(30, 0, 2 * HOUR)]
    assert said("runaway_conversation", slow).rules() == set()
    assert said("runaway_conversation", slow, with_="{threshold: $1.50}").rules() == {"runaway-conversation"}


def test_cost_per_trace() -> None:
    dear = [Span(at, {"app.llm.cost_usd": 0.2}, trace="agent") for at in range(3)]
    cheap = [Span(at, {"app.llm.cost_usd": 0.2}) for at in range(30)]
    assert said("cost_per_trace", [*dear, *cheap], until=60).rules() == {"cost-per-trace"}
    assert said("cost_per_trace", cheap, until=60).rules() == set()


def judged(at: float, score: float, **attributes: Value) -> Span:
    return call(at, "c", **{"app.llm.judge.score": score, **attributes})


@pytest.mark.parametrize(("score", "rules"), [(0.62, {"judge-drift"}), (0.78, set())])
def test_judge_drift(score: float, rules: set[str]) -> None:
    random = Random(7)
    week = [judged(at, 0.8 + random.uniform(-0.08, 0.08)) for at in every(1200, 0, 8 * DAY)]
    today = [judged(at, score) for at in every(1200, 8 * DAY, 9 * DAY)]
    assert said("judge_drift", week + today).rules() == rules


def test_judge_drift_needs_a_week_to_compare_with() -> None:
    new = [judged(at, 0.9 if at < HOUR else 0.3) for at in every(300, 0, 6 * HOUR)]
    assert said("judge_drift", new).rules() == set()


@pytest.mark.parametrize("late", [0.0, 6 * HOUR])
def test_judge_drift_of_scores_that_come_late_counts_them_where_they_belong(late: float) -> None:
    """Scores that arrive today and are of the week before change the week, not today."""
    random = Random(8)
    week = [Score(at, 0.8 + random.uniform(-0.1, 0.1), attributes=MODEL) for at in every(1200, 0, 8 * DAY)]
    poor = [Score(at, 0.3, arrives=8 * DAY + late, attributes=MODEL) for at in every(60, 6 * DAY, 6 * DAY + HOUR)]
    today = [Score(at, 0.8, attributes=MODEL) for at in every(1200, 8 * DAY, 8 * DAY + 8 * HOUR)]
    assert said("judge_drift", [*week, *poor, *today]).rules() == set()


MODEL = {"gen_ai.request.model": "gpt-4o"}


def retrieval(at: float, **attributes: Value) -> Span:
    return Span(at, {"gen_ai.operation.name": "retrieval", **attributes})


def relevant(times: Iterable[float], score: float) -> list[Span]:
    return [retrieval(at, **{"app.rag.relevance_score": score}) for at in times]


def test_retrieval_drop() -> None:
    good = relevant(every(1800, 0, 5 * DAY), 0.8)
    bad = relevant(every(120, 5 * DAY, 5 * DAY + HOUR), 0.4)
    assert said("retrieval_drop", good + bad).rules() == {"retrieval-drop"}
    assert said("retrieval_drop", good + bad[:3]).rules() == set()
    assert said("retrieval_drop", relevant(every(600, 0, DAY), 0.5)).rules() == set()
    assert said("retrieval_drop", good + bad, with_="{low: 0.3}").rules() == set()


def test_empty_retrieval() -> None:
    found = [retrieval(at, **{"app.rag.retrieved_count": 5}) for at in every(60, 0, 600)]
    empty = [retrieval(at, **{"app.rag.retrieved_count": 0}) for at in every(60, 960, 1200)]
    assert said("empty_retrieval", found + empty).rules() == {"empty-retrieval"}
    odd = [retrieval(at, **{"app.rag.retrieved_count": int(at) % 3}) for at in range(600)]
    assert said("empty_retrieval", odd).rules() == set()


def test_provider_latency_is_without_tools() -> None:
    calls = [Span(at, seconds=2.0) for at in every(5, 60, 660)]
    tools = [tool(at, "search", seconds=40.0) for at in every(5, 62, 660)]
    assert said("provider_latency", [*calls, *tools]).rules() == set()
    slow = [Span(at, seconds=12.0) for at in every(5, 660, 900)]
    assert said("provider_latency", [*calls, *slow]).rules() == {"provider-latency"}


def test_error_burst() -> None:
    calls = [Span(at, failed=at >= 95) for at in range(105)]
    assert said("error_burst", calls).rules() == {"error-burst"}
    assert said("error_burst", [Span(at, failed=True) for at in range(10)]).rules() == set()


def test_tenant_budget_of_the_calendars_month() -> None:
    def month(cost: float) -> list[Span]:
        return [
            Span(at, {"app.llm.cost_usd": cost, "tenant.id": tenant})
            for at in every(6 * HOUR, 60, 40 * DAY)
            for tenant in ("a", "b")
        ]

    # 124 calls until the month ends: $124 each, and $36 in the next.
    assert said("tenant_budget", month(1.0), with_="{budget: $125}").rules() == set()
    over = said("tenant_budget", month(1.0), with_="{budget: $100}")
    assert over.groups("tenant-budget") == [{"tenant": "a"}, {"tenant": "b"}]
    assert over.fired[0].at == 99 * 6 * HOUR + 60
    assert over.resolved == ["tenant-budget", "tenant-budget"]


def test_tenant_budget_foretold() -> None:
    calls = [Span(at, {"app.llm.cost_usd": 1.0, "tenant.id": "a"}) for at in every(600, 60, 2 * HOUR)]
    foretold = "{budget: %s, period: day, forecast: true}"
    # Six calls an hour: $144 a day, which nobody says before an hour of it has passed.
    played = said("tenant_budget", calls, with_=foretold % "$140")
    assert [one.at for one in played.fired] == [HOUR]
    assert said("tenant_budget", calls, with_=foretold % "$180").rules() == set()


def test_traffic_stopped() -> None:
    def service(name: str, end: float) -> list[Span]:
        return [Span(at, resource={"service.name": name}) for at in every(30, 0, end)]

    played = said("traffic_stopped", [*service("a", 600), *service("b", 1800)], until=1800)
    assert played.groups("traffic-stopped") == [{"service": "a"}]
    assert said("traffic_stopped", service("a", 600), until=700).rules() == set()
    back = [*service("a", 600), Span(1500, resource={"service.name": "a"})]
    assert said("traffic_stopped", back, until=1600).resolved == ["traffic-stopped"]


def test_unpriced_models() -> None:
    unknown = Span(
        1, {"gen_ai.request.model": "in-house-7b", "gen_ai.usage.input_tokens": 10, "gen_ai.provider.name": "us"}
    )
    known = Span(2, {"gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 10})
    assert said("unpriced_models", [unknown, known]).groups("unpriced-models") == [{"model": "in-house-7b"}]
    assert said("unpriced_models", [known]).rules() == set()


def turns(conversation: str, step: float, tokens: Iterable[float], begin: float = 0.0) -> list[Span]:
    return [
        call(begin + number * step, conversation, **{"gen_ai.usage.input_tokens": int(count)})
        for number, count in enumerate(tokens)
    ]


def test_token_growth_of_an_agent_that_sends_ever_more() -> None:
    growing = turns("loop", 10, (4_000 + 2_000 * turn for turn in range(60)))
    played = said("token_growth", growing, until=700)
    assert played.groups("token-growth") == [{"conversation": "loop"}]


@pytest.mark.parametrize(
    "sent",
    [
        turns("large", 10, (60_000 for _ in range(100))),
        turns("mixed", 10, (1_000 if turn % 2 else 90_000 for turn in range(100))),
        turns("chat", 60, (500 + 400 * turn for turn in range(60))),
        turns("short", 5, (10_000 * turn for turn in range(8))),
        turns("compacted", 10, (5_000 + 3_000 * (turn % 12) for turn in range(100))),
    ],
    ids=lambda sent: sent[0].attributes["gen_ai.conversation.id"],
)
def test_token_growth_is_not_what_is_large_mixed_slow_short_or_compacted(sent: list[Span]) -> None:
    assert said("token_growth", sent, until=1500).rules() == set()


def test_repeated_tool_call() -> None:
    loop = [tool(at * 5, "search", conversation="loop") for at in range(25)]
    assert said("repeated_tool_call", loop).groups("repeated-tool-call") == [{"conversation": "loop", "tool": "search"}]
    several = [tool(at * 5, f"tool-{at % 5}", conversation="busy") for at in range(50)]
    others = [tool(at * 5, "search", conversation=f"user-{at}") for at in range(50)]
    calls = [call(at * 5, "chat") for at in range(50)]
    assert said("repeated_tool_call", [*several, *others, *calls]).rules() == set()
