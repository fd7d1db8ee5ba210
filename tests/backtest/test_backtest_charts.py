"""Charts show what the report says: series, threshold lines, fired intervals; and nothing of a span becomes markup."""

import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tocsin.service.backtest import BacktestError
from tocsin.service.backtest.charts import chart
from tocsin.service.backtest.panels import Scale, panels_of, time_ticks
from tocsin.service.backtest.report import VERSION, Interval, Line, Report, RuleReport, Series, time_of
from tocsin.service.backtest.series import MOST_POINTS, Follower

BEGIN = 1_790_000_000
HOSTILE = "<script>alert(1)</script>&\"'\x00\x1b[31m\ufffe]]> $x^2$"
SVG = "{http://www.w3.org/2000/svg}"


def interval(at: int, until: int | None, *, notified: bool = True, group: str = "a") -> Interval:
    return Interval(
        "alt_1", {"conversation": group}, "critical", stamp(at), stamp(at), None if until is None else stamp(until),
        27.0, 25.0, 30.0, 7, 1, notified, ("evt_1",),
    )  # fmt: skip


def stamp(second: int) -> str:
    return time_of((BEGIN + second) * 10**9)


def report(*, name: str = "runaway", group: str = "a", high: float = 30.0) -> Report:
    points = tuple((float(BEGIN + 60 * n), 1.0, high if n == 50 else 2.0 + n % 7, 25.0) for n in range(100))
    rule = RuleReport(
        "default", name, "0" * 16, name, "gt", "USD", 300.0, ("conversation",), (Line("critical", 25.0),),
        2, 1, 1, 100, 0, 0,
        (interval(3000, 3600, group=group), interval(5000, None, notified=False, group=group)), (),
        (Series({"conversation": group}, high, points), Series({"conversation": "b"}, 5.0, points[:20] + points[80:])),
    )  # fmt: skip
    return Report(VERSION, name, stamp(0), stamp(6000), 100, 0.1, (), 0, {}, 0, (rule,))


def test_an_image_has_the_threshold_line_the_series_and_the_fired_intervals(tmp_path: Path) -> None:
    chart(report(), tmp_path / "chart.svg")
    root = ElementTree.parse(tmp_path / "chart.svg").getroot()  # noqa: S314  # our own
    [limit] = [each for each in root.iter(f"{SVG}line") if each.get("class") == "limit"]
    assert limit.get("y1") == limit.get("y2")
    alerts = [each for each in root.iter(f"{SVG}rect") if str(each.get("class")).startswith("alert")]
    assert [each.get("class") for each in alerts] == ["alert", "alert quiet"]
    left, width = 84.0, 852.0
    assert [float(str(each.get("x"))) for each in alerts] == pytest.approx(
        [left + width / 2, left + width * 5 / 6], abs=0.1
    )
    assert float(str(alerts[0].get("width"))) == pytest.approx(width / 10, abs=0.1)
    lines = list(root.iter(f"{SVG}polyline"))
    assert len(lines) == 3  # one of them has a gap
    main = next(each for each in lines if "main" in str(each.get("class")))
    heights = [float(pair.split(",")[1]) for pair in str(main.get("points")).split()]
    over = [height for height in heights if height < float(str(limit.get("y1")))]
    assert len(over) == 1  # the one crossing is there
    texts = " ".join("".join(each.itertext()) for each in root.iter(f"{SVG}text"))
    for words in ("runaway: > $25.00 in 5m", "breached 2 times, notified 1", "conversation a", "$25.00"):
        assert words in texts


def test_a_page_asks_nobody_for_anything(tmp_path: Path) -> None:
    chart(report(), tmp_path / "chart.html")
    text = (tmp_path / "chart.html").read_text()
    assert not re.search(r"https?://(?!www\.w3\.org)|<script|<link|<img|url\(|@import", text)
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert text.count("<tr>") == 3
    assert "still firing" in text


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]


def test_nothing_of_a_span_becomes_markup(tmp_path: Path) -> None:
    hostile = report(name=HOSTILE, group=HOSTILE)
    hostile = replace(hostile, problems=(HOSTILE,), notes=(HOSTILE,))
    for suffix in (".svg", ".html", ".png"):
        chart(hostile, tmp_path / f"chart{suffix}")
    ElementTree.parse(tmp_path / "chart.svg")  # noqa: S314  # well-formed, or it raises
    tags = _Tags()
    tags.feed((tmp_path / "chart.html").read_text())
    assert tags.seen == {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "ul", "li", "svg", "text", "line", "rect",
        "polyline", "polygon", "div", "table", "caption", "thead", "tbody", "tr", "th", "td",
    }  # fmt: skip
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_values_far_over_the_limit_are_drawn_by_their_logarithm() -> None:
    assert not panels_of(report())[0].scale.logarithmic
    scale = panels_of(report(high=5000.0))[0].scale
    assert scale.logarithmic
    assert 0.2 < scale.place(25.0) < 0.8
    assert scale.place(0.0) == 0.0
    assert scale.ticks() == [1.0, 10.0, 100.0, 1000.0]


def test_ticks_are_round_and_within() -> None:
    assert Scale(0, 27, logarithmic=False).ticks() == [0, 10, 20]
    assert Scale(0.58, 0.92, logarithmic=False).ticks() == pytest.approx([0.6, 0.7, 0.8, 0.9])
    assert [at % 3600 for at in time_ticks(BEGIN, BEGIN + 7 * 3600)] == [0] * 7
    assert Scale(1, 1, logarithmic=False).ticks()
    assert len(time_ticks(0, 86400 * 400)) <= 9


def test_a_chart_of_an_unknown_kind_or_nowhere_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BacktestError, match=r"ends in .html, .svg or .png"):
        chart(report(), tmp_path / "chart.gif")
    with pytest.raises(BacktestError, match="no directory"):
        chart(report(), tmp_path / "none" / "chart.svg")


def test_without_matplotlib_png_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(BacktestError, match=r"pip install 'tocsin\[charts\]'"):
        chart(report(), tmp_path / "chart.png")


def test_a_series_keeps_the_extremes_however_long_it_gets() -> None:
    follower = Follower(1)
    for at in range(100_000):
        follower.note((("a", "b"),), at, 9.0 if at == 77_777 else at % 5, 8.0, -1.0)
    [series] = follower.series()
    assert len(series.points) <= MOST_POINTS
    assert max(high for _, _, high, _ in series.points if high is not None) == 9.0
    assert [at for at, *_ in series.points] == sorted(at for at, *_ in series.points)


def test_the_groups_that_came_nearest_are_the_ones_that_are_followed() -> None:
    follower = Follower(1)
    for number in range(1000):
        follower.note((("group", str(number)),), number, float(number % 500), 400.0, number % 500 / 400 - 1)
    follower.note((("group", "alerted"),), 1000, 1.0, 400.0, -0.99, kept=True)
    shown = [series.group["group"] for series in follower.series()]
    assert shown[0] == "alerted"
    assert {"499", "999", "498", "998"} <= set(shown)
