"""The thread of a guard: follows the service, and connects again and again where it can't."""

import random
import threading
from collections.abc import Sequence
from typing import Any, Final

import grpc

from tocsin.guard import guard_pb2
from tocsin.guard.watched import Watched

__all__ = ["Watching"]

_METHOD: Final = "/tocsin.v1.Guard/Watch"
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
_CLOSE_SECONDS: Final = 2.0
_OPTIONS: Final = (
    # A connection that died without a word is found within seconds; the service allows a ping every 10 s.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_retries", 0),
)


class Watching:
    """Keeps a `Watched` up to date from `start` to `close`."""

    def __init__(
        self,
        endpoint: str,
        credentials: grpc.ChannelCredentials | None,
        metadata: Sequence[tuple[str, str]],
        watched: Watched,
    ) -> None:
        self._endpoint = endpoint
        self._credentials = credentials
        self._metadata = tuple(metadata)
        self._watched = watched
        self._closing = threading.Event()
        self._call: Any = None
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
        if self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        options = list(_OPTIONS)
        if self._credentials is None:
            channel = grpc.insecure_channel(self._endpoint, options)
        else:
            channel = grpc.secure_channel(self._endpoint, self._credentials, options)
        with channel:
            watch = channel.unary_stream(
                _METHOD,
                request_serializer=guard_pb2.WatchRequest.SerializeToString,
                response_deserializer=guard_pb2.WatchResponse.FromString,
            )
            pause = FIRST_PAUSE
            while not self._closing.is_set():
                heard = self._follow(watch)
                pause = FIRST_PAUSE if heard else min(pause * 2, LONGEST_PAUSE)
                self._closing.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311  # only so that not all come at once

    def _follow(self, watch: Any) -> bool:  # noqa: ANN401  # grpcio's stubs do not type it further
        """Follow until the stream ends; return whether anything was heard."""
        heard = False
        try:
            self._watched.begin()
            instance, version = self._watched.position
            request = guard_pb2.WatchRequest(instance=instance, version=version)
            self._call = call = watch(request, metadata=self._metadata)
            if self._closing.is_set():
                call.cancel()
            for answer in call:
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
        return heard


def _words(error: grpc.RpcError) -> str:
    if isinstance(error, grpc.Call):
        return f"{error.code().name}: {error.details()}"
    return str(error)
