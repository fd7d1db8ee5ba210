"""The picture of `tocsin top` fits its terminal, whatever comes, and says what it should."""

import io
from typing import Any

import pytest
from api_documents import alert, calls, reading_of
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tocsin.api.spend import By, Order
from tocsin.terminal.reading import MOST_ALERTS, View
from tocsin.terminal.screen import picture, rows_of_keys


def drawn(reading: Any, width: int = 110, height: int = 36, **more: Any) -> list[str]:  # noqa: ANN401
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(picture(reading, width=width, height=height, url="http://127.0.0.1:8417", **more))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # a StringIO


@given(
    width=st.integers(40, 200),
    height=st.integers(14, 70),
    keys=st.integers(0, 100),
    alerts=st.integers(0, MOST_ALERTS),
    closest=st.integers(0, 20),
    name=st.text(max_size=40),
    note=st.sampled_from(("", "no answer", "x" * 300)),
)
def test_it_is_never_taller_or_wider_than_the_terminal(
    width: int, height: int, keys: int, alerts: int, closest: int, name: str, note: str
) -> None:
    lines = drawn(reading_of(keys, alerts, closest, name), width, height, note=note)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert not any(char < " " or char == "\x7f" for line in lines for char in line)


def test_it_uses_the_room_that_there_is() -> None:
    assert len(drawn(reading_of(keys=100), height=50)) == 50
    assert rows_of_keys(reading_of(keys=100), 50) > rows_of_keys(reading_of(keys=100), 24) > 1


def test_the_severity_is_a_word_and_the_worst_comes_first() -> None:
    assert any("NOTHING FIRES" in line for line in drawn(reading_of(alerts=0)))
    reading = reading_of()
    reading.alerts[:] = [alert("small", severity="low"), alert("large", severity="critical")]
    shown = [line.split()[:2] for line in drawn(reading) if line.startswith(("low", "critical"))]
    assert shown == [["critical", "large"], ["low", "small"]]


def test_more_alerts_than_were_asked_for_are_told() -> None:
    assert any(line.startswith(f"FIRING {MOST_ALERTS} or more") for line in drawn(reading_of(alerts=MOST_ALERTS)))


def test_the_label_that_is_looked_at_and_the_order_are_named() -> None:
    reading = reading_of(view=View(By.TENANT, order=Order.TOKENS))
    (line,) = [line for line in drawn(reading) if line.startswith("SPEND BY")]
    assert "last 5m, most tokens first" in line
    assert any("without a tenant: $0.20" in line for line in drawn(reading))
    assert any("one tenant may have up to $0.0100 more than shown" in line for line in drawn(reading))


def test_what_a_token_may_not_see_is_said_where_it_would_stand() -> None:
    refused = {"spend": "403: this token may not do that"}
    lines = drawn(reading_of(spend=None, refused=refused))
    assert sum("403: this token may not" in line for line in lines) == 2
    assert any("CLOSEST TO FIRING" in line for line in lines)


@pytest.mark.parametrize("hostile", ["\x1b[2J", "a\nb", "\u202eevil", "[bold red]x[/]"])
def test_what_comes_from_outside_stays_text(hostile: str) -> None:
    reading = reading_of(name=hostile)
    text = "\n".join(drawn(reading, width=160))
    assert "\x1b" not in text
    assert "\u202e" not in text
    if hostile.startswith("[bold"):
        assert f"{hostile}-0" in text


def test_a_quiet_service_says_so() -> None:
    reading = reading_of(keys=0, alerts=0, closest=0, spans_per_second=None)
    reading.status["event_time"] = None
    reading.spend["total"] = calls(0.0)  # type: ignore[index]  # there is one
    text = "\n".join(drawn(reading))
    assert "spans/s -   behind -" in text
    assert "no call with a conversation in this window" in text
    assert "no rule has a value yet" in text


def test_degraded_parts_are_named() -> None:
    reading = reading_of()
    reading.status["degraded"] = {"journal": "the disk is full"}
    assert "degraded: journal" in drawn(reading)[0]
