"""What both receivers share: the bound on bytes in flight, who counts, and where requests go."""

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from tocsin.errors import OverloadedError, TooLargeError
from tocsin.receivers.intake import Intake, MetricsIntake, Receipt
from tocsin.receivers.status import METRICS_DROPPED

__all__ = ["Admission", "ByteBudget", "Hold", "ReceiverObserver"]


class ReceiverObserver(Protocol):
    """Who counts what receivers see; calls are cheap, never raise, and come from the event loop."""

    def received(self, transport: str, size: int) -> None:
        """Count a request that arrived in full, of `size` bytes after decompression, over grpc or http."""
        ...

    def refused(self, transport: str, reason: str) -> None:
        """Count one that was not taken; `reason` is of `status.REASONS` or an `OverloadedError`'s."""
        ...


class ByteBudget:
    """The bytes of requests that may be in memory at once, over all receivers (`limits.in_flight_bytes`).

    Held by one event loop; not safe between threads.
    """

    def __init__(self, limit: int, *, check: Callable[[], None] | None = None) -> None:
        """Make one of which nothing is taken.

        Args:
            limit: bytes.
            check: raises OverloadedError while nothing may be taken for another reason, such as memory; it is
                asked before a byte of a request is read, so it must be cheap.
        """
        self.limit = limit
        self.held = 0
        """Bytes taken and not yet given back."""
        self._check = check

    def admit(self) -> None:
        """Check, before anything of a request is read, that reading it makes sense now.

        Raises:
            OverloadedError: it would be refused whatever it is.
        """
        if self._check is not None:
            self._check()
        self.require(1)

    def require(self, size: int) -> None:
        """Check, without taking anything, that `size` more bytes would fit.

        What a sender only announces is checked and not taken: else a header could reserve what never arrives.

        Raises:
            OverloadedError: they would not fit now.
        """
        if self.held + size > self.limit:
            raise OverloadedError(
                f"{self.held} bytes of requests are in flight, and {size} more would pass"
                f" limits.in_flight_bytes ({self.limit}); send again later",
                reason="in_flight_bytes",
            )

    def take(self, size: int) -> None:
        """Take `size` bytes; whoever does gives them back.

        Raises:
            OverloadedError: they do not fit now; nothing was taken.
        """
        self.require(size)
        self.held += size

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        self.held -= size


class Hold:
    """The bytes of one request, growing as they arrive; leaving the `with` gives them all back."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._size = 0

    def add(self, size: int) -> None:
        """Take `size` bytes more.

        Raises:
            OverloadedError: they do not fit now.
        """
        self._budget.take(size)
        self._size += size

    def reserve(self, size: int) -> None:
        """Take `size` bytes more for work on what is held already.

        Raises:
            TooLargeError: they will never fit.
            OverloadedError: they do not fit now.
        """
        if self._size + size > self._budget.limit:
            raise TooLargeError(
                f"translating the request takes {size} bytes more, over limits.in_flight_bytes"
                f" ({self._budget.limit}); send smaller batches, or protobuf"
            )
        self.add(size)

    def admit(self, size: int) -> None:
        """Check, before anything is read and without taking anything, that `size` bytes would be welcome.

        Raises:
            OverloadedError: they would not fit now, or nothing may be taken.
        """
        self._budget.admit()
        self._budget.require(size)

    def give_back(self, size: int) -> None:
        """Give back a part of what is held."""
        self._budget.give_back(size)
        self._size -= size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget.give_back(self._size)
        self._size = 0


class Admission:
    """What the receivers of one process share."""

    __slots__ = ("_metrics", "budget", "intake", "observer")

    def __init__(
        self, intake: Intake, observer: ReceiverObserver, budget: ByteBudget, metrics: MetricsIntake | None = None
    ) -> None:
        self.intake = intake
        self.observer = observer
        self.budget = budget
        self._metrics = metrics

    async def pass_on(self, metrics: bytes) -> Receipt:
        """Pass a serialized ExportMetricsServiceRequest on; return what its sender is told."""
        taken = self._metrics is not None and await self._metrics(metrics)
        return Receipt() if taken else METRICS_DROPPED
