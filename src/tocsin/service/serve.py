"""The service: everything built from one configuration, running until it is told to stop.

Three phases, never mixed: load (text only), build (opens things, starts nothing), run. A reload builds
the new parts before it touches the old; if that fails, the old ones go on, and the log, `/readyz` and a
metric say why.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from tocsin import __version__, decode, telemetry
from tocsin.alerts.event import AlertEvent
from tocsin.api.app import application
from tocsin.api.server import serving
from tocsin.api.status import Status
from tocsin.engine.engine import Engine
from tocsin.errors import ConfigError
from tocsin.model.batch import Needs
from tocsin.notify.egress import Network
from tocsin.notify.message import MessageWriter
from tocsin.notify.outbox import Outbox
from tocsin.pricing import PriceBook
from tocsin.receivers.admission import ByteBudget
from tocsin.receivers.config import endpoint_of
from tocsin.receivers.otlp import Listening, otlp_receivers
from tocsin.rules.needs import needs_of
from tocsin.semconv.normalizer import Normalizer
from tocsin.service.config import Configuration, needs_restart
from tocsin.service.files import Watcher
from tocsin.service.loading import Loaded
from tocsin.service.observers import DeliveryTelemetry, ReceiverTelemetry
from tocsin.service.pipeline import Pipeline
from tocsin.service.readings import reading_of
from tocsin.service.stages import Stages

__all__ = ["Service", "serve"]

RECEIVER_DRAIN_SECONDS: Final = 5.0
"""For requests that are being answered when the service stops."""
_CHANGED_AT_ONCE: Final = frozenset({"in_flight_bytes", "memory"})
"""Limits that are the pipeline's, not the engine's."""
OUTBOX_DRAIN_SECONDS: Final = 8.0
"""For notifications that wait when the service stops; together within the 30 s that Kubernetes gives."""


class Service:
    """The parts of a running service and what a reload does to them; made on the event loop that runs it."""

    def __init__(self, loaded: Loaded, *, also: Callable[[AlertEvent], None] | None = None) -> None:
        """Build everything; nothing is opened or started.

        Args:
            loaded: configuration and rules.
            also: told of every alert event besides the contact points; must not block.

        Raises:
            ConfigError: the configuration can't be used.
        """
        configuration = loaded.configuration
        self.loaded = loaded
        self.status = Status(version=__version__, decoder="native" if decode.NATIVE else "reference")
        self.prices = PriceBook(configuration.prices)
        self.engine = Engine(loaded.rules, configuration.trace, configuration.limits)
        self.outbox = Outbox(_writer_of(configuration), observer=DeliveryTelemetry())
        self.budget = ByteBudget(configuration.limits.in_flight_bytes)
        self._also = also
        self.pipeline = Pipeline(
            stages_of(loaded, self.prices),
            self.engine,
            self._publish,
            in_flight_bytes=configuration.limits.in_flight_bytes,
            memory_bytes=configuration.limits.memory or 0,
        )
        self._show(loaded)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Status]:
        """Run until the block ends, then drain: receivers first, then evaluation, then notifications.

        Raises:
            ConfigError: an address can't be listened on, or a contact point can't be built.
        """
        configuration = self.loaded.configuration
        telemetry.started(version=__version__, decoder=self.status.decoder)
        telemetry.read_from(lambda: reading_of(self.engine.statistics, self.pipeline.in_flight_bytes))
        app = application(self.status, base_path=configuration.api.base_path)
        async with self.outbox, serving(app, *endpoint_of(configuration.api.endpoint)) as api:
            await self._reach(configuration)
            self.prices.start()
            try:
                async with (
                    self.pipeline.running(),
                    otlp_receivers(
                        configuration.receivers.otlp,
                        self.pipeline,
                        ReceiverTelemetry(),
                        self.budget,
                        drain_seconds=RECEIVER_DRAIN_SECONDS,
                    ) as listening,
                ):
                    self.status.receivers = addresses_of(listening, api)
                    self.status.ready = True
                    try:
                        yield self.status
                    finally:
                        self.status.stopping = True
            finally:
                self.prices.close()
                undelivered = await self.outbox.drain(OUTBOX_DRAIN_SECONDS)
                telemetry.service_stopped(undelivered=undelivered)

    async def adopt(self, outcome: Loaded | ConfigError) -> None:
        """Go on with what an edit means, or with what runs if it is not valid."""
        if isinstance(outcome, ConfigError):
            self._refuse(outcome)
            return
        old, new = self.loaded.configuration, outcome.configuration
        try:
            prices = PriceBook(new.prices, self.prices) if new.prices != old.prices else self.prices
            stages = await asyncio.to_thread(stages_of, outcome, prices)
            await self._reach(new)
        except ConfigError as error:
            self._refuse(error)
            return
        await self.pipeline.swap(stages, outcome.rules)
        if prices is not self.prices:
            prices.start()
            self.prices.close()
            self.prices = prices
        self.pipeline.limit(in_flight_bytes=new.limits.in_flight_bytes, memory_bytes=new.limits.memory or 0)
        self.budget.limit = new.limits.in_flight_bytes
        if new.log != old.log:
            telemetry.configure_logging(level=new.log.level, form=new.log.format)
        if waiting := (*needs_restart(old, new), *_fixed_in_engine(old, new)):
            telemetry.restart_needed(keys=waiting)
        self.loaded = outcome
        self._show(outcome)
        telemetry.configuration_taken(rules=len(outcome.rules), warnings=outcome.warnings, reload=True)

    async def _reach(self, configuration: Configuration) -> None:
        await self.outbox.reconfigure(
            configuration.contact_points,
            Network(allow_private=configuration.network.allow_private),
            writer=_writer_of(configuration),
        )

    def _publish(self, event: AlertEvent) -> None:
        self.outbox.publish(event)
        if self._also is not None:
            self._also(event)

    def _refuse(self, error: ConfigError) -> None:
        self.status.rule_errors = error.problems
        telemetry.configuration_refused(problems=error.problems)

    def _show(self, loaded: Loaded) -> None:
        self.status.rules = len(loaded.rules)
        self.status.contact_points = tuple(loaded.configuration.contact_points)
        self.status.rule_errors = ()


async def serve(path: Path, *, say: Callable[[str], None] = print, begun: float | None = None) -> None:
    """Run the service on a configuration file until SIGTERM or SIGINT; SIGHUP and edits reload it.

    Args:
        path: the configuration file.
        say: told one line when the service is ready.
        begun: `time.perf_counter()` when the start began; now if None.

    Raises:
        ConfigError: the configuration is not valid, or can't be used.
    """
    begun = time.perf_counter() if begun is None else begun
    watcher = Watcher(path)
    loaded = watcher.load()
    telemetry.configure_logging(level=loaded.configuration.log.level, form=loaded.configuration.log.format)
    telemetry.configuration_taken(rules=len(loaded.rules), warnings=loaded.warnings, reload=False)
    service = Service(loaded)
    stop = asyncio.Event()
    with _signals(stop, watcher):
        async with service.running() as status, asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(_watch(watcher, service), name="watcher")
            seconds = time.perf_counter() - begun
            say(ready_line(status, seconds))
            telemetry.service_ready(
                addresses=status.receivers.values(),
                rules=status.rules,
                contact_points=len(status.contact_points),
                seconds=seconds,
            )
            await stop.wait()
            telemetry.service_stopping(reason="signal")
            watching.cancel()


def ready_line(status: Status, seconds: float) -> str:
    """Return the line that says where the service listens and what it watches."""
    listening = ", ".join(f"{name} {address}" for name, address in status.receivers.items())
    points = ", ".join(status.contact_points) or "none"
    rules = "1 rule" if status.rules == 1 else f"{status.rules} rules"
    return f"tocsin {status.version} ready in {seconds:.2f} s: {listening}; {rules}; contact points: {points}"


def stages_of(loaded: Loaded, prices: PriceBook) -> Stages:
    """Return the way from bytes to priced columns for these rules: only what they read is decoded."""
    read = needs_of(loaded.rules)
    needs = Needs(read.labels | prices.needs.labels, read.numbers | prices.needs.numbers)
    normalizer = Normalizer(needs, loaded.configuration.attributes)
    return Stages(decode.decoder(normalizer.projection), normalizer, prices)


def addresses_of(listening: Listening, api: str) -> dict[str, str]:
    """Return name -> HOST:PORT of everything that listens."""
    receivers = {"grpc": listening.grpc, "http": listening.http}
    return {name: str(endpoint) for name, endpoint in receivers.items() if endpoint is not None} | {"api": api}


def _writer_of(configuration: Configuration) -> MessageWriter:
    return MessageWriter(
        trace_url=configuration.trace_url,
        public_url=configuration.api.public_url,
        observer=DeliveryTelemetry(),
    )


def _fixed_in_engine(old: Configuration, new: Configuration) -> list[str]:
    """Return the keys that differ and that the engine reads once, when it is made."""
    return [
        f"{section}.{key}"
        for section in ("trace", "limits")
        for key, value in getattr(old, section)
        if getattr(getattr(new, section), key) != value and key not in _CHANGED_AT_ONCE
    ]


async def _watch(watcher: Watcher, service: Service) -> None:
    async for outcome in watcher.changes():
        try:
            await service.adopt(outcome)
        except Exception as error:  # noqa: BLE001  # an edit must not end the service
            telemetry.internal_error(stage="reload", error=error)


@contextmanager
def _signals(stop: asyncio.Event, watcher: Watcher) -> Iterator[None]:
    """Let SIGTERM and SIGINT stop, and SIGHUP reload, while the block runs."""
    loop = asyncio.get_running_loop()
    actions = {signal.SIGTERM: stop.set, signal.SIGINT: stop.set, signal.SIGHUP: watcher.reload}
    for number, action in actions.items():
        loop.add_signal_handler(number, action)
    try:
        yield
    finally:
        for number in actions:
            loop.remove_signal_handler(number)
