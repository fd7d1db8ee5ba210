"""Keys of a terminal as they are pressed, without waiting for Return."""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["Keyboard", "names_of"]

_NAMES: Final = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1b[C": "right",
    b"\x1b[D": "left",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1bOC": "right",
    b"\x1bOD": "left",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\x1b[H": "home",
    b"\x1b[1~": "home",
    b"\x1b[Z": "left",
    b"\t": "right",
    b"\x03": "q",
    b"\x1b": "q",
}
_LONGEST: Final = max(map(len, _NAMES))


def names_of(pressed: bytes) -> Iterator[str]:
    """Yield what some bytes of a keyboard stand for; letters stand for themselves, other things for nothing."""
    at = 0
    while at < len(pressed):
        for length in range(min(_LONGEST, len(pressed) - at), 0, -1):
            part = pressed[at : at + length]
            if part in _NAMES and (part != b"\x1b" or len(pressed) == at + 1):
                yield _NAMES[part]
                at += length
                break
        else:
            letter = chr(pressed[at])
            if letter.isascii() and letter.isprintable():
                yield letter
            at += 1


class Keyboard:
    """The keyboard of this process's terminal; without one nothing is ever pressed."""

    def __init__(self) -> None:
        self._descriptor = sys.stdin.fileno() if sys.stdin.isatty() else None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Let keys come one by one and unseen while the block runs."""
        if self._descriptor is None:
            yield
            return
        import termios  # not on Windows
        import tty

        before = termios.tcgetattr(self._descriptor)
        tty.setcbreak(self._descriptor)
        try:
            yield
        finally:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, before)

    def pressed(self, seconds: float) -> list[str]:
        """Wait until something is pressed, so long at the most, and return what."""
        descriptors = [] if self._descriptor is None else [self._descriptor]
        ready, _, _ = select.select(descriptors, [], [], seconds)
        return list(names_of(os.read(ready[0], 64))) if ready else []
