"""Both OTLP receivers as one lifetime."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from tocsin.errors import ConfigError
from tocsin.receivers.admission import Admission, ByteBudget, ReceiverObserver
from tocsin.receivers.authentication import Gate
from tocsin.receivers.config import (
    Endpoint,
    GrpcReceiverConfig,
    HttpReceiverConfig,
    OtlpReceiverConfig,
    endpoint_of,
)
from tocsin.receivers.grpc import Beside, grpc_receiver
from tocsin.receivers.http import http_receiver
from tocsin.receivers.intake import Intake, MetricsIntake
from tocsin.telemetry import security as events

__all__ = ["Listening", "otlp_receivers"]


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the receivers listen, with the ports that the system chose; None is one that is off."""

    grpc: Endpoint | None
    http: Endpoint | None
    gates: dict[str, Gate] = field(default_factory=dict, repr=False)

    def adopt(self, config: OtlpReceiverConfig) -> None:
        """Know the tokens of `config` from the next request on; all else of it needs a restart."""
        for name, listener in _listeners(config):
            if name in self.gates:
                self.gates[name].adopt(listener)


@asynccontextmanager
async def otlp_receivers(
    config: OtlpReceiverConfig,
    intake: Intake,
    observer: ReceiverObserver,
    budget: ByteBudget,
    *,
    metrics: MetricsIntake | None = None,
    beside: Beside | None = None,
    drain_seconds: float = 10.0,
) -> AsyncIterator[Listening]:
    """Receive OTLP while the block runs.

    At the end nothing new is taken; each receiver in its turn gives requests in flight `drain_seconds` to be
    answered, then refuses them with a retryable status. Afterwards the intake is not called again.

    Args:
        config: `receivers.otlp`.
        intake: takes the requests; must go on doing so until this block has ended.
        observer: counts what arrives and what is refused.
        budget: `limits.in_flight_bytes`, shared with whatever else receives.
        metrics: takes metrics; None: they are dropped, and their senders told so.
        beside: a service of ours on the gRPC listener; None: OTLP alone.
        drain_seconds: see above.

    Raises:
        ConfigError: an endpoint can't be listened on, or no request of the size allowed could ever be taken.
    """
    gates = {name: Gate(listener) for name, listener in _listeners(config)}
    for name, listener in _listeners(config):
        _check_budget(listener.max_request_size, budget)
        _say_how_open(name, listener)
    admission = Admission(intake, observer, budget, metrics)
    async with AsyncExitStack() as stack:
        grpc = http = None
        if config.grpc is not None:
            receiver = grpc_receiver(config.grpc, admission, gates["grpc"], drain_seconds=drain_seconds, beside=beside)
            grpc = await stack.enter_async_context(receiver)
        if config.http is not None:
            receiver = http_receiver(config.http, admission, gates["http"], drain_seconds=drain_seconds)
            http = await stack.enter_async_context(receiver)
        yield Listening(grpc, http, gates)


def _listeners(config: OtlpReceiverConfig) -> list[tuple[str, GrpcReceiverConfig | HttpReceiverConfig]]:
    pairs = (("grpc", config.grpc), ("http", config.http))
    return [(name, listener) for name, listener in pairs if listener is not None]


def _check_budget(max_request_size: int, budget: ByteBudget) -> None:
    # A compressed body is held beside what comes out of it, so a request needs up to twice the limit.
    if budget.limit < 2 * max_request_size:
        raise ConfigError(
            f"limits.in_flight_bytes is {budget.limit}, less than twice receivers.otlp max_request_size"
            f" ({max_request_size}), so the largest request might never be taken; change one of them"
        )


def _say_how_open(name: str, listener: GrpcReceiverConfig | HttpReceiverConfig) -> None:
    if endpoint_of(listener.endpoint).is_loopback:
        return
    place = f"receivers.otlp.{name}"
    if listener.allow_unauthenticated:
        events.listener_is_open(listener=place, endpoint=listener.endpoint)
    elif listener.tls is None:
        events.tokens_in_the_clear(listener=place, endpoint=listener.endpoint)
