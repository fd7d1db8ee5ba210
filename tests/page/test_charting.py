"""What charts show of a report, and of a rule that somebody looks at."""

from typing import Any

from samples import rule_of

from tocsin.api.series import Snapshot
from tocsin.engine.values import GroupValue
from tocsin.page.charting import Recent, backtest_chart


def report(**more: object) -> dict[str, Any]:
    series = [
        {"group": {"tenant": "a"}, "points": ((10.0, 1.0, 2.0, 5.0), (20.0, 3.0, 3.0, 5.0))},
        {"group": {"tenant": "b"}, "points": ((20.0, 7.0, 7.0, 5.0),)},
    ]
    intervals = [
        {"fired_at": "1970-01-01T00:00:20.000000Z", "resolved_at": None},
        {"fired_at": "1970-01-01T00:00:10.000000Z", "resolved_at": "1970-01-01T00:00:15.000000Z"},
    ]
    lines = [{"severity": "medium", "value": 5.0}, {"severity": "critical", "value": 9.0}]
    return {"condition": "gt", "unit": "USD", "series": series, "lines": lines, "intervals": intervals, **more}


def test_groups_share_one_axis_of_time_beside_the_threshold() -> None:
    assert backtest_chart(report()) == {
        "unit": "USD",
        "times": [10.0, 20.0],
        "series": [
            {"label": "a", "low": [1.0, 3.0], "high": [2.0, 3.0]},
            {"label": "b", "low": [None, 7.0], "high": [None, 7.0]},
        ],
        "lines": [
            {"label": "medium", "value": 5.0, "kind": "warn"},
            {"label": "critical", "value": 9.0, "kind": "bad"},
        ],
        "bands": [[20.0, None], [10.0, 15.0]],
    }


def test_a_threshold_that_moves_is_a_line_of_its_own() -> None:
    [first, second] = report()["series"]
    moving = {**first, "points": ((10.0, 1.0, 2.0, 5.0), (20.0, 3.0, 3.0, 6.0))}
    chart = backtest_chart(report(series=[moving, second]))
    assert chart is not None
    assert chart["lines"] == []
    assert chart["series"][-1] == {"label": "threshold of a", "low": [5.0, 6.0], "high": [5.0, 6.0], "limit": True}


def test_what_measured_nothing_has_no_chart() -> None:
    assert backtest_chart(report(series=[])) is None
    assert backtest_chart(report(series=[{"group": {}, "points": ((1.0, None, None, 5.0),)}])) is None


class Watched:
    """An engine whose values are set by hand, and a clock."""

    def __init__(self) -> None:
        self.rule = rule_of(name="spend", threshold=10)
        self.values = {"a": 1.0, "b": 2.0}
        self.now = 1000.0
        self.read = 0
        self.recent = Recent(self.snapshot, lambda: self.now)

    def snapshot(self) -> Snapshot:
        self.read += 1
        other = rule_of(name="other", threshold=1)
        values = [GroupValue(self.rule, {"tenant": name}, value, 10.0, 3) for name, value in self.values.items()]
        return Snapshot([*values, GroupValue(other, {}, 99.0, 1.0, 1)], 0)


def test_a_rule_is_read_while_somebody_looks_however_many_do() -> None:
    watched = Watched()
    values, groups, chart = watched.recent.look(watched.rule.key)
    assert [one.value for one in values] == [2.0, 1.0]
    assert groups == 2
    assert chart is not None
    assert chart["lines"] == [{"label": "threshold", "value": 10.0, "kind": "bad"}]
    watched.values = {"a": 12.0}
    watched.now += 1
    assert watched.recent.look(watched.rule.key)[0] == values
    assert watched.read == 1
    watched.now += 1
    values, groups, chart = watched.recent.look(watched.rule.key)
    assert [one.value for one in values] == [12.0]
    assert chart is not None
    assert chart["times"] == [1000.0, 1002.0]
    assert [(one["label"], one["high"]) for one in chart["series"]] == [("a", [1.0, 12.0]), ("b", [2.0, None])]


def test_what_nobody_looked_at_for_long_begins_anew_and_little_is_kept() -> None:
    watched = Watched()
    watched.recent.look(watched.rule.key)
    watched.now += 1000
    _, _, chart = watched.recent.look(watched.rule.key)
    assert chart is not None
    assert chart["times"] == [2000.0]
    for _ in range(800):
        watched.now += 5
        _, _, chart = watched.recent.look(watched.rule.key)
    assert chart is not None
    assert len(chart["times"]) == 720
    assert watched.recent.look(("default", "nothing"))[2] is None
