"""The story on the terminal: live with colours, or as plain lines where nobody can watch."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson
from rich.align import Align
from rich.box import HEAVY, ROUNDED, SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from tocsin.service.demo.play import Conversation, Ring, Stage

__all__ = ["LiveScreen", "PlainScreen"]

_STORY_BEGINS: Final = datetime(2026, 4, 7, 3, 14, tzinfo=UTC)  # a Tuesday
_ROWS: Final = 6
_BAR: Final = 24
_TALL: Final = 42
"""Rows of a terminal that has room for three whole alerts."""
_COLOURS: Final = {"critical": "red", "high": "yellow", "medium": "cyan", "low": "blue"}


class PlainScreen:
    """One line for each thing that happens."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._next_ns = 0

    def begin(self, stage: Stage) -> None:
        """Say where everything is."""
        self._say(f"tocsin demo: the night of 03:14, {stage.speed:g} times as fast")
        for line in _where(stage):
            self._say(line)

    def frame(self, stage: Stage) -> None:
        """Say the spend, a few times in all."""
        if stage.story_ns < self._next_ns:
            return
        self._next_ns = stage.story_ns + 10_000_000_000
        self._say(
            f"{_clock(stage.story_ns)}  {stage.spans:4} spans  {stage.runaway.name}: {stage.runaway.calls:3} calls,"
            f" {_usd(stage.runaway.usd)}"
        )

    def ring(self, stage: Stage, ring: Ring) -> None:
        """Say the alert."""
        self._say(f"{_clock(ring.story_ns)}  RING  [{ring.body['rule']['severity']}] {ring.body['summary']}")
        for label, value in _facts(ring):
            self._say(f"          {label}: {value}")

    def end(self, stage: Stage) -> None:
        """Say what became of it."""
        for line in _moral(stage):
            self._say(line)
        self._say("the webhook body of the first alert:")
        if stage.rings:
            self._say(_body(stage.rings[0]))
        for line in _NEXT:
            self._say(line)


class LiveScreen:
    """A screen that moves."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=15, transient=False)

    def begin(self, stage: Stage) -> None:
        """Clear the stage."""
        for line in _where(stage):
            self._console.print(Text(line, style="dim"))
        self._live.start()
        self.frame(stage)

    def frame(self, stage: Stage) -> None:
        """Show how it is."""
        self._live.update(_picture(stage, whole=self._console.height >= _TALL))

    def ring(self, stage: Stage, ring: Ring) -> None:
        """Show the alert with the next frame, and ring the terminal's bell."""
        self.frame(stage)
        self._console.bell()

    def end(self, stage: Stage) -> None:
        """Show what became of it, and what to do next."""
        self._live.vertical_overflow = "visible"
        self._live.update(_picture(stage, whole=True), refresh=True)
        self.close()
        self._console.print()
        if stage.rings:
            body = Syntax(_body(stage.rings[0]), "json", background_color="default", word_wrap=True)
            title = f"POST {stage.webhook}: the first alert (event_to_arrival is the age of the replayed night)"
            self._console.print(Panel(body, title=title, title_align="left", box=ROUNDED, border_style="dim"))
        self._console.print(Padding(Group(*(Text(line, style="bold") for line in _moral(stage))), (1, 0)))
        for line in _NEXT:
            self._console.print(Text(line))

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._live.stop()


def _picture(stage: Stage, *, whole: bool) -> RenderableType:
    """Return everything; on a low terminal only the newest alert `whole`, so that nothing is cut off."""
    title = Text.assemble(
        (" TOCSIN ", "bold white on red"),
        f"  {_clock(stage.story_ns)}  ",
        (f"{stage.speed:g}x   {stage.spans} spans   ", "dim"),
        (f"spent {_usd(stage.usd)}", "bold"),
    )
    table = Table(box=SIMPLE_HEAD, expand=True, pad_edge=False)
    for name in ("conversation", "tenant", "model"):
        table.add_column(name, no_wrap=True)
    table.add_column("calls", justify="right")
    table.add_column("spent", justify="right")
    table.add_column("", no_wrap=True, width=_BAR)
    top = sorted(stage.conversations.values(), key=lambda one: -one.usd)[:_ROWS]
    for one in top:
        style = "bold red" if one.usd > 25 else ""
        table.add_row(one.name, one.tenant, one.model, str(one.calls), _usd(one.usd), _bar(one, top[0]), style=style)
    for _ in range(_ROWS - len(top)):
        table.add_row("", "", "", "", "", "")
    rings: list[RenderableType] = [
        _ring_panel(ring) if whole or ring is stage.rings[-1] else _ring_line(ring) for ring in stage.rings
    ]
    waiting = Align.center(Text("nothing rings", style="dim"))
    return Group(title, table, *(rings or [Panel(waiting, box=ROUNDED, border_style="dim")]))


def _ring_panel(ring: Ring) -> Panel:
    rule = ring.body["rule"]
    colour = _COLOURS.get(rule["severity"], "white")
    facts = Table.grid(padding=(0, 2))
    for label, value in _facts(ring):
        facts.add_row(Text(label, style="dim"), Text(value))
    return Panel(
        Group(Text(ring.body["summary"], style=f"bold {colour}"), facts),
        title=f"\N{BELL} {rule['severity'].upper()}  {rule['name']}  at {_clock(ring.story_ns)}",
        title_align="left",
        box=HEAVY,
        border_style=colour,
    )


def _ring_line(ring: Ring) -> Text:
    rule = ring.body["rule"]
    colour = _COLOURS.get(rule["severity"], "white")
    return Text(
        f"\N{BELL} {_clock(ring.story_ns)} {ring.body['summary']}", style=colour, overflow="ellipsis", no_wrap=True
    )


def _bar(one: Conversation, most: Conversation) -> Text:
    return Text("\N{FULL BLOCK}" * max(1 if one.usd else 0, round(_BAR * one.usd / max(most.usd, 0.01))))


def _facts(ring: Ring) -> list[tuple[str, str]]:
    body = ring.body
    facts = [
        ("value", f"{_amount(body['value'], body['unit'])}, threshold {_amount(body['threshold'], body['unit'])}"),
        ("samples", f"{body['samples']} in {body['window']['seconds']:g} s"),
    ]
    if body["drivers"]:
        shares = (f"{one['attribute']} {one['value']} {one['share']:.0%}" for one in body["drivers"][:2])
        facts.append(("driven by", ", ".join(shares)))
    facts.append(("told after", f"{ring.latency_ms:.1f} ms, from sending the span to having the webhook"))
    if body["traces"] and body["traces"][0].get("url"):
        facts.append(("trace", body["traces"][0]["url"]))
    return facts


def _moral(stage: Stage) -> list[str]:
    first = next((ring for ring in stage.rings if ring.body["rule"]["name"] == "runaway-conversation"), None)
    if first is None:
        return ["The runaway conversation did not ring. That is a defect: please report it."]
    runaway = stage.runaway
    return [
        f"{runaway.name}: {runaway.calls} calls of about {_usd(runaway.usd / max(runaway.calls, 1))} each,"
        f" {_usd(runaway.usd)} in 85 seconds.",
        f"It rang at {_usd(first.body['value'])}, after {first.body['samples']} calls,"
        f" {first.latency_ms:.1f} ms after the call that crossed the line; once, not {runaway.calls} times.",
    ]


_NEXT: Final = (
    "Next:",
    "  tocsin serve --config config.example.yaml   then send OTLP to 127.0.0.1:4317",
    "  tocsin check config.example.yaml            before an edit; it is live in a second",
    "  tocsin prices claude-sonnet-4-5             why a call costs what it costs",
)


def _where(stage: Stage) -> list[str]:
    listening = ", ".join(f"{name} {address}" for name, address in stage.addresses.items())
    return [
        f"the real service listens on {listening}; its webhook goes to {stage.webhook}",
        f"its page, while the story lasts: http://{stage.addresses['api']}/",
    ]


def _body(ring: Ring) -> str:
    """Return the webhook body with one line for each member of the outermost object."""
    members = (f"  {_json(name)}: {_json(value)}" for name, value in ring.body.items())
    return "{\n" + ",\n".join(members) + "\n}"


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _clock(story_ns: int) -> str:
    return (_STORY_BEGINS + timedelta(seconds=story_ns / 1e9)).strftime("%H:%M:%S")


def _usd(usd: float) -> str:
    return f"${usd:,.2f}"


def _amount(value: float, unit: str) -> str:
    return _usd(value) if unit == "USD" else f"{value:.3g} {unit}".rstrip()
