"""Keys to names, and what each does to what is looked at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.api.spend import By, Order, SpendWindow
from tocsin.terminal.keys import names_of
from tocsin.terminal.reading import View
from tocsin.terminal.top import stepped


@pytest.mark.parametrize(
    ("pressed", "names"),
    [
        (b"q", ["q"]),
        (b"\x1b[A\x1b[B\x1bOC\x1bOD", ["up", "down", "right", "left"]),
        (b"\x1b[5~\x1b[6~\x1b[H\t\x1b[Z", ["page up", "page down", "home", "right", "left"]),
        (b"\x1b", ["q"]),
        (b"w\x1b[Aw", ["w", "up", "w"]),
        ("ü".encode(), []),
        (b"\x03", ["q"]),
    ],
)
def test_keys_have_names(pressed: bytes, names: list[str]) -> None:
    assert list(names_of(pressed)) == names


@given(st.binary(max_size=64))
def test_no_bytes_are_a_mistake(pressed: bytes) -> None:
    for name in names_of(pressed):
        stepped(View(), name, keys=10, rows=3)


def test_labels_go_round_both_ways_and_begin_at_the_top() -> None:
    view = View(offset=7)
    seen = []
    for _ in By:
        view = stepped(view, "right", keys=10, rows=3) or view
        seen.append(view.by)
        assert view.offset == 0
    assert seen == [By.TENANT, By.AGENT, By.MODEL, By.CONVERSATION]
    assert stepped(view, "left", keys=10, rows=3) == View(By.MODEL)
    assert [stepped(view, key, keys=1, rows=1) for key in "ctam"] == [View(by) for by in By]


def test_scrolling_ends_where_the_keys_end() -> None:
    view = View()
    assert stepped(view, "up", keys=10, rows=3) == view
    for key, offset in (("down", 1), ("page down", 4), ("page down", 7), ("page down", 7), ("down", 7), ("page up", 4)):
        view = stepped(view, key, keys=10, rows=3) or view
        assert view.offset == offset
    assert stepped(view, "home", keys=10, rows=3) == View()
    assert stepped(View(), "down", keys=2, rows=3) == View()


def test_windows_and_orders_go_round_and_q_quits() -> None:
    assert stepped(View(), "w", keys=1, rows=1) == View(window=SpendWindow.HOUR)
    assert stepped(View(), "o", keys=1, rows=1) == View(order=Order.TOKENS)
    assert stepped(View(), "q", keys=1, rows=1) is None
