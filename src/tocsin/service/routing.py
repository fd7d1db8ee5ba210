"""Routing of a running service: the router, the outbox behind it, and the database that both remember in.

An event is routed at once and from memory. A task beside reads silences and acknowledgements that another process or
the command line wrote, and tells of silences that ended.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.errors import OverloadedError
from tocsin.notify.outbox import Outbox
from tocsin.notify.routing.matchers import Matchers
from tocsin.notify.routing.router import Plan, Router
from tocsin.notify.routing.silences import Silence
from tocsin.notify.routing.tree import Hold, Tree
from tocsin.notify.template import literal
from tocsin.service.config import Configuration
from tocsin.storage import routing as stored
from tocsin.storage import silences as stored_silences
from tocsin.storage.database import Database
from tocsin.telemetry import routing as telemetry

__all__ = ["Routing", "plan_of"]

LOOK_SECONDS: Final = 1.0
"""How soon a silence of another process counts here."""
LOAD_SECONDS: Final = 10.0


def plan_of(configuration: Configuration) -> Plan:
    """Return what a configuration says of routing."""
    return Plan(
        Tree(configuration.routes),
        configuration.mute_timings,
        configuration.inhibit_rules,
        {name: contact.mute_timings for name, contact in configuration.contact_points.items()},
    )


class Routing:
    """Decides of each event, has it sent, and keeps why. Made before the outbox, which asks it what goes together."""

    def __init__(self, database: Database, clock: Callable[[], int] = time.time_ns) -> None:
        self._database = database
        self._clock = clock
        self._outbox: Outbox | None = None
        self._look = asyncio.Event()
        self.router = Router(self._heard)

    def begin(self, outbox: Outbox, configuration: Configuration) -> None:
        """Send through this outbox from now on."""
        self._outbox = outbox
        self.adopt(configuration)

    def adopt(self, configuration: Configuration) -> None:
        """Go on with another configuration."""
        self.router.adopt(plan_of(configuration))

    async def load(self) -> None:
        """Take what a former process left; where the database is down, go on without: then nothing is held back."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOAD_SECONDS):
                await self._load()

    async def _load(self) -> None:
        now = self._clock()
        try:
            async with self._database.connection() as connection:
                active = await stored.active_alerts(connection)
                decided = await stored.decided_events(connection, now)
                silences = await stored_silences.live_silences(connection, now)
        except (OverloadedError, SQLAlchemyError) as error:
            telemetry.routing_not_loaded(reason=str(error))
            return
        self.router.load(active, decided)
        self.router.silences.replace(silences)

    def publish(self, event: AlertEvent) -> AlertEvent:
        """Record an event and send it to whom it concerns; return it as it was recorded. Never waits."""
        routed = self.router.decide(event, self._clock())
        if routed is None:
            self._database.record(event)  # once more: what is there stays
            return event
        self._database.record(routed.event)
        self._send(routed.event)
        if routed.decision.contact_points or routed.decision.held:
            for held in routed.decision.held:
                telemetry.notification_held(reason=held.reason.value)
            self._database.decided(routed.decision)
        return routed.event

    def _send(self, event: AlertEvent, notice: Hold | None = None) -> None:
        if self._outbox is not None:
            self._outbox.publish(event, notice)

    def _heard(self, contact_point: str, alert_id: str) -> bool:
        return self._outbox is not None and self._outbox.heard(contact_point, alert_id)

    # What people do

    async def silence(self, made: Silence) -> None:
        """Keep a silence, in force at once.

        Raises:
            OverloadedError: the database can't be used at present.
        """
        await self._database.change(lambda connection: stored_silences.add_silence(connection, made))
        self.router.silences.put(made)

    async def end_silence(self, silence_id: str, who: str, version: str | None = None) -> bool:
        """End a silence now; return whether it was pending or active, and of that version where one is given.

        Raises:
            OverloadedError: the database can't be used at present.
        """
        at = self._clock()
        ended = await self._database.change(
            lambda connection: stored_silences.end_silence(connection, silence_id, who, at, version=version)
        )
        self._look.set()
        return ended

    def matching(self, matchers: Matchers) -> list[AlertEvent]:
        """Return the alerts that fire and that a silence would hold back."""
        return self.router.matching(matchers)

    async def acknowledge(self, alert_id: str, who: str) -> bool:
        """Note that somebody looks after an alert; return whether nobody did before.

        Who follows the alert elsewhere is told there.

        Raises:
            OverloadedError: the database can't be used at present.
        """
        at = self._clock()
        first = await self._database.change(lambda connection: stored.acknowledge(connection, alert_id, who, at))
        active = self.router.acknowledge(alert_id, who) if first else None
        if active is not None and self._outbox is not None:
            names = tuple(name for name in self._outbox.acknowledging if self._heard(name, alert_id))
            if names:
                self._send(_acknowledgement(active.event, who, names, at))
        return first

    # Beside

    async def run(self) -> None:
        """Look for what other processes wrote, and tell of silences that ended, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._look.wait()
            self._look.clear()
            try:
                await self.look()
            except (OverloadedError, SQLAlchemyError) as error:
                telemetry.routing_not_loaded(reason=str(error))

    async def look(self) -> None:
        """Take silences and acknowledgements as they are now, and tell of ends.

        Raises:
            OverloadedError: the database can't be used at present.
        """
        async with self._database.connection() as connection:
            silences = await stored_silences.live_silences(connection, self._clock())
            acknowledged = await stored.acknowledged(connection)
        self.router.silences.replace(silences)
        for alert_id, who in acknowledged.items():
            self.router.acknowledge(alert_id, who)
        for silence in self.router.silences.ended(self._clock()):
            self._tell_end(silence)
            await self._database.settled()  # the message is owed before its silence counts as told
            await self._database.change(lambda connection, one=silence: stored_silences.end_told(connection, one.id))  # type: ignore[misc]
            self.router.silences.drop(silence.id)

    def _tell_end(self, silence: Silence) -> None:
        routed = self.router.after(silence, self._clock())
        telemetry.silence_ended(silence=silence.id, firing=len(routed))
        notice = _notice_of(silence)
        for one in routed:
            self._database.record(one.event)
            self._send(one.event, notice)
        for one in routed:
            self._database.decided(one.decision)


def _notice_of(silence: Silence) -> Hold:
    comment = f" ({silence.comment[:200]})" if silence.comment else ""
    return Hold("inc_" + silence.id.removeprefix("sil_"), f"silence {silence.id}{comment} ended", 0.0, 1.0, notice=True)


def _acknowledgement(event: AlertEvent, who: str, contact_points: Sequence[str], at: int) -> AlertEvent:
    digest = hashlib.blake2b(f"{event.alert_id} acknowledged {at}".encode(), digest_size=16).hexdigest()
    return replace(
        event,
        id=f"evt_{digest}",
        transition=Transition.ACKNOWLEDGED,
        rule=replace(event.rule, summary=literal(f"acknowledged by {who}: no reminders until it ends")),
        escalated_from=None,
        notify=tuple(contact_points),
        event_to_arrival_ns=None,
        arrival_to_detection_ns=None,
        detected_at=at,
    )
