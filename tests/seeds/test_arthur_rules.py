"""Arthur's seven queries as they are pasted: accuracy, hallucination, silence, errors, latency, a spike, a slice."""

import pytest
from seeded import HOUR, Played, Score, Span, every, loaded_file, play

RULES = loaded_file("arthur.yaml")
SILENCE = "Inference count drops to zero (pipeline failure)"
VERSION_1, VERSION_2 = ({"gen_ai.response.model": f"gpt-4o-v{number}"} for number in (1, 2))
WORST = "Worst-performing dimension slice"


def scored(name: str, at: float, score: float, **dimensions: str) -> Score:
    return Score(at, score, attributes={"gen_ai.evaluation.name": name, **dimensions})


def calls(step: float, begin: float, end: float, *, seconds: float = 0.5, fail_every: int = 0) -> list[Span]:
    return [
        Span(at, seconds=seconds, failed=bool(fail_every) and number % fail_every == 0)
        for number, at in enumerate(every(step, begin, end))
    ]


def said(*sent: Span | Score, until: float) -> Played:
    return play(RULES, sent, until=until)


def test_a_quiet_day_fires_nothing() -> None:
    sent = calls(60, 10, 6 * HOUR, fail_every=40)
    sent += [scored("accuracy", at, 0.9, **VERSION_1) for at in every(300, 30, 6 * HOUR)]  # type: ignore[misc]
    sent += [scored("hallucination_rate", at, 0.01) for at in every(300, 40, 6 * HOUR)]  # type: ignore[misc]
    assert said(*sent, until=6 * HOUR + 1).rules() == set()


@pytest.mark.parametrize(
    ("name", "good", "bad", "rules"),
    [
        ("accuracy", 0.85, 0.75, {"Accuracy drops below threshold", WORST}),
        ("hallucination_rate", 0.04, 0.06, {"Hallucination rate exceeds threshold"}),
    ],
)
def test_an_hours_average_crosses_its_bound_when_the_hour_is_over(
    name: str, good: float, bad: float, rules: set[str]
) -> None:
    before = [scored(name, at, good, **VERSION_1) for at in every(300, 30, 2 * HOUR)]
    after = [scored(name, at, bad, **VERSION_1) for at in every(300, 2 * HOUR + 30, 3 * HOUR)]
    judged = calls(60, 10, 3 * HOUR)
    assert said(*judged, *before, *after, until=3 * HOUR - 1).rules() == set()
    played = said(*judged, *before, *after, until=3 * HOUR + 1)
    assert played.rules() == rules
    assert {one.at for one in played.fired} == {3 * HOUR}


def test_an_hour_without_a_call_is_a_count_of_zero() -> None:
    assert said(*calls(60, 10, 2 * HOUR), until=2 * HOUR + 1).rules() == set()
    played = said(*calls(60, 10, 2 * HOUR), until=3 * HOUR + 60)
    assert played.rules() == {SILENCE}
    assert played.fired[0].at == 3 * HOUR


def test_errors_and_their_spike_against_the_day_before() -> None:
    calm = calls(240, 10, 30 * HOUR, fail_every=15)
    burst = calls(240, 30 * HOUR + 10, 31 * HOUR, fail_every=4)
    assert said(*calm, until=30 * HOUR + 1).rules() == set()
    played = said(*calm, *burst, until=31 * HOUR + 1)
    assert played.rules() == {"Error rate spike", "Relative spike (current vs. baseline ratio)"}


def test_a_steady_rate_of_errors_is_no_relative_spike() -> None:
    assert said(*calls(240, 10, 30 * HOUR, fail_every=15), until=30 * HOUR + 1).rules() == set()


def test_the_slowest_twentieth_breaks_the_promise() -> None:
    fast = calls(60, 10, 2 * HOUR)
    slow = [*calls(60, 2 * HOUR + 10, 3 * HOUR), *calls(300, 2 * HOUR + 20, 3 * HOUR, seconds=4.0)]
    played = said(*fast, *slow, until=3 * HOUR + 1)
    assert played.rules() == {"p95 latency exceeds SLA"}


def test_the_worst_version_fires_where_the_average_hides_it() -> None:
    sent: list[Span | Score] = [*calls(60, 10, HOUR)]
    sent += [scored("accuracy", at, 0.97, **VERSION_1) for at in every(60, 30, HOUR)]
    sent += [scored("accuracy", at, 0.7, **VERSION_2) for at in every(600, 40, HOUR)]
    assert said(*sent, until=HOUR + 1).rules() == {WORST}
