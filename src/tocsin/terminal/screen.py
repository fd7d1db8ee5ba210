"""A reading as a picture of a terminal's size: what is spent and by whom, what fires, what is closest to firing."""

from typing import Any, Final

from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Column, Table
from rich.text import Text

from tocsin.api.spend import By, Order
from tocsin.terminal.reading import MOST_ALERTS, Reading
from tocsin.terminal.wording import age, amount, count, group_text, printable, usd

__all__ = ["NARROW", "picture", "rows_of_keys"]

NARROW: Final = 84
"""Columns below which some are left out."""
_SEVERITIES: Final = {"critical": "bold red", "high": "yellow", "medium": "cyan", "low": "blue"}
_RANKS: Final = {severity: rank for rank, severity in enumerate(_SEVERITIES)}
_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_BAR: Final = 12
_HELP: Final = "q quit   ←→ or c t a m label   ↑↓ scroll   w window   o order   space pause"


def picture(reading: Reading, *, width: int, height: int, url: str, note: str = "", keys: bool = True) -> Group:
    """Return the whole picture, no taller than `height`.

    Args:
        reading: of the service.
        width: of the terminal, columns.
        height: of it, lines.
        url: of the service.
        note: what is to be told, like that the service does not answer.
        keys: whether there is a keyboard to speak of.
    """
    alerts, closest, most = _shares(reading, height)
    parts: list[RenderableType] = [_title(reading, url, width)]
    if note:
        parts.append(Text(printable(note), style="bold red", no_wrap=True, overflow="ellipsis"))
    parts += [*_money(reading, width), _alerts(reading, alerts, width), _keys(reading, most - bool(note), width)]
    parts.append(_closest(reading, closest, width))
    if keys:
        parts.append(Text(_HELP, style="dim", no_wrap=True, overflow="ellipsis"))
    return Group(*parts)


def rows_of_keys(reading: Reading, height: int) -> int:
    """Return how many keys the picture has room for."""
    return max(1, _shares(reading, height)[2])


def _shares(reading: Reading, height: int) -> tuple[int, int, int]:
    """Return how many lines alerts, what is closest, and keys get."""
    room = max(3, height - 9)  # the title, the money, four lines of heads and the help
    alerts = min(max(1, len(reading.alerts)), max(1, room // 4))
    closest = min(max(1, len(reading.closest)), max(1, room // 4))
    return alerts, closest, max(1, room - alerts - closest)


def _title(reading: Reading, url: str, width: int) -> Text:
    status, rate, lag = reading.status, reading.spans_per_second, reading.lag_seconds
    firing = len(reading.alerts)
    ready = "ready" if status["ready"] else "NOT READY"
    if status["degraded"]:
        ready += f", degraded: {', '.join(status['degraded'])}"
    parts: list[str | tuple[str, str]] = [
        (" TOCSIN ", "bold white on red" if firing else "bold white on blue"),
        (f" {printable(url)} ", "bold"),
        f" {status['version']} {printable(ready)} ",
        f"  spans/s {'-' if rate is None else count(rate)} ",
        f"  behind {'-' if lag is None else f'{lag:.1f} s'} ",
        f"  series {count(status['series'])} ",
    ]
    return Text.assemble(*(parts if width >= NARROW else parts[:-1]), no_wrap=True, overflow="ellipsis")


def _money(reading: Reading, width: int) -> list[Text]:
    spend = reading.spend
    if spend is None:
        return [_refused(reading, "spend"), Text("")]
    total, window = spend["total"], reading.view.window
    words: list[str | tuple[str, str]] = [
        (f"{usd(spend['usd_per_hour'])}/h", "bold"),
        f"   {usd(total['usd'])} in {window}   {count(total['calls'])} calls   {count(total['tokens'])} tokens",
        (f"   {count(total['errors'])} failed", "yellow" if total["errors"] else "dim"),
        (f"   {count(total['unpriced'])} unpriced", "yellow" if total["unpriced"] else "dim"),
    ]
    line = Text.assemble(*words, no_wrap=True, overflow="ellipsis")
    return [line, Text(_sparkline([step["usd"] for step in spend["course"]][-width:]), style="cyan", no_wrap=True)]


def _sparkline(values: list[float]) -> str:
    most = max(values, default=0.0)
    if not most:
        return ""
    top = len(_BLOCKS) - 1
    return "".join(_BLOCKS[max(1 if value else 0, round(top * value / most))] for value in values)


def _alerts(reading: Reading, most: int, width: int) -> RenderableType:
    more = " or more" if len(reading.alerts) >= MOST_ALERTS else ""
    words = f"FIRING {len(reading.alerts)}{more}" if reading.alerts else "NOTHING FIRES"
    head = _head(words, len(reading.alerts), most)
    if "alerts" in reading.refused:
        return Group(head, _refused(reading, "alerts"))
    table = _table(
        _column(width=8),
        _column(ratio=2),
        _column(ratio=3),
        _column(width=22 if width >= NARROW else 10, right=True),
        _column(width=6, right=True),
    )
    worst_first = sorted(reading.alerts, key=lambda one: _RANKS.get(one["severity"], len(_RANKS)))
    for one in worst_first[:most]:
        style = _SEVERITIES.get(one["severity"], "")
        value = amount(one["value"], one["unit"])
        table.add_row(
            Text(one["severity"], style=style),
            Text(printable(one["rule"]), style=style),
            Text(group_text(one["group"]) + (" (acknowledged)" if one["acknowledged_at"] else "")),
            f"{value} / {amount(one['threshold'], one['unit'])}" if width >= NARROW else value,
            age(one["fired_at"], reading.at),
        )
    return Group(head, table if reading.alerts else Text(""))


def _keys(reading: Reading, most: int, width: int) -> RenderableType:
    view, spend = reading.view, reading.spend
    tabs = Text("SPEND BY ", style="bold")
    for label in By:
        tabs.append(f" {label} ", style="reverse bold" if label is view.by else "dim")
    order = "spent" if view.order is Order.USD else view.order
    tabs.append(f"   last {view.window}, most {order} first", style="dim")
    tabs.no_wrap, tabs.overflow = True, "ellipsis"
    if spend is None:
        return Group(tabs, _refused(reading, "spend"))
    wide = width >= NARROW
    columns = [_column("#", width=4, right=True), _column(ratio=1), _column("spent", width=11, right=True)]
    columns += [_column("share", width=6, right=True), *([_column(width=_BAR)] if wide else [])]
    columns += [_column("calls", width=7, right=True)]
    columns += [_column(name, width=8, right=True) for name in ("tokens", "failed", "unpriced") if wide]
    table = _table(*columns, header=True)
    for number, one in enumerate(spend["keys"][: max(1, most)], start=view.offset + 1):
        cells: list[Text | str] = [str(number), Text(printable(one["value"])), usd(one["usd"]), f"{one['share']:.0%}"]
        cells += [Text("█" * round(_BAR * one["share"]), style="cyan")] if wide else []
        cells += [count(one["calls"])]
        cells += [count(one[name]) for name in ("tokens", "errors", "unpriced")] if wide else []
        table.add_row(*cells)
    empty = [Text(f"no call with a {view.by} in this window", style="dim")] if not spend["keys"] else []
    return Group(tabs, table, *empty, *_outside(spend, view.by))


def _outside(spend: dict[str, Any], label: str) -> list[Text]:
    """Return what the rows of keys do not show, where there is any."""
    words = []
    if spend["without"]["calls"]:
        words.append(f"without a {label}: {usd(spend['without']['usd'])}, {count(spend['without']['calls'])} calls")
    if not spend["exact"]:
        words.append(f"one {label} may have up to {usd(spend['most_more']['usd'])} more than shown")
    return [Text("; ".join(words), style="dim", no_wrap=True, overflow="ellipsis")] if words else []


def _closest(reading: Reading, most: int, width: int) -> RenderableType:
    head = _head("CLOSEST TO FIRING", len(reading.closest), most)
    if "series" in reading.refused:
        return Group(head, _refused(reading, "series"))
    table = _table(
        _column(width=5, right=True),
        _column(width=_BAR),
        _column(ratio=2),
        _column(ratio=3),
        _column(width=28 if width >= NARROW else 12, right=True),
    )
    for one in reading.closest[:most]:
        near = one["closeness"]
        style = "bold red" if near >= 1 else "yellow" if near >= 0.8 else ""
        value = amount(one["value"], one["unit"])
        table.add_row(
            Text(f"{min(near, 99):.0%}" if near >= 0 else "-", style=style),
            Text("█" * round(_BAR * min(max(near, 0), 1)), style=style or "cyan"),
            Text(printable(one["rule"])),
            Text(group_text(one["group"])),
            f"{value} / {amount(one['threshold'], one['unit'])}" if width >= NARROW else value,
        )
    return Group(head, table if reading.closest else Text("no rule has a value yet", style="dim"))


def _head(text: str, there: int, shown: int) -> Text:
    head = Text(text, style="bold", no_wrap=True)
    if there > shown:
        head.append(f"   the first {shown}", style="dim not bold")
    return head


def _refused(reading: Reading, part: str) -> Text:
    return Text(printable(reading.refused[part]), style="yellow", no_wrap=True, overflow="ellipsis")


def _table(*columns: Column, header: bool = False) -> Table:
    """Return an empty table whose rows are one line each."""
    style = "dim"
    return Table(
        *columns, box=None, show_header=header, expand=True, pad_edge=False, padding=(0, 2, 0, 0), header_style=style
    )


def _column(header: str = "", *, width: int | None = None, ratio: int | None = None, right: bool = False) -> Column:
    justify: JustifyMethod = "right" if right else "left"
    return Column(header, width=width, ratio=ratio, justify=justify, no_wrap=True, overflow="ellipsis")
