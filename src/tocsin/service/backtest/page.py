"""A report as one HTML file: charts and tables, in the colours of the reader's system, without any request."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from tocsin.notify.wording import clean, quantity
from tocsin.service.backtest.panels import Panel, panels_of
from tocsin.service.backtest.report import Comparison, Interval, Report, RuleReport
from tocsin.service.backtest.svg import STYLE, panel_svg
from tocsin.service.backtest.text import group_text

__all__ = ["page_of"]

_ROWS: Final = 200
_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1f2430; --soft: #5b6472; --line: #e3e6ea; --paper: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaf0; --soft: #9aa3b2; --line: #2c323d; --paper: #14171d; } }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: var(--ink); background: var(--paper);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .25rem; }
p { margin: .25rem 0; color: var(--soft); } svg { width: 100%; height: auto; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 14px; }
caption { text-align: left; color: var(--soft); padding: .25rem 0; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; } ul { color: var(--soft); }
"""
_COLUMNS: Final = ("fired", "resolved", "group", "value", "limit", "worst", "breaches", "severity", "notified")
_NUMBERS: Final = frozenset({"value", "limit", "worst", "breaches"})


def page_of(report: Report) -> str:
    """Return the page."""
    title = f"Backtest of {clean(report.source)}"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_safe(title)}</title>\n<style>{_STYLE}{STYLE}</style>\n</head>\n<body>",
            f"<h1>{_safe(title)}</h1>",
            f"<p>{report.spans:,} spans, {_safe(_moment(report.begin))} to {_safe(_moment(report.end))}</p>",
            *_problems(report),
            *(part for panel in panels_of(report) for part in _section(panel)),
            *(part for comparison in report.comparisons for part in _comparison(comparison)),
            "</body>\n</html>\n",
        ]
    )


def _problems(report: Report) -> Iterator[str]:
    told = [*report.problems, *report.notes]
    told += [f"{count:,} spans can't be used: {reason}" for reason, count in report.rejected.items()]
    if told:
        yield "<ul>" + "".join(f"<li>{_safe(clean(each, 500))}</li>" for each in told) + "</ul>"


def _section(panel: Panel) -> Iterator[str]:
    rule = panel.rule
    yield f"<h2>{_safe(clean(rule.name))}</h2>"
    if rule.description:
        yield f"<p>{_safe(clean(rule.description, 1000))}</p>"
    yield panel_svg(panel)
    for note in rule.notes:
        yield f"<p>{_safe(clean(note, 500))}</p>"
    if rule.intervals:
        yield from _table(rule, rule.intervals, f"{len(rule.intervals) + rule.left_out:,} alerts")


def _comparison(comparison: Comparison) -> Iterator[str]:
    a, b = clean(comparison.a), clean(comparison.b)
    yield f"<h2>{_safe(a)} against {_safe(b)}</h2>"
    yield f"<p>{comparison.both:,} alerts in both, {comparison.only_a:,} by {_safe(a)} alone, "
    yield f"{comparison.only_b:,} by {_safe(b)} alone</p>"
    for version, name, rule in (("a", a, comparison.first), ("b", b, comparison.second)):
        own = [each.interval for each in comparison.differences if each.version == version]
        if own:
            yield from _table(rule, own, f"Only {name}")


def _table(rule: RuleReport, intervals: Sequence[Interval], caption: str) -> Iterator[str]:
    if len(intervals) > _ROWS:
        caption += f"; the first {_ROWS:,}"
    yield f'<div class="scroll"><table><caption>{_safe(caption)}</caption><thead><tr>'
    yield "".join(f'<th scope="col"{_class(name)}>{name}</th>' for name in _COLUMNS) + "</tr></thead><tbody>"
    for interval in intervals[:_ROWS]:
        cells = zip(_COLUMNS, _cells(rule, interval), strict=True)
        yield "<tr>" + "".join(f"<td{_class(name)}>{_safe(cell)}</td>" for name, cell in cells) + "</tr>"
    yield "</tbody></table></div>"


def _cells(rule: RuleReport, interval: Interval) -> tuple[str, ...]:
    value, worst = ("" if each is None else quantity(each, rule.unit) for each in (interval.value, interval.peak))
    return (
        _moment(interval.fired_at),
        _moment(interval.resolved_at) if interval.resolved_at else "still firing",
        group_text(interval.group),
        value,
        "" if rule.condition == "absent" else quantity(interval.threshold, rule.unit),
        worst,
        f"{interval.breaches:,}",
        interval.severity,
        "yes" if interval.notified else "no",
    )


def _class(name: str) -> str:
    return ' class="number"' if name in _NUMBERS else ""


def _moment(text: str | None) -> str:
    return "?" if text is None else text[:19].replace("T", " ") + "Z"


def _safe(text: str) -> str:
    return escape(text)
