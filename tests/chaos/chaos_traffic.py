"""Senders that behave as exporters do: what was not acknowledged is sent again, the same bytes, until it is.

Each sender owns its conversations and has one request under way at a time, with at most one span of a conversation in
it. So what a conversation has spent after each of its spans is known here, in the order in which the service must see
it, whatever is killed in between.
"""

import http.client
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import grpc
from otlp_requests import Call, request_of

__all__ = [
    "INPUT_NANO",
    "OUTPUT_NANO",
    "TENANTS",
    "Chat",
    "GrpcClient",
    "HttpClient",
    "Ledger",
    "Line",
    "RefusedError",
    "Sender",
    "calls_of",
    "send",
]

INPUT_NANO, OUTPUT_NANO = 2_500, 10_000
"""What a token of gpt-4o costs, nano-USD."""
TENANTS = ("acme", "globex", "initech")
_SPANS = 40
"""Of a conversation; then another one begins."""
_OPEN = 10
"""Conversations that a sender has at once."""
_RETRYABLE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
)
_TRY_SECONDS = 5.0
_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_CHANNEL = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500))


@dataclass(frozen=True)
class Chat:
    """A model call of a conversation."""

    conversation: str
    tenant: str
    input_tokens: int
    output_tokens: int
    units: int = 1
    kind: str = "chat"
    span_id: bytes = b""

    @property
    def nano(self) -> int:
        return self.input_tokens * INPUT_NANO + self.output_tokens * OUTPUT_NANO


@dataclass(frozen=True)
class Line:
    """What a conversation is known to have spent after one more acknowledged span."""

    spent: int
    """nano-USD."""
    samples: int


class Ledger:
    """Everything that was acknowledged, from all senders."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.conversations: dict[str, list[Line]] = {}
        self.chats: list[Chat] = []
        self.requests = 0
        self.duplicates = 0
        """Spans of requests that were sent again, acknowledged or not."""
        self.retries: Counter[str] = Counter()
        self.refused: list[str] = []
        """Answers that no retry can help, which must not be."""
        self.last_at = time.monotonic()

    def acknowledge(self, chats: Sequence[Chat]) -> None:
        with self._lock:
            self.requests += 1
            self.last_at = time.monotonic()
            for chat in chats:
                self.chats.append(chat)
                if chat.kind == "chat":
                    lines = self.conversations.setdefault(chat.conversation, [])
                    before = lines[-1] if lines else Line(0, 0)
                    lines.append(Line(before.spent + chat.nano, before.samples + 1))

    def again(self, reason: str, spans: int) -> None:
        with self._lock:
            self.duplicates += spans
            self.retries[reason] += 1

    def refuse(self, answer: str) -> None:
        with self._lock:
            self.refused.append(answer)


class RefusedError(Exception):
    """An answer that is no acknowledgement; `again`: the same bytes may be taken later."""

    def __init__(self, reason: str, *, again: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again


def calls_of(random: Random, chats: Sequence[Chat], end: int) -> tuple[bytes, list[Chat]]:
    """Return a request that was finished at `end`, and its chats with their ids."""
    calls, named = [], []
    for chat in chats:
        call = Call.drawn(
            random,
            end=end,
            input_tokens=chat.input_tokens,
            output_tokens=chat.output_tokens,
            attributes={
                "gen_ai.conversation.id": chat.conversation,
                "tenant.id": chat.tenant,
                "app.kind": chat.kind,
                "app.units": chat.units,
            },
        )
        calls.append(call)
        named.append(
            Chat(
                chat.conversation,
                chat.tenant,
                chat.input_tokens,
                chat.output_tokens,
                chat.units,
                chat.kind,
                call.span_id,
            )
        )
    return request_of(calls).SerializeToString(), named


class GrpcClient:
    """One gRPC connection."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address, options=_CHANNEL)
        self._export: Any = self._channel.unary_unary(_METHOD)

    def send(self, data: bytes) -> None:
        try:
            self._export(data, timeout=_TRY_SECONDS)
        except grpc.RpcError as error:
            code = error.code()
            raise RefusedError(code.name, again=code in _RETRYABLE) from None

    def close(self) -> None:
        self._channel.close()


class HttpClient:
    """One HTTP connection, opened again where it was cut."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._connection: http.client.HTTPConnection | None = None

    def send(self, data: bytes) -> None:
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self._address, timeout=_TRY_SECONDS)
            self._connection.request("POST", "/v1/traces", data, {"Content-Type": "application/x-protobuf"})
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise RefusedError(type(error).__name__, again=True) from None
        if answer.status != 200:
            raise RefusedError(f"HTTP {answer.status}", again=answer.status in (429, 502, 503, 504))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Sender:
    """Sends at a pace, in a thread of its own, from `start` until `stop`."""

    def __init__(self, name: str, address: str, ledger: Ledger, random: Random, *, transport: str = "grpc") -> None:
        self.skew_ns = 0
        """How far this sender's clock is ahead."""
        self._name = name
        self._ledger = ledger
        self._random = random
        self._way = GrpcClient(address) if transport == "grpc" else HttpClient(address)
        self._numbers = 0
        self._open: list[tuple[str, str, int]] = []
        """Conversation, tenant, spans to come."""
        self._recent: deque[bytes] = deque(maxlen=20)
        self._go = threading.Event()
        self._idle = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._go.set()
        self._thread.start()

    def pause(self) -> None:
        """Finish the request under way, and wait; the service must be there."""
        self._go.clear()
        if not self._idle.wait(120):
            state = "waits" if self._thread.is_alive() else "ended by an error"
            raise TimeoutError(f"{self._name} {state}, and gets no acknowledgement; so far {self._ledger.retries}")

    def resume(self) -> None:
        self._idle.clear()
        self._go.set()

    def stop(self) -> None:
        """Finish the request under way, and end; the service must be there."""
        self.pause()
        self._ended.set()
        self._go.set()
        self._thread.join(10)
        self._way.close()

    def _run(self) -> None:
        while True:
            if not self._go.is_set():
                self._idle.set()
                self._go.wait()
            if self._ended.is_set():
                return
            self._once()
            self._ended.wait(self._random.uniform(0.01, 0.06))

    def _once(self) -> None:
        end = time.time_ns() + self.skew_ns - self._random.randrange(10**9)
        data, chats = calls_of(self._random, self._chats(), end)
        send(self._way, data, len(chats), self._ledger, self._random)
        self._ledger.acknowledge(chats)
        self._recent.append(data)
        if self._random.random() < 0.05:
            again = self._random.choice(self._recent)
            self._ledger.again("acknowledged already", len(chats))
            send(self._way, again, len(chats), self._ledger, self._random)

    def _chats(self) -> list[Chat]:
        while len(self._open) < _OPEN:
            self._numbers += 1
            self._open.append((f"{self._name}-{self._numbers}", self._random.choice(TENANTS), _SPANS))
        chosen = self._random.sample(range(_OPEN), self._random.randint(1, 5))
        chats = []
        for at in chosen:
            conversation, tenant, left = self._open[at]
            tokens = self._random.randrange(1, 80_000), self._random.randrange(1, 4_000)
            chats.append(Chat(conversation, tenant, *tokens))
            self._open[at] = (conversation, tenant, left - 1)
        self._open = [one for one in self._open if one[2] > 0]
        return chats


def send(way: GrpcClient | HttpClient, data: bytes, spans: int, ledger: Ledger, random: Random) -> None:
    """Send until it is acknowledged."""
    while True:
        try:
            way.send(data)
        except RefusedError as refused:
            if not refused.again:
                ledger.refuse(refused.reason)
            ledger.again(refused.reason, spans)
            time.sleep(random.uniform(0.05, 0.4))  # an exporter's back-off
        else:
            return
