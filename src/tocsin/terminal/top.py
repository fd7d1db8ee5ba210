"""`tocsin top` as it runs: readings once in a while, keys at once."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Final, TypeVar

from rich.console import Console
from rich.live import Live

from tocsin.api.spend import By, Order, SpendWindow
from tocsin.errors import ConfigError
from tocsin.terminal.keys import Keyboard
from tocsin.terminal.reading import Pace, Reading, View, read
from tocsin.terminal.remote import Remote
from tocsin.terminal.screen import picture, rows_of_keys

__all__ = ["Top", "once", "stepped"]

Word = TypeVar("Word", By, SpendWindow, Order)

_GLANCE_SECONDS: Final = 0.1
"""How long a key waits for a reading at the most, and the other way round."""


def once(remote: Remote, view: View, wait: Callable[[], None]) -> Reading:
    """Return one reading with the pace of spans, for which `wait` is called between two.

    Raises:
        ConfigError: see `read`.
    """
    pace = Pace()
    read(remote, view, pace)
    wait()
    return read(remote, view, pace)


def stepped(view: View, key: str, *, keys: int, rows: int) -> View | None:
    """Return what is looked at after a key; None: nothing more, for it means to quit.

    Args:
        view: before.
        key: see `tocsin.terminal.keys`.
        keys: how many there are to scroll through.
        rows: how many of them are shown.
    """
    last = max(0, keys - rows)
    match key:
        case "q" | "Q":
            return None
        case "right":
            return replace(view, by=_next(tuple(By), view.by), offset=0)
        case "left":
            return replace(view, by=_next(tuple(By)[::-1], view.by), offset=0)
        case "c" | "t" | "a" | "m":
            return replace(view, by=next(label for label in By if label[0] == key), offset=0)
        case "w":
            return replace(view, window=_next(tuple(SpendWindow), view.window), offset=0)
        case "o":
            return replace(view, order=_next(tuple(Order), view.order), offset=0)
        case "down" | "j":
            return replace(view, offset=min(view.offset + 1, last))
        case "up" | "k":
            return replace(view, offset=max(view.offset - 1, 0))
        case "page down":
            return replace(view, offset=min(view.offset + rows, last))
        case "page up":
            return replace(view, offset=max(view.offset - rows, 0))
        case "home":
            return replace(view, offset=0)
        case _:
            return view


def _next(words: tuple[Word, ...], word: Word) -> Word:
    return words[(words.index(word) + 1) % len(words)]


class Top:
    """The live view; runs until a key quits it."""

    def __init__(self, remote: Remote, view: View, console: Console, keyboard: Keyboard, *, seconds: float) -> None:
        """Make it; `seconds` lie between two readings."""
        self._remote = remote
        self._view = view
        self._console = console
        self._keyboard = keyboard
        self._seconds = seconds
        self._pace = Pace()
        self._reading: Reading | None = None
        self._note = ""
        self._paused = False

    def run(self) -> None:
        """Show the service until somebody quits.

        Raises:
            ConfigError: the first reading failed; later ones are told on the screen, and tried again.
        """
        self._reading = read(self._remote, self._view, self._pace)
        with (
            ThreadPoolExecutor(1, "reading") as reader,
            self._keyboard.listening(),
            Live(console=self._console, screen=True, auto_refresh=False) as live,
        ):
            self._loop(live, reader)

    def _loop(self, live: Live, reader: ThreadPoolExecutor) -> None:
        coming: Future[Reading] | None = None
        rested, size = 0.0, None
        while True:
            if coming is not None and coming.done():
                self._take(coming)
                coming, size = None, None
            if coming is None and (rested >= self._seconds and not self._paused):
                coming, rested = reader.submit(read, self._remote, self._view, self._pace), 0.0
            if size != self._console.size:
                size = self._console.size
                self._show(live)
            before = self._view
            for key in self._keyboard.pressed(_GLANCE_SECONDS):
                if key == " ":
                    self._paused = not self._paused
                    size = None
                elif (view := self._stepped(key)) is None:
                    return
                else:
                    self._view = view
            rested += _GLANCE_SECONDS
            if self._view != before:
                rested, size = self._seconds, None

    def _stepped(self, key: str) -> View | None:
        reading = self._reading
        known = 0 if reading is None or reading.spend is None else reading.spend["known"]
        rows = 1 if reading is None else rows_of_keys(reading, self._console.height)
        return stepped(self._view, key, keys=known, rows=rows)

    def _take(self, coming: "Future[Reading]") -> None:
        try:
            self._reading, self._note = coming.result(), ""
        except ConfigError as error:
            self._note = str(error)

    def _show(self, live: Live) -> None:
        if self._reading is None:
            return
        width, height = self._console.size
        note = self._note or ("paused; space goes on" if self._paused else "")
        shown = replace(self._reading, view=self._view) if self._reading.view != self._view else self._reading
        live.update(picture(shown, width=width, height=height, url=self._remote.url, note=note), refresh=True)
