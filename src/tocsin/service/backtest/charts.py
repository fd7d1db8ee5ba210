"""Charts of a report: HTML and SVG by our own hand, PNG by matplotlib."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tocsin.service.backtest.failures import BacktestError
from tocsin.service.backtest.page import page_of
from tocsin.service.backtest.panels import Panel, moment_label, panels_of, time_ticks
from tocsin.service.backtest.report import Report
from tocsin.service.backtest.svg import standalone_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["chart", "check_chart"]

_KINDS: Final = (".html", ".svg", ".png")
_INK, _SOFT, _GRID, _LIMIT, _QUIET = "#1f2430", "#6b7280", "#e3e6ea", "#c2261f", "#c07d14"
_TRACKS: Final = ("#2563c9", "#0d8a6f", "#8b45c4", "#b0620b", "#60708a", "#b03a7e")


def check_chart(path: Path) -> None:
    """Check that a chart can be written there, before the work begins.

    Raises:
        BacktestError: the name's ending is unknown, its directory is not there, or matplotlib is not installed.
    """
    if path.suffix.lower() not in _KINDS:
        raise BacktestError(f"{path}: a chart is a file that ends in .html, .svg or .png")
    if not path.absolute().parent.is_dir():
        raise BacktestError(f"{path}: there is no directory {path.absolute().parent}; make it, or write elsewhere")
    if path.suffix.lower() == ".png":
        _matplotlib(path)


def chart(report: Report, path: Path) -> None:
    """Write the chart of a report; the name's ending says which kind.

    Raises:
        BacktestError: see `check_chart`, or the file can't be written.
    """
    check_chart(path)
    try:
        match path.suffix.lower():
            case ".html":
                path.write_text(page_of(report), encoding="utf-8", errors="replace")
            case ".svg":
                path.write_text(standalone_svg(panels_of(report)), encoding="utf-8", errors="replace")
            case _:
                _png(panels_of(report), path)
    except OSError as error:
        raise BacktestError(f"{path}: can't be written: {error.strerror or error}") from error


def _matplotlib(path: Path) -> Any:  # noqa: ANN401  # a module that need not be installed
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BacktestError(
            f"{path}: PNG needs matplotlib: pip install 'tocsin[charts]'; .html and .svg need nothing"
        ) from error
    return Figure


def _png(panels: list[Panel], path: Path) -> None:
    figure = _matplotlib(path)(figsize=(10, 2.8 * max(1, len(panels))), dpi=110, layout="constrained")
    axes = figure.subplots(max(1, len(panels)), 1, squeeze=False)[:, 0]
    for panel, each in zip(panels, axes, strict=False):
        _draw(panel, each)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a font without some character draws a box for it
        figure.savefig(path, format="png")


def _draw(panel: Panel, axes: "Axes") -> None:
    for number, track in reversed(list(enumerate(panel.tracks))):
        colour, name = _TRACKS[number % len(_TRACKS)], track.name if len(track.name) <= 40 else track.name[:39] + "…"
        for part, stretch in enumerate(track.stretches):
            times = [point[0] for point in stretch]
            side = [point[1] if panel.uses_low else point[2] for point in stretch]
            width, alpha, marker = (1.8, 1.0, "") if track.is_main else (1.0, 0.55, "")
            marker = "." if len(stretch) == 1 else marker
            label = "_" + name if part else name.lstrip("_")
            axes.plot(times, side, color=colour, linewidth=width, alpha=alpha, marker=marker, label=label)
            if track.is_main:
                lows, highs = [point[1] for point in stretch], [point[2] for point in stretch]
                axes.fill_between(times, lows, highs, color=colour, alpha=0.16, linewidth=0)
    least = (panel.end - panel.begin) / 300
    for alert in panel.alerts:
        colour = _LIMIT if alert.notified else _QUIET
        axes.axvspan(alert.begin, max(alert.end, alert.begin + least), color=colour, alpha=0.13, linewidth=0)
        axes.axvline(alert.begin, color=colour, linewidth=1.2)
    for value in panel.lines:
        axes.axhline(value, color=_LIMIT, linewidth=1.3, linestyle="--")
        text = axes.annotate(
            panel.label(value), (1, value), (-4, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
            color=_LIMIT, ha="right", fontsize=8,
        )  # fmt: skip
        text.set_parse_math(False)
    _dress(panel, axes)


def _dress(panel: Panel, axes: "Axes") -> None:
    if panel.scale.logarithmic:
        axes.set_yscale("log")
    axes.set_ylim(panel.scale.low, panel.scale.high)
    axes.set_xlim(panel.begin, panel.end)
    ticks, moments = panel.scale.ticks(), time_ticks(panel.begin, panel.end)
    axes.set_yticks(ticks, [panel.label(value).replace("$", r"\$") for value in ticks], fontsize=8, color=_SOFT)
    axes.set_yticks([], minor=True)
    labels = [moment_label(at, panel.begin, panel.end) for at in moments]
    axes.set_xticks(moments, labels, fontsize=8, color=_SOFT)
    axes.grid(visible=True, axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    title = axes.set_title(f"{panel.title}\n{panel.told}", loc="left", fontsize=10, color=_INK)
    title.set_parse_math(False)
    if panel.tracks:
        handles, names = axes.get_legend_handles_labels()
        legend = axes.legend(
            handles[::-1][:4],
            names[::-1][:4],
            loc="upper left",
            bbox_to_anchor=(0, -0.1),
            ncols=4,
            fontsize=7,
            frameon=False,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
