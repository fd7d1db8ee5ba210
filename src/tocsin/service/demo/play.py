"""Plays the story: starts the real service, sends the spans as their time comes, and takes the webhook."""

import asyncio
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Protocol

import grpc.aio
import orjson
from starlette.types import Receive, Scope, Send

from tocsin import telemetry
from tocsin.api.server import serving
from tocsin.model.batch import NANO_USD
from tocsin.pricing import PriceBook, Usage
from tocsin.service.demo.story import DURATION_NS, RUNAWAY, Moment, moments, request_of
from tocsin.service.files import Watcher
from tocsin.service.serve import Service, follow

__all__ = ["Conversation", "Ring", "Screen", "Stage", "play"]

_EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_FRAME_SECONDS: Final = 0.03
_AFTERWARDS_SECONDS: Final = 3.0
"""How long the last notification may take."""


@dataclass(slots=True)
class Conversation:
    """What one conversation did so far, as its sender knows it."""

    name: str
    tenant: str
    model: str
    calls: int = 0
    usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Ring:
    """One notification, as the webhook received it."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]
    story_ns: int
    """When in the story."""
    latency_ms: float
    """From sending the span that caused it to having the webhook."""
    spent_usd: float
    """By the runaway conversation until then."""


@dataclass(slots=True)
class Stage:
    """Everything a screen shows; written by `play` only."""

    speed: float
    story_ns: int = 0
    spans: int = 0
    usd: float = 0.0
    conversations: dict[str, Conversation] = field(default_factory=dict)
    rings: list[Ring] = field(default_factory=list)
    rang: asyncio.Event = field(default_factory=asyncio.Event)
    addresses: Mapping[str, str] = field(default_factory=dict)
    webhook: str = ""
    sent_at: list[int] = field(default_factory=list)
    """Wall clock at the start of each request, ascending."""

    @property
    def runaway(self) -> Conversation:
        """The one it is about."""
        return self.conversations.get(RUNAWAY) or Conversation(RUNAWAY, "acme", "")


class Screen(Protocol):
    """Shows a stage."""

    def begin(self, stage: Stage) -> None:
        """The service is ready, the story begins."""
        ...

    def frame(self, stage: Stage) -> None:
        """Something may have changed."""
        ...

    def ring(self, stage: Stage, ring: Ring) -> None:
        """An alert arrived."""
        ...

    def end(self, stage: Stage) -> None:
        """The story is over."""
        ...


async def play(screen: Screen, *, speed: float = 15.0) -> Stage:
    """Play the story on a screen, `speed` times as fast as it happened, and return how it ended."""
    stage = Stage(speed)
    telemetry.configure_logging(level="error", form="text")
    with TemporaryDirectory(prefix="tocsin-demo-") as directory:
        await _play(stage, screen, directory)
    return stage


async def _play(stage: Stage, screen: Screen, directory: str) -> None:
    async with _webhook_receiver(lambda headers, body: _note_ring(stage, screen, headers, body)) as webhook:
        stage.webhook = f"http://{webhook}/oncall"
        files = _files(stage.webhook, Path(directory))
        service = Service(files.load(), files=files)
        async with service.running() as status, _followed(files, service):
            stage.addresses = status.receivers
            async with grpc.aio.insecure_channel(status.receivers["grpc"]) as channel:
                export: Any = channel.unary_unary(_EXPORT)  # bytes to bytes

                async def send(request: bytes) -> None:
                    await export(request)

                costed = [(moment, _usd_of(service.prices, moment)) for moment in moments()]
                screen.begin(stage)
                await _send(stage, screen, send, costed)
                await _last_rings(stage, status.rules)
            screen.frame(stage)
            screen.end(stage)


def _files(webhook: str, directory: Path) -> Watcher:
    """Return the demo's configuration as a file, so that its rules can be looked at and changed on the page."""
    path = directory / "demo.yaml"
    path.write_text(resources.files(__package__).joinpath("demo.yaml").read_text())
    return Watcher(path, environ={"TOCSIN_DEMO_WEBHOOK": webhook, "TOCSIN_DEMO_DIRECTORY": str(directory)})


@asynccontextmanager
async def _followed(files: Watcher, service: Service) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(follow(files, service), name="watcher")
        try:
            yield
        finally:
            following.cancel()


async def _send(
    stage: Stage,
    screen: Screen,
    send: Callable[[bytes], Awaitable[None]],
    story: Sequence[tuple[Moment, float]],
) -> None:
    began_at = time.time_ns() - DURATION_NS  # so that the story ends now, and no span is from the future
    began = time.monotonic()
    sent = 0
    while sent < len(story):
        stage.story_ns = min(int((time.monotonic() - began) * stage.speed * 1e9), DURATION_NS)
        due = sent
        while due < len(story) and story[due][0].at <= stage.story_ns:
            due += 1
        if due > sent:
            for moment, usd in story[sent:due]:
                _note_span(stage, moment, usd)
            request = request_of((moment for moment, _ in story[sent:due]), began_at)
            stage.sent_at.append(time.time_ns())
            await send(request)
            sent = due
        screen.frame(stage)
        await asyncio.sleep(_FRAME_SECONDS)


def _usd_of(prices: PriceBook, moment: Moment) -> float:
    """Return what a span costs by the price table that the service uses too."""
    if not moment.model:
        return 0.0
    usage = Usage(input=moment.input_tokens, output=moment.output_tokens)
    explained = prices.explain(moment.provider, moment.model, usage=usage, at=time.time_ns())
    return (explained.total_nano or 0) / NANO_USD


def _note_span(stage: Stage, moment: Moment, usd: float) -> None:
    stage.spans += 1
    stage.usd += usd
    if not moment.model:
        return
    conversation = stage.conversations.setdefault(
        moment.conversation, Conversation(moment.conversation, moment.tenant, moment.model)
    )
    conversation.calls += 1
    conversation.usd += usd


def _note_ring(stage: Stage, screen: Screen, headers: Mapping[str, str], body: Mapping[str, Any]) -> None:
    received_at = time.time_ns()
    detected_at = int(datetime.fromisoformat(body["detected_at"]).timestamp() * 1e9)
    # Requests are sent one after the other, so the last one sent before the detection caused it.
    cause = max(0, bisect_right(stage.sent_at, detected_at) - 1)
    sent_at = stage.sent_at[cause] if stage.sent_at else received_at
    ring = Ring(
        body=body,
        headers=headers,
        story_ns=stage.story_ns,
        latency_ms=(received_at - sent_at) / 1e6,
        spent_usd=stage.runaway.usd,
    )
    stage.rings.append(ring)
    stage.rang.set()
    screen.ring(stage, ring)


async def _last_rings(stage: Stage, expected: int) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_AFTERWARDS_SECONDS):
            while len(stage.rings) < expected:
                stage.rang.clear()
                await stage.rang.wait()


@asynccontextmanager
async def _webhook_receiver(
    received: Callable[[Mapping[str, str], Mapping[str, Any]], None],
) -> AsyncIterator[str]:
    """Take webhooks on a free port of 127.0.0.1; yields HOST:PORT."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        received(headers, orjson.loads(body))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with serving(app, "127.0.0.1", 0) as address:
        yield address
