"""The thread of a guard: follows the service, and connects again and again where it can't.

Where it has the address of the API too, it asks there as long as gRPC does not get through, and tries gRPC from time to
time. Either way goes on from the version that the other one left.
"""

import random
import threading
from contextlib import ExitStack
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import grpc

from tocsin.guard import guard_pb2
from tocsin.guard.watched import Watched
from tocsin.guard.ways import Ways

if TYPE_CHECKING:
    from tocsin.guard.polling import Polling

__all__ = ["Watching"]

_METHOD: Final = "/tocsin.v1.Guard/Watch"
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
_CLOSE_SECONDS: Final = 2.0
AGAIN_SECONDS: Final = 30.0
"""So long it asks over HTTP before it tries gRPC again."""
_NEWS_SECONDS: Final = 2.0
"""So long a question over HTTP waits for news."""
_GATHER_SECONDS: Final = 0.05
_PROBE_SECONDS: Final = 1.0


class Watching:
    """Keeps a `Watched` up to date from `start` to `close`."""

    def __init__(self, ways: Ways, watched: Watched, max_stale: float) -> None:
        """Make it.

        Args:
            ways: how the service is reached.
            watched: what is kept up to date.
            max_stale: seconds after which silence counts as not knowing.
        """
        self._ways = ways
        self._watched = watched
        self._wait = min(_NEWS_SECONDS, max_stale / 3)
        self._closing = threading.Event()
        self._call: Any = None
        self._polling = ways.polling(watched)
        self._thread = threading.Thread(target=self._run, name="tocsin guard", daemon=True)
        self.problem: str | None = None
        """Why it is not connected, in words; None while it is, and before the first attempt."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, and wait for it a moment."""
        self._closing.set()
        call = self._call
        if call is not None:
            call.cancel()
        if self._polling is not None:
            self._polling.cancel()
        if self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        with ExitStack() as stack:
            channel = self._ways.channel()
            watch = None
            if channel is not None:
                watch = stack.enter_context(channel).unary_stream(
                    _METHOD,
                    request_serializer=guard_pb2.WatchRequest.SerializeToString,
                    response_deserializer=guard_pb2.WatchResponse.FromString,
                )
            pause = FIRST_PAUSE
            while not self._closing.is_set():
                heard = watch is not None and self._follow(watch)
                if not heard and self._polling is not None and not self._closing.is_set():
                    heard = self._ask(self._polling, None if watch is None else AGAIN_SECONDS)
                pause = FIRST_PAUSE if heard else min(pause * 2, LONGEST_PAUSE)
                self._closing.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311  # only so that not all come at once
            if self._polling is not None:
                self._polling.close()

    def _follow(self, watch: Any) -> bool:  # noqa: ANN401  # grpcio's stubs do not type it further
        """Follow until the stream ends; return whether anything was heard."""
        heard = False
        doubt = None
        try:
            self._watched.begin()
            instance, version = self._watched.position
            request = guard_pb2.WatchRequest(instance=instance, version=version)
            self._call = call = watch(request, metadata=self._ways.metadata)
            if self._closing.is_set():
                call.cancel()
            if self._polling is not None:
                # What is dropped on its way fails after minutes only; a service that is there speaks at once.
                doubt = threading.Timer(min(_PROBE_SECONDS, self._wait), call.cancel)
                doubt.daemon = True
                doubt.start()
            for answer in call:
                if doubt is not None:
                    doubt.cancel()
                self._watched.take(answer)
                heard = True
                self.problem = None
        except grpc.RpcError as error:
            self.problem = _words(error)
        except Exception as error:  # noqa: BLE001  # the thread must not end, whatever comes
            self.problem = f"{type(error).__name__}: {error}"
        else:
            self.problem = "the service ended the stream"
        finally:
            self._call = None
            if doubt is not None:
                doubt.cancel()
        return heard

    def _ask(self, polling: "Polling", seconds: float | None) -> bool:
        """Ask over HTTP until it fails, or for so long; return whether anything was heard."""
        heard = False
        before = self.problem
        until = None if seconds is None else monotonic() + seconds
        while not self._closing.is_set() and (until is None or monotonic() < until):
            instance, _ = self._watched.position
            try:
                # The first question wants the state of now, whether there is news or not.
                news = polling.poll(self._wait if heard else 0)
            except Exception as error:  # noqa: BLE001  # the thread must not end, whatever comes
                over_http = f"over HTTP: {str(error) or type(error).__name__}"
                self.problem = over_http if before is None or heard else f"{before}; {over_http}"
                return heard
            if heard and self._watched.position[0] != instance:
                self._closing.wait(self._wait)  # several processes answer in turns, each with its whole set
            elif news:
                self._closing.wait(_GATHER_SECONDS)  # many changes in a row are one answer
            heard = True
            self.problem = None
        return heard


def _words(error: grpc.RpcError) -> str:
    if isinstance(error, grpc.Call):
        return f"{error.code().name}: {error.details()}"
    return str(error)
