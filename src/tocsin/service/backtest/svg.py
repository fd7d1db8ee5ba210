"""Charts as SVG, written by hand: small, sharp, in the colours of the reader's system, without any request.

All text is escaped; nothing of a span becomes markup.
"""

from collections.abc import Sequence
from html import escape
from typing import Final

from tocsin.service.backtest.panels import Panel, Track, moment_label, time_ticks

__all__ = ["STYLE", "panel_svg", "standalone_svg"]

_WIDTH: Final = 960
_HEIGHT: Final = 264
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 24, 48, 46
_PLOT_WIDTH: Final = _WIDTH - _LEFT - _RIGHT
_PLOT_HEIGHT: Final = _HEIGHT - _TOP - _BOTTOM
_NARROW: Final = 3.0
"""Pixels; a shorter alert could not be seen."""
_LEGEND: Final = 4

STYLE: Final = """
.chart { --ink: #1f2430; --soft: #6b7280; --grid: #e3e6ea; --paper: #ffffff; --limit: #c2261f; --alert: #d93f3322;
  --alert-edge: #d93f33; --quiet: #d9932a26; --quiet-edge: #c07d14;
  --t0: #2563c9; --t1: #0d8a6f; --t2: #8b45c4; --t3: #b0620b; --t4: #60708a; --t5: #b03a7e; }
@media (prefers-color-scheme: dark) {
.chart { --ink: #e7eaf0; --soft: #9aa3b2; --grid: #2c323d; --paper: #14171d; --limit: #ff6b61; --alert: #ff6b6133;
  --alert-edge: #ff6b61; --quiet: #e5a53d2e; --quiet-edge: #e5a53d;
  --t0: #6ea3ff; --t1: #3fcba9; --t2: #c38bf2; --t3: #f0a04b; --t4: #93a3bd; --t5: #f083bd; } }
.chart text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: var(--soft); }
.chart .title { font-size: 15px; font-weight: 600; fill: var(--ink); }
.chart .paper { fill: var(--paper); }
.chart .grid { stroke: var(--grid); stroke-width: 1; }
.chart .limit { stroke: var(--limit); stroke-width: 1.5; stroke-dasharray: 6 4; }
.chart .limit-label { fill: var(--limit); font-weight: 600; }
.chart .alert { fill: var(--alert); } .chart .alert.quiet { fill: var(--quiet); }
.chart .edge { stroke: var(--alert-edge); stroke-width: 1.5; } .chart .edge.quiet { stroke: var(--quiet-edge); }
.chart .line { fill: none; stroke-width: 1.2; opacity: .55; } .chart .line.main { stroke-width: 2; opacity: 1; }
.chart .band { opacity: .16; stroke: none; }
"""


def standalone_svg(panels: Sequence[Panel]) -> str:
    """Return one image of all panels, one below the other."""
    height = max(1, len(panels)) * _HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" role="img">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{_WIDTH}" height="{height}"/>',
        *(f'<g transform="translate(0 {number * _HEIGHT})">{_drawn(panel)}</g>' for number, panel in enumerate(panels)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def panel_svg(panel: Panel) -> str:
    """Return one panel as an element of an HTML page, which has `STYLE`."""
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{_safe(panel.title)}">'
        f"{_drawn(panel)}</svg>"
    )


def _drawn(panel: Panel) -> str:
    return "\n".join(
        [
            f'<text class="title" x="{_LEFT}" y="20">{_safe(panel.title)}</text>',
            f'<text x="{_LEFT}" y="37">{_safe(panel.told)}</text>',
            *_axes(panel),
            *_alerts(panel),
            *(
                part
                for number, track in reversed(list(enumerate(panel.tracks)))
                for part in _track(panel, track, number)
            ),
            *_limits(panel),
            *_legend(panel),
        ]
    )


def _axes(panel: Panel) -> list[str]:
    parts = []
    for value in panel.scale.ticks():
        y = _y(panel, value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_safe(panel.label(value))}</text>')
    bottom = _TOP + _PLOT_HEIGHT
    for at in time_ticks(panel.begin, panel.end):
        x = _x(panel, at)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
        label = _safe(moment_label(at, panel.begin, panel.end))
        parts.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{label}</text>')
    return parts


def _alerts(panel: Panel) -> list[str]:
    parts = []
    for alert in panel.alerts:
        x, until = _x(panel, alert.begin), _x(panel, alert.end)
        quiet = "" if alert.notified else " quiet"
        size = f'y="{_TOP}" width="{max(until - x, _NARROW):.1f}" height="{_PLOT_HEIGHT}"'
        told = f"<title>{_safe(alert.told)}</title>"
        parts.append(f'<rect class="alert{quiet}" x="{x:.1f}" {size}>{told}</rect>')
        edge = f'x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_TOP + _PLOT_HEIGHT}"'
        parts.append(f'<line class="edge{quiet}" {edge}/>')
    return parts


def _track(panel: Panel, track: Track, number: int) -> list[str]:
    colour = f"var(--t{number % 6})"
    parts = []
    for stretch in track.stretches:
        side = [(point[0], point[1] if panel.uses_low else point[2]) for point in stretch]
        line = " ".join(f"{_x(panel, at):.1f},{_y(panel, value):.1f}" for at, value in side)
        main = " main" if track.is_main else ""
        if len(side) == 1:
            x, y = line.split(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="2" style="fill:{colour}"/>')
            continue
        if track.is_main and any(high > low for _, low, high in stretch):
            there = " ".join(f"{_x(panel, at):.1f},{_y(panel, high):.1f}" for at, _, high in stretch)
            back = " ".join(f"{_x(panel, at):.1f},{_y(panel, low):.1f}" for at, low, _ in reversed(stretch))
            parts.append(f'<polygon class="band" style="fill:{colour}" points="{there} {back}"/>')
        told = f"<title>{_safe(track.name)}</title>"
        parts.append(f'<polyline class="line{main}" style="stroke:{colour}" points="{line}">{told}</polyline>')
    return parts


def _limits(panel: Panel) -> list[str]:
    parts = []
    for value in panel.lines:
        y = _y(panel, value)
        parts.append(f'<line class="limit" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        label = f'x="{_WIDTH - _RIGHT - 4}" y="{y - 5:.1f}" text-anchor="end"'
        parts.append(f'<text class="limit-label" {label}>{_safe(panel.label(value))}</text>')
    return parts


def _legend(panel: Panel) -> list[str]:
    parts = []
    x = float(_LEFT)
    for number, track in enumerate(panel.tracks[:_LEGEND]):
        name = track.name if len(track.name) <= 32 else track.name[:31] + "…"
        y = _HEIGHT - 8
        parts.append(f'<line x1="{x:.0f}" x2="{x + 14:.0f}" y1="{y - 4}" y2="{y - 4}" ')
        parts[-1] += f'style="stroke:var(--t{number % 6});stroke-width:2.5"/>'
        parts.append(f'<text x="{x + 19:.0f}" y="{y}">{_safe(name)}</text>')
        x += 44 + 6.6 * len(name)
    return parts


def _x(panel: Panel, at: float) -> float:
    share = (at - panel.begin) / (panel.end - panel.begin)
    return _LEFT + _PLOT_WIDTH * min(1.0, max(0.0, share))


def _y(panel: Panel, value: float) -> float:
    return _TOP + _PLOT_HEIGHT * (1.0 - panel.scale.place(value))


def _safe(text: str) -> str:
    """Return a text for XML: escaped, and without the two characters that XML has no way to write."""
    return escape(text.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd"))
