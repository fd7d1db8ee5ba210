"""Why the history could not be asked."""

from tocsin.errors import TocsinError

__all__ = ["HistoryError", "needs"]


class HistoryError(TocsinError):
    """A query or an export can't be done; the text says why, and what to do."""


def needs(library: str) -> HistoryError:
    """Return the error where a library of the extra `history` is not installed."""
    return HistoryError(f"{library} is not installed; install it with: pip install 'tocsin[history]'")
