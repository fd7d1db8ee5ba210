"""What silence means: of groups and of all, of windows and of expressions."""

import pytest
from seeded import DAY, HOUR, Score, Span, every, play

HEAD = "contact_points: {us: {type: log}}\nrules:\n"


def service(name: str, end: float) -> list[Span]:
    return [
        Span(at, {"app.llm.judge.score": 0.9, "app.llm.cost_usd": 0.01}, resource={"service.name": name})
        for at in every(30, 0, end)
    ]


JUDGED = "name: r, metric: judge_score, window: 10m, group_by: service, condition: lt, threshold: 0.5, notify: us"
STOPPED = [*service("a", 600), *service("b", 1800)]


@pytest.mark.parametrize(
    ("rule", "groups"),
    [
        ("{name: r, condition: absent, window: 10m, group_by: service, notify: us}", [{"service": "a"}]),
        ("{name: r, condition: absent, window: 10m, notify: us}", []),
        (f"{{{JUDGED}, no_data: alert}}", [{"service": "a"}]),
        (f"{{{JUDGED}}}", []),
        ("{name: r, expr: 'absent_over_time(cost{service=\"a\"}[10m])', notify: us}", [{}]),
        ("{name: r, expr: 'absent_over_time(cost[10m])', notify: us}", []),
    ],
)  # fmt: skip
def test_a_series_that_stopped(rule: str, groups: list[dict[str, str]]) -> None:
    played = play(f"{HEAD}- {rule}\n", STOPPED, until=1800)
    assert played.groups("r") == groups


@pytest.mark.parametrize(
    "rule",
    [
        "{name: r, condition: absent, window: 10m, notify: us}",
        "{name: r, metric: cost, window: 10m, condition: gt, threshold: 1000, no_data: alert, notify: us}",
        "{name: r, expr: 'absent_over_time(cost[10m])', notify: us}",
    ],
)
def test_everything_stopped_and_came_back(rule: str) -> None:
    sent = [*service("a", 600), *(Span(at, {"app.llm.cost_usd": 0.01}) for at in every(30, 2400, 2700))]
    played = play(f"{HEAD}- {rule}\n", sent, until=2700)
    (fired,) = played.fired
    assert 1170 <= fired.at <= 1180
    assert played.resolved == ["r"]


def test_silence_is_no_recovery_unless_the_rule_says_so() -> None:
    rule = "{name: r, metric: judge_score, window: 10m, condition: lt, threshold: 0.95, no_data: %s, notify: us}"
    assert play(f"{HEAD}- {rule % 'keep'}\n", service("a", 600), until=1800).resolved == []
    assert play(f"{HEAD}- {rule % 'ok'}\n", service("a", 600), until=1800).resolved == ["r"]


def test_a_late_evaluation_counts_where_it_belongs_and_one_too_late_nowhere() -> None:
    rule = "{name: r, metric: judge_score, window: 1h, min_samples: 3, condition: lt, threshold: 0.5, notify: us}"
    present = [Span(at, {"app.llm.cost_usd": 0.01}) for at in every(60, 0, 3 * HOUR)]

    def scores(at: float, arrives: float) -> list[Score]:
        return [Score(at + number, 0.1, arrives=arrives + number) for number in range(3)]

    late = scores(2 * HOUR, 2 * HOUR + 1800)
    assert play(f"{HEAD}- {rule}\n", [*present, *late]).rules() == {"r"}
    too_late = scores(HOUR, 2 * HOUR + 1800)
    assert play(f"{HEAD}- {rule}\n", [*present, *too_late]).rules() == set()


def test_a_baseline_can_leave_out_what_its_own_alert_was_about() -> None:
    """Two days of failures make those of the next day look usual, unless incidents are left out of the baseline."""
    rule = (
        "{name: r, metric: error_rate, window: 6h, min_samples: 10, condition: above_baseline, threshold: 0.2, "
        "baseline: {window: 3d, offset: 6h, min_samples: 50, exclude_incidents: %s}, notify: us}"
    )

    def calls(begin: float, end: float, fail_every: int) -> list[Span]:
        return [
            Span(at, failed=fail_every > 0 and number % fail_every == 0)
            for number, at in enumerate(every(900, begin, end))
        ]

    sent = [
        *calls(0, 3 * DAY, 0),
        *calls(3 * DAY, 5 * DAY, 2),
        *calls(5 * DAY, 5.5 * DAY, 0),
        *calls(5.5 * DAY, 6 * DAY, 2),
    ]
    second = 5.5 * DAY
    assert any(one.at > second for one in play(f"{HEAD}- {rule % 'true'}\n", sent).fired)
    assert not any(one.at > second for one in play(f"{HEAD}- {rule % 'false'}\n", sent).fired)
