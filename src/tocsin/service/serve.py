"""The service: everything built from one configuration, running until it is told to stop.

Three phases, never mixed: load (text only), build (opens things, starts nothing), run. A reload builds
the new parts before it touches the old; if that fails, the old ones go on, and the log, `/readyz` and a
metric say why.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Final

from tocsin import __version__, decode, telemetry
from tocsin.alerts.event import AlertEvent
from tocsin.api.blocks import blocks_router
from tocsin.api.dead_letters import dead_letters_router
from tocsin.api.events import Events
from tocsin.api.idempotency import Idempotency
from tocsin.api.server import serving_api
from tocsin.api.silences import acknowledge_router, silences_router
from tocsin.api.status import Status
from tocsin.engine.engine import Engine
from tocsin.engine.spend import FOLLOWED, Spend
from tocsin.errors import ConfigError
from tocsin.forward.forwarder import Forwarder
from tocsin.guard.blocks import Blocks
from tocsin.guard.service import GuardService
from tocsin.history.recorded import note_recorded
from tocsin.journal.sqlite import SqliteLog
from tocsin.model.batch import Needs
from tocsin.notify.egress import Network
from tocsin.notify.history import AttemptRecord
from tocsin.notify.message import MessageWriter
from tocsin.notify.outbox import Outbox
from tocsin.pricing import PriceBook
from tocsin.receivers.admission import ByteBudget
from tocsin.receivers.intake import Signal
from tocsin.receivers.otlp import Listening, otlp_receivers
from tocsin.rules.archive import dump_rules
from tocsin.rules.needs import needs_of
from tocsin.security.process import allow_many_connections, keep_memory_private
from tocsin.semconv.normalizer import Normalizer
from tocsin.semconv.recording import NOTHING
from tocsin.service.backtesting import Backtests
from tocsin.service.config import Configuration, needs_restart
from tocsin.service.editing.adopting import Editing
from tocsin.service.files import Watcher
from tocsin.service.loading import Loaded
from tocsin.service.memory import keep_what_is_there, settle
from tocsin.service.observers import DeliveryTelemetry, ReceiverTelemetry
from tocsin.service.pages import pages_of
from tocsin.service.pipeline import Pipeline
from tocsin.service.readings import reading_of
from tocsin.service.recovery import recover
from tocsin.service.resources import routers_of
from tocsin.service.routing import Routing
from tocsin.service.self_alerts.telling import tell
from tocsin.service.self_alerts.watch import SelfWatch
from tocsin.service.snapshots import Snapshots
from tocsin.service.stages import Stages
from tocsin.storage.answers import Answers
from tocsin.storage.database import Database
from tocsin.telemetry import history as history_telemetry
from tocsin.telemetry import recovery as recovery_telemetry

__all__ = ["Service", "follow", "serve"]

RECEIVER_DRAIN_SECONDS: Final = 5.0
"""For requests that are being answered when the service stops."""
_CHANGED_AT_ONCE: Final = frozenset({"in_flight_bytes", "memory"})
"""Limits that are the pipeline's, not the engine's."""
SELF_WATCH_SECONDS: Final = 1.0
SNAPSHOT_SECONDS: Final = 8.0
"""For the last snapshot; without it the next start reads more of the journal."""
OUTBOX_DRAIN_SECONDS: Final = 8.0
"""For notifications that wait when the service stops; together within the 30 s that Kubernetes gives."""


class Service:
    """The parts of a running service and what a reload does to them; made on the event loop that runs it."""

    def __init__(
        self, loaded: Loaded, *, also: Callable[[AlertEvent], None] | None = None, files: Watcher | None = None
    ) -> None:
        """Build everything; nothing is opened or started.

        Args:
            loaded: configuration and rules.
            also: told of every alert event besides the contact points; must not block.
            files: what the configuration is read from; without them the API can't change it.

        Raises:
            ConfigError: the configuration can't be used.
        """
        configuration = loaded.configuration
        self.loaded = loaded
        self.status = Status(
            version=__version__, decoder="native" if decode.NATIVE else "reference", degraded=self._degraded
        )
        self.prices = PriceBook(configuration.prices)
        self.engine = Engine(loaded.rules, configuration.trace, configuration.limits, Spend())
        self.database = Database(configuration.storage)
        self.idempotency = Idempotency(Answers(self.database))
        self.blocks = Blocks(self.database, limit=configuration.guard.max_blocks)
        self.watch = SelfWatch(configuration.self_alerts, configuration.contact_points)
        self._observer = DeliveryTelemetry(self.watch, self._attempts_of)
        self.routing = Routing(self.database)
        self.outbox = Outbox(
            _writer_of(configuration, self._observer),
            observer=self._observer,
            store=self.database,
            grouping=self.routing.router,
        )
        self.routing.begin(self.outbox, configuration)
        self.budget = ByteBudget(configuration.limits.in_flight_bytes, check=lambda: self.pipeline.admit(0))
        self._also = also
        self.editing = None if files is None else Editing(files)
        self.backtests = None if files is None else Backtests(files.path)
        self.events = Events()
        self._forwarder = _forwarder_of(configuration)
        self._log: SqliteLog | None = None
        self._ahead = 0
        """Spans from the future that former processes met."""
        self._snapshots: Snapshots | None = None
        self._show(loaded)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Status]:
        """Go on where the last process ended and run until the block ends.

        Then drain: receivers first, then evaluation, then notifications.

        Raises:
            ConfigError: an address can't be listened on, a contact point can't be built, or what is kept can't be used.
        """
        configuration = self.loaded.configuration
        telemetry.started(version=__version__, decoder=self.status.decoder)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.database)
            await self.routing.load()
            await self._open_log(stack)
            await stack.enter_async_context(self.blocks.running())
            await stack.enter_async_context(self.outbox)
            routers = (
                dead_letters_router(self.database, self.outbox),
                acknowledge_router(self.database, self.routing),
                silences_router(self.database, self.routing, self.idempotency.once),
                blocks_router(self.blocks, self.database, configuration.guard),
                *routers_of(self),
                *pages_of(self),
            )
            self._api = await stack.enter_async_context(serving_api(configuration.api, self.status, routers=routers))
            await self._reach(configuration)
            await self._recover()
            self.prices.start()
            try:
                async with self._evaluating(configuration):
                    yield self.status
            finally:
                self.events.close()
                self.prices.close()
                await self._end()

    async def _open_log(self, stack: AsyncExitStack) -> None:
        configuration = self.loaded.configuration
        if not configuration.journal.enabled:
            return
        directory = configuration.storage.directory / "journal"
        self._log = await asyncio.to_thread(SqliteLog.open, directory, configuration.journal, self._log_changed)
        stack.push_async_callback(self._log.close)
        await asyncio.to_thread(_note_recorded, self.loaded)

    async def _recover(self) -> None:
        """Take the engine from what was kept, and make the pipeline around it."""
        configuration = self.loaded.configuration
        replayed = 0
        if self._log is not None:
            recovery = await recover(
                self._log, self.loaded.rules, configuration.trace, configuration.limits, self._publish
            )
            self.engine = recovery.engine
            self.watch.thaw(recovery.self_alerts)
            self._ahead = self.engine.statistics.future
            replayed = recovery.records
        self.pipeline = Pipeline(
            stages_of(self.loaded, self.prices),
            self.engine,
            self._publish,
            log=self._log,
            onward=None if self._forwarder is None else self._pass_on,
            in_flight_bytes=configuration.limits.in_flight_bytes,
            memory_bytes=configuration.limits.memory or 0,
        )
        if self._log is not None:
            interval = configuration.journal.snapshot_interval
            self._snapshots = Snapshots(
                self._log, self.engine, self.pipeline, self.watch, self.database.settled, interval
            )
            if replayed:
                self._snapshots.soon()  # else a crash loop would read more at each start
        telemetry.read_from(lambda: reading_of(self.engine.statistics, self.pipeline.in_flight_bytes))

    @asynccontextmanager
    async def _evaluating(self, configuration: Configuration) -> AsyncIterator[None]:
        """Receive and evaluate while the block runs."""
        receivers = otlp_receivers(
            configuration.receivers.otlp,
            self.pipeline,
            ReceiverTelemetry(self.watch),
            self.budget,
            metrics=self._pass_metrics_on,
            beside=GuardService(self.blocks, configuration.guard, self._api.tokens),
            drain_seconds=RECEIVER_DRAIN_SECONDS,
        )
        async with (
            self._forwarder.running() if self._forwarder is not None else nullcontext(),
            self.pipeline.running(),
            self._beside(),
            receivers as listening,
        ):
            self._listening = listening
            self.status.receivers = addresses_of(listening, self._api.address)
            self.status.ready = True
            try:
                yield
            finally:
                self.status.stopping = True

    @asynccontextmanager
    async def _beside(self) -> AsyncIterator[None]:
        """Take snapshots and watch over the service itself while the block runs."""
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._look_after(), name="self-watch"),
                tasks.create_task(self.routing.run(), name="routing"),
            ]
            if self._snapshots is not None:
                running.append(tasks.create_task(self._snapshots.run(), name="snapshots"))
            try:
                yield
            finally:
                for task in running:
                    task.cancel()

    def _pass_on(self, signal: Signal, data: bytes, arrival: int) -> "asyncio.Future[bool] | None":
        return None if self._forwarder is None else self._forwarder.offer(signal, data, arrival=arrival)

    async def _pass_metrics_on(self, data: bytes) -> bool:
        queued = None if self._forwarder is None else self._forwarder.offer("metrics", data)
        if queued is not None:
            await asyncio.shield(queued)
        return queued is not None

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(SELF_WATCH_SECONDS)
            watch, counted = self.watch, self.engine.statistics
            for part, reason in self._parts().items():
                watch.degraded(part, reason)
            watch.future(counted.future - self._ahead, self.pipeline.spans)
            watch.unpriced(self.prices.unpriced())
            tell(watch, time.time_ns(), self._publish)

    async def _end(self) -> None:
        if self._snapshots is not None:
            try:
                async with asyncio.timeout(SNAPSHOT_SECONDS):
                    await self._snapshots.take()
            except TimeoutError:
                recovery_telemetry.snapshot_given_up(seconds=SNAPSHOT_SECONDS)
        undelivered = await self.outbox.drain(OUTBOX_DRAIN_SECONDS)
        telemetry.service_stopped(undelivered=undelivered)

    def _parts(self) -> dict[str, str | None]:
        """Return what keeps things on disk, and why it does not at present."""
        return {
            "journal": self._journal_degraded(),
            "storage": self.database.degraded,
            "forward": None if self._forwarder is None else self._forwarder.degraded,
        }

    def _journal_degraded(self) -> str | None:
        if self._log is None or self._snapshots is None:
            return None
        if self._log.degraded is None and self._snapshots.gap:
            return "it keeps what is accepted again, and a snapshot of what it could not keep is not written yet"
        return self._log.degraded

    def _degraded(self) -> dict[str, str]:
        return {part: reason for part, reason in self._parts().items() if reason is not None}

    def _log_changed(self, degraded: str | None) -> None:
        if self._snapshots is not None:
            self._snapshots.log_changed(degraded)

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
        self.routing.adopt(new)
        await self.pipeline.swap(stages, outcome.rules, await asyncio.to_thread(dump_rules, outcome.rules))
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
        if self._log is not None:
            await asyncio.to_thread(_note_recorded, outcome)
        self._api.adopt(new.api)
        self._listening.adopt(new.receivers.otlp)
        self.watch.reconfigure(new.self_alerts, new.contact_points)
        self.loaded = outcome
        self._show(outcome)
        telemetry.configuration_taken(rules=len(outcome.rules), warnings=outcome.warnings, reload=True)

    async def _reach(self, configuration: Configuration) -> None:
        await self.outbox.reconfigure(
            configuration.contact_points,
            Network(allow_private=configuration.network.allow_private),
            writer=_writer_of(configuration, self._observer),
        )

    def _attempts_of(self, event_id: str) -> Sequence[AttemptRecord]:
        return self.outbox.attempts(event_id)

    def _publish(self, event: AlertEvent) -> None:
        self.blocks.act(event)
        event = self.routing.publish(event)
        self.events.alert(event)
        if self._also is not None:
            self._also(event)

    def _refuse(self, error: ConfigError) -> None:
        self.status.rule_errors = error.problems
        self.watch.configuration(error.problems)
        telemetry.configuration_refused(problems=error.problems)

    def _show(self, loaded: Loaded) -> None:
        self.status.rules = len(loaded.rules)
        self.status.contact_points = tuple(loaded.configuration.contact_points)
        self.status.rule_errors = ()
        self.watch.configuration(())


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
    settle()
    keep_memory_private()
    allow_many_connections()
    service = Service(loaded, files=watcher)
    stop = asyncio.Event()
    with _signals(stop, watcher):
        async with service.running() as status, asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(follow(watcher, service), name="watcher")
            keep_what_is_there()
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


def _note_recorded(loaded: Loaded) -> None:
    """Write down what is recorded from now on; where that fails, only those who ask for it later are told less."""
    configuration = loaded.configuration
    try:
        note_recorded(
            configuration.storage.directory / "journal",
            configuration.history.recording(),
            _read(loaded),
            time.time_ns(),
        )
    except OSError as error:
        history_telemetry.note_failed(reason=error.strerror or str(error))


def _read(loaded: Loaded) -> Needs:
    """Return what is read of spans: by rules, and to know whose live spend it is."""
    needs = needs_of(loaded.rules)
    return Needs(needs.labels | {*FOLLOWED}, needs.numbers)


def stages_of(loaded: Loaded, prices: PriceBook) -> Stages:
    """Return the way from bytes to priced columns for these rules: only what they read or is recorded is decoded."""
    read = _read(loaded)
    needs = Needs(read.labels | prices.needs.labels, read.numbers | prices.needs.numbers)
    # Without a journal nothing is recorded: then only what rules read is decoded.
    recording = loaded.configuration.history.recording() if loaded.configuration.journal.enabled else NOTHING
    normalizer = Normalizer(needs, loaded.configuration.attributes, recording)
    forward = loaded.configuration.forward.otlp
    return Stages(
        decode.decoder(normalizer.projection), normalizer, prices, add_cost=forward is not None and forward.add_cost
    )


def addresses_of(listening: Listening, api: str) -> dict[str, str]:
    """Return name -> HOST:PORT of everything that listens."""
    receivers = {"grpc": listening.grpc, "http": listening.http}
    return {name: str(endpoint) for name, endpoint in receivers.items() if endpoint is not None} | {"api": api}


def _writer_of(configuration: Configuration, observer: DeliveryTelemetry) -> MessageWriter:
    return MessageWriter(
        trace_url=configuration.trace_url,
        public_url=configuration.api.public_url,
        observer=observer,
    )


def _forwarder_of(configuration: Configuration) -> Forwarder | None:
    forward = configuration.forward.otlp
    if forward is None:
        return None
    return Forwarder(forward, configuration.storage.directory / "forward", sync=configuration.journal.sync)


def _fixed_in_engine(old: Configuration, new: Configuration) -> list[str]:
    """Return the keys that differ and that the engine reads once, when it is made."""
    return [
        f"{section}.{key}"
        for section in ("trace", "limits")
        for key, value in getattr(old, section)
        if getattr(getattr(new, section), key) != value and key not in _CHANGED_AT_ONCE
    ]


async def follow(watcher: Watcher, service: Service) -> None:
    """Take over each edit of the files, until it is cancelled."""
    async for outcome in watcher.changes():
        try:
            await service.adopt(outcome)
        except Exception as error:  # noqa: BLE001  # an edit must not end the service
            telemetry.internal_error(stage="reload", error=error)
        if service.editing is not None:
            await service.editing.settled(service.status.rule_errors)
        service.events.state({"rules": service.status.rules, "rule_errors": list(service.status.rule_errors)})


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
