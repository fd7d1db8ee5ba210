"""The Grafana dashboard: its queries are PromQL over metrics and labels that are exposed, and its panels fit."""

import json
import re
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from metric_names import Metrics, selectors_of

FILE = Path(__file__).parents[2] / "deploy" / "grafana" / "tocsin.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
WIDTH = 24


def expanded(query: str) -> str:
    """Return a query as Grafana sends it."""
    return query.replace("$__rate_interval", "1m").replace("$instance", ".+")


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_is_exposed_and_shows_labels_that_its_query_keeps(panel: dict[str, Any]) -> None:
    exposed = Metrics.documented()
    assert panel["targets"]
    for target in panel["targets"]:
        query = expanded(target["expr"])
        assert "$" not in query
        found = list(selectors_of(query))
        assert [mistake for selector in found if (mistake := exposed.mistake(selector))] == []
        assert all("instance" in selector.labels for selector in found), "the choice of instances has no effect"
        shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        assert all(shown <= selector.labels for selector in found), target["legendFormat"]
        assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    letters = [target["refId"] for target in panel["targets"]]
    assert len(letters) == len(set(letters))


def test_the_annotation_and_the_variables_ask_for_what_is_exposed() -> None:
    exposed = Metrics.documented()
    [annotation] = DASHBOARD["annotations"]["list"]
    queries = [expanded(annotation["expr"])]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            queries += re.findall(r"label_values\((\w+), \w+\)", variable["definition"])
    assert len(queries) == 2
    for query in queries:
        assert [mistake for selector in selectors_of(query) if (mistake := exposed.mistake(selector))] == []


def test_panels_lie_beside_each_other_under_their_row() -> None:
    identifiers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(identifiers) == len(set(identifiers))
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    for one in places:
        assert 0 <= one["x"] < one["x"] + one["w"] <= WIDTH
    for one, other in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    assert all(one["y"] <= other["y"] for one, other in pairwise(places))


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("sum(tocsin_span_received_total)", "tocsin_span_received_total is not exposed"),
        (
            "sum by (contact) (rate(tocsin_notifications_total[5m]))",
            "tocsin_notifications_total has no label ['contact']",
        ),
        ('tocsin_series{rules="x"} > 0', "tocsin_series has no label ['rules']"),
        ("histogram_quantile(0.5, rate(tocsin_series_bucket[5m]))", "tocsin_series_bucket is not exposed"),
    ],
)
def test_what_is_not_exposed_is_found(query: str, wrong: str) -> None:
    assert [Metrics.documented().mistake(selector) for selector in selectors_of(query)] == [wrong]
