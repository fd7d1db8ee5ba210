"""Whose message is read next: so that few large messages are in grpcio's memory at once.

grpcio gathers a whole message out of our sight, and does not say how large it will be. What is ours to decide is when a
message is asked for: until then its stream holds no more than its flow-control window. So messages are read
in turns, as many at once as `limits.in_flight_bytes` has room for at the greatest size. A message that is there already
is read in microseconds, and its turn is over; a sender that trickles keeps its turn while nobody waits, and loses
it after `patience` seconds when somebody does. Connections take their turns one after the other, however many streams
each has open, so that one of them can't starve the rest.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tocsin.errors import OverloadedError
from tocsin.receivers.admission import ByteBudget

__all__ = ["MOST_WAITING", "PATIENCE_SECONDS", "Turns"]

MOST_WAITING = 512
"""Streams that wait for a turn, each with up to a flow-control window in memory; one more is refused."""
PATIENCE_SECONDS = 2.0
"""That a message may take while others wait for a turn."""


@dataclass(slots=True)
class _Turn:
    begun: float
    """On the loop's clock."""
    timeout: asyncio.Timeout | None = None
    is_cut: bool = False
    """Ended for the sake of others."""


class Turns:
    """The turns of one listener; owned by its event loop."""

    def __init__(
        self,
        budget: ByteBudget,
        largest: int,
        *,
        patience: float | None = None,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        """Make them; there is always at least one.

        Args:
            budget: its limit, over `largest`, is how many messages are read at once.
            largest: bytes that one message may have.
            patience: seconds; see the module.
            most_waiting: see `MOST_WAITING`.
        """
        self._budget = budget
        self._largest = largest
        self._patience = PATIENCE_SECONDS if patience is None else patience
        self._most_waiting = most_waiting
        self._reading: dict[object, _Turn] = {}
        """In the order in which they began."""
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """Connection -> who waits on it; the first connection is served next."""
        self._given = 0
        """Turns of waiters that were told and have not begun yet."""
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def most(self) -> int:
        """How many messages are read at once."""
        return max(1, self._budget.limit // self._largest)

    @property
    def reading(self) -> int:
        """How many are being read."""
        return len(self._reading)

    @property
    def waiting(self) -> int:
        """How many wait for a turn."""
        return self._waiting

    @asynccontextmanager
    async def turn(self, connection: str, seconds: float) -> AsyncIterator[None]:
        """Wait for a turn, and have it while the block runs.

        Args:
            connection: whose turn it is; connections alternate.
            seconds: that the waiting may take, and then again the block.

        Raises:
            OverloadedError: too many wait, or the turn did not come, or others waited for it to end.
            TimeoutError: the block took `seconds` or longer.
        """
        if self._waiting or self._is_full():
            await self._wait(connection, seconds)
        own = _Turn(asyncio.get_running_loop().time())
        key = object()
        self._reading[key] = own
        try:
            async with asyncio.timeout(seconds) as own.timeout:
                yield
        except TimeoutError as error:
            if own.is_cut:
                raise OverloadedError(
                    "the message took long to arrive while others waited for theirs; send again, or smaller batches",
                    reason="reading",
                ) from error
            raise
        finally:
            del self._reading[key]
            self._pass_on()
            self._watch()

    def _is_full(self) -> bool:
        return len(self._reading) + self._given >= self.most

    async def _wait(self, connection: str, seconds: float) -> None:
        if self._waiting >= self._most_waiting:
            raise OverloadedError(f"{self._waiting} messages wait to be read; send again later", reason="reading")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(connection, deque()).append(future)
        self._waiting += 1
        self._pass_on()
        self._watch()
        try:
            async with asyncio.timeout(seconds):
                await future
        except BaseException as error:
            self._forget(connection, future)
            if isinstance(error, TimeoutError):
                raise OverloadedError(
                    "other messages were read for as long as this one may wait; send again later", reason="reading"
                ) from error
            raise
        else:
            self._given -= 1
        finally:
            self._waiting -= 1

    def _forget(self, connection: str, future: asyncio.Future[None]) -> None:
        """Take back what was given to one that no longer waits, or its place in the queue."""
        if future.done() and not future.cancelled():
            self._given -= 1
            self._pass_on()
            return
        queue = self._queues.get(connection)
        if queue is not None and future in queue:
            queue.remove(future)
            if not queue:
                del self._queues[connection]

    def _pass_on(self) -> None:
        """Give turns that are free to who waits."""
        while self._queues and not self._is_full():
            connection, queue = next(iter(self._queues.items()))
            future = queue.popleft()
            if queue:
                self._queues.move_to_end(connection)
            else:
                del self._queues[connection]
            if not future.done():
                future.set_result(None)
                self._given += 1

    def _watch(self) -> None:
        """Look again when the message that is read for longest has had its time."""
        if self._timer is not None or self._ending() >= self._waiting:
            return
        oldest = next((turn for turn in self._reading.values() if not turn.is_cut), None)
        if oldest is not None:
            self._timer = asyncio.get_running_loop().call_at(oldest.begun + self._patience, self._cut)

    def _ending(self) -> int:
        """Return how many turns are about to be free, as they were cut."""
        return sum(turn.is_cut for turn in self._reading.values())

    def _cut(self) -> None:
        """End the turns that took too long, one for each that waits."""
        self._timer = None
        late = asyncio.get_running_loop().time() - self._patience
        cut = self._ending()
        for turn in self._reading.values():
            if cut < self._waiting and turn.begun <= late and not turn.is_cut and turn.timeout is not None:
                turn.is_cut = True
                turn.timeout.reschedule(0)
                cut += 1
        self._watch()
