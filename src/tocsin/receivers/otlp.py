"""Both OTLP receivers as one lifetime."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tocsin.errors import ConfigError
from tocsin.receivers.admission import Admission, ByteBudget, ReceiverObserver
from tocsin.receivers.config import Endpoint, OtlpReceiverConfig, endpoint_of
from tocsin.receivers.grpc import grpc_receiver
from tocsin.receivers.http import http_receiver
from tocsin.receivers.intake import Intake

__all__ = ["Listening", "otlp_receivers"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the receivers listen, with the ports that the system chose; None is one that is off."""

    grpc: Endpoint | None
    http: Endpoint | None


@asynccontextmanager
async def otlp_receivers(
    config: OtlpReceiverConfig,
    intake: Intake,
    observer: ReceiverObserver,
    budget: ByteBudget,
    *,
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
        drain_seconds: see above.

    Raises:
        ConfigError: an endpoint can't be listened on, or no request of the size allowed could ever be taken.
    """
    listeners = [each for each in (config.grpc, config.http) if each is not None]
    for listener in listeners:
        _check_budget(listener.max_request_size, budget)
        _warn_if_open(endpoint_of(listener.endpoint))
    admission = Admission(intake, observer, budget)
    async with AsyncExitStack() as stack:
        grpc = http = None
        if config.grpc is not None:
            grpc = await stack.enter_async_context(grpc_receiver(config.grpc, admission, drain_seconds=drain_seconds))
        if config.http is not None:
            http = await stack.enter_async_context(http_receiver(config.http, admission, drain_seconds=drain_seconds))
        yield Listening(grpc, http)


def _check_budget(max_request_size: int, budget: ByteBudget) -> None:
    # A compressed body is held beside what comes out of it, so a request needs up to twice the limit.
    if budget.limit < 2 * max_request_size:
        raise ConfigError(
            f"limits.in_flight_bytes is {budget.limit}, less than twice receivers.otlp max_request_size"
            f" ({max_request_size}), so the largest request might never be taken; change one of them"
        )


def _warn_if_open(endpoint: Endpoint) -> None:
    if not endpoint.is_loopback:
        _logger.warning(
            "OTLP is received on %s without TLS or authentication: whoever reaches it can send spans, raise"
            " alerts and use memory up to the limits; keep it on 127.0.0.1 or inside a trusted network",
            endpoint,
        )
