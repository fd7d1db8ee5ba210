"""`tocsin.v1.Guard` over gRPC: questions, and streams of what is blocked.

A watcher has no queue here: it goes on from the version it has seen, at its own pace, and gets everything anew where
it is too far behind. So one that does not read costs one stream and nothing else.
"""

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Never

import grpc

from tocsin.guard import guard_pb2
from tocsin.guard.block import Block
from tocsin.guard.blocks import Blocks
from tocsin.guard.config import GuardConfig
from tocsin.guard.telling import Part, told_since
from tocsin.security.roles import ANONYMOUS, Principal, Role
from tocsin.security.tokens import Tokens, bearer_of
from tocsin.telemetry import guard as telemetry

__all__ = ["NAME", "GuardService", "seen_by"]

NAME: Final = "tocsin.v1.Guard"
MOST_LABELS: Final = 32


class GuardService:
    """The methods of the service, by path. One event loop owns it."""

    name = NAME

    def __init__(self, blocks: Blocks, config: GuardConfig, tokens: Tokens | None = None) -> None:
        """Make it.

        Args:
            blocks: what it tells of.
            config: how many may watch, and how often they hear from us.
            tokens: the API's; where there are none, the listener says who may call.
        """
        self._blocks = blocks
        self._tokens = tokens if tokens is not None else Tokens()
        self._limit = config.max_watchers
        self._heartbeat = config.heartbeat.total_seconds()
        self._watchers = 0
        self._draining = False
        self.handlers: Mapping[str, Any] = {
            f"/{NAME}/Check": grpc.unary_unary_rpc_method_handler(
                self.check, guard_pb2.CheckRequest.FromString, guard_pb2.CheckResponse.SerializeToString
            ),
            f"/{NAME}/Watch": grpc.unary_stream_rpc_method_handler(
                self.watch, guard_pb2.WatchRequest.FromString, guard_pb2.WatchResponse.SerializeToString
            ),
        }

    @property
    def asks(self) -> bool:
        """Whether it asks for a token itself; else the listener does as for any call."""
        return bool(self._tokens)

    def drain(self) -> None:
        """End all watches; watchers come back to whoever serves next."""
        self._draining = True
        self._blocks.feed.wake()

    async def check(self, request: guard_pb2.CheckRequest, context: Any) -> guard_pb2.CheckResponse:  # noqa: ANN401
        """Answer `Check`."""
        who = await self._identified(context)
        if not 0 < len(request.labels) <= MOST_LABELS:
            await _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"give 1 to {MOST_LABELS} labels", "malformed")
        block = self._blocks.check(request.labels)
        telemetry.checked(via="grpc", blocked=block is not None)
        if block is None:
            return guard_pb2.CheckResponse()
        return guard_pb2.CheckResponse(blocked=True, block=_message(seen_by(who, block)))

    async def watch(
        self,
        request: guard_pb2.WatchRequest,
        context: Any,  # noqa: ANN401  # as the stubs type it
    ) -> AsyncIterator[guard_pb2.WatchResponse]:
        """Answer `Watch`."""
        who = await self._identified(context)
        if who.projects is not None:
            text = "a watcher sees what is blocked in all projects; use a token that is not bound to some"
            await _refuse(context, grpc.StatusCode.PERMISSION_DENIED, text, "forbidden")
        if self._watchers >= self._limit:
            text = "too many watch already; see guard.max_watchers"
            await _refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, text, "watchers")
        self._watchers += 1
        telemetry.watchers_counted(number=self._watchers)
        try:
            async for answer in self._told(request):
                yield answer
        finally:
            self._watchers -= 1
            telemetry.watchers_counted(number=self._watchers)

    async def _told(self, request: guard_pb2.WatchRequest) -> AsyncIterator[guard_pb2.WatchResponse]:
        feed = self._blocks.feed
        version = request.version if request.instance == feed.instance else -1
        due = 0.0
        while not self._draining:
            changes = feed.since(version)
            if changes is None or changes or time.monotonic() >= due:
                parts = told_since(self._blocks, version)
                version = parts[-1].version
                for part in parts:
                    yield _answer(part)
                due = time.monotonic() + self._heartbeat
            if not self._draining:  # it may have begun while an answer was on its way
                await feed.after(version, max(due - time.monotonic(), 0.0))

    async def _identified(self, context: Any) -> Principal:  # noqa: ANN401
        if self._draining:
            await _refuse(context, grpc.StatusCode.UNAVAILABLE, "the service is stopping", "stopping")
        if not self._tokens:
            return ANONYMOUS
        metadata = context.invocation_metadata() or ()
        values = [_text(value) for key, value in metadata if key == "authorization"]
        principal = self._tokens.find(bearer_of(values))
        if principal is None:
            code, text = grpc.StatusCode.UNAUTHENTICATED, "a token of the API is needed: authorization: Bearer …"
            await _refuse(context, code, text, "unauthenticated")
        elif not principal.may(Role.READ):
            code, text = grpc.StatusCode.PERMISSION_DENIED, "this token may not read; use one of the API that may"
            await _refuse(context, code, text, "forbidden")
        else:
            return principal
        raise AssertionError("abort always raises")


def seen_by(who: Principal, block: Block) -> Block:
    """Return a block as somebody may see it: that it is there concerns all, why and whose it is not."""
    if who.projects is None or (block.project is not None and who.sees(block.project)):
        return block
    return Block("", block.label, block.value, "blocked", "", 0, block.until)


async def _refuse(context: Any, code: grpc.StatusCode, text: str, reason: str) -> Never:  # noqa: ANN401
    telemetry.watch_refused(reason=reason)
    await context.abort(code, text)
    raise AssertionError("abort always raises")


def _answer(part: Part) -> guard_pb2.WatchResponse:
    answer = guard_pb2.WatchResponse(
        instance=part.instance,
        version=part.version,
        now_unix_nano=part.now,
        reset=part.reset,
        complete=part.complete,
        blocked=[_message(block) for block in part.blocked],
    )
    for label, value in part.removed:
        answer.removed.add(label=_sendable(label), value=_sendable(value))
    return answer


def _message(block: Block) -> guard_pb2.Block:
    return guard_pb2.Block(
        block_id=block.id,
        label=_sendable(block.label),
        value=_sendable(block.value),
        reason=_sendable(block.reason),
        until_unix_nano=min(block.until, 2**63 - 1),
        by=_sendable(block.by),
        project=_sendable(block.project or ""),
        rule=_sendable(block.rule or ""),
        alert_id=block.alert_id or "",
    )


def _sendable(text: str) -> str:
    """A protobuf's text has no lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
