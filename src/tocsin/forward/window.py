"""What is to be sent next: listed in order, with its bytes in memory where there is room."""

from collections.abc import Callable, Iterator

from tocsin.forward.entry import Entry

__all__ = ["Window"]


class Window:
    """Entries that were listed and are not gone, in order."""

    def __init__(self, listed: Callable[[Entry], None], *, entries: int, size: int) -> None:
        """Make an empty one.

        Args:
            listed: told of each entry that is added.
            entries: how many there may be.
            size: bytes of requests that may be in memory although they are on disk.
        """
        self._listed = listed
        self._most = entries
        self._most_bytes = size
        self._entries: dict[Entry, None] = {}
        self._bytes = 0

    @property
    def room(self) -> int:
        """How many entries may be added."""
        return self._most - len(self._entries)

    @property
    def is_low(self) -> bool:
        """Whether more should be read."""
        return self.room >= self._most // 2

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def add(self, entry: Entry) -> None:
        """List an entry; one that is on disk loses its bytes if there is no room for them."""
        if entry.place is not None and entry.data is not None:
            if self._bytes + entry.size > self._most_bytes:
                entry.data = None
            else:
                self._bytes += entry.size
        entry.listed = True
        self._entries[entry] = None
        self._listed(entry)

    def placed(self, entry: Entry) -> None:
        """Note that an entry that is listed is on disk now, too."""
        self._bytes += entry.size

    def discard(self, entry: Entry) -> None:
        """Take an entry out, if it is in; its bytes are let go of afterwards."""
        if entry not in self._entries:
            return
        del self._entries[entry]
        if entry.place is not None and entry.data is not None:
            self._bytes -= entry.size
