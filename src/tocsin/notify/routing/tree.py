"""Routes: from an alert's labels to contact points, as Alertmanager's tree of routes.

An alert goes down the first branch whose matchers hold, and into later ones too where that branch says `continue`. The
deepest route that matches on a branch decides; what it leaves out it has from the route above it.
"""

import hashlib
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated, ClassVar, Final

from pydantic import BeforeValidator, Field

from tocsin.model.settings import Duration, Settings
from tocsin.notify.routing.matchers import Matchers, MatchesConfig, matches

__all__ = ["Destination", "Hold", "RouteConfig", "Tree", "missing_names"]

_INTERVAL: Final = timedelta(minutes=5)


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class RouteConfig(Settings):
    """One entry of `routes:`. What is None is as in the route above."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "receiver": "contact_points",
        "notify": "contact_points",
        "match": "matchers",
        "match_re": "matchers",
        "mute_time_intervals": "mute_timings",
    }

    matchers: MatchesConfig = ()
    """All must hold; none: every alert."""
    contact_points: Names | None = None
    continue_: bool = Field(default=False, alias="continue")
    """Whether later routes beside this one are tried too."""
    group_by: Names | None = None
    """Labels: alerts that have the same values are one incident, with messages of its own. `[]`: all are one."""
    group_wait: Duration | None = None
    """How long an incident's first message waits for further alerts."""
    group_interval: Duration | None = Field(default=None, gt=timedelta())
    """Between an incident's messages."""
    repeat_interval: Duration | None = None
    """Reminders of an alert that come sooner after its last message are left out."""
    mute_timings: Names | None = None
    routes: "tuple[RouteConfig, ...]" = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """The incident that an alert belongs to, and when its messages are sent. Seconds."""

    key: str
    """The same for the same route and values in any process: `inc_` and 32 hex digits."""
    name: str
    """What its alerts have in common: `team=support`."""
    wait: float
    interval: float
    notice: bool = False
    """One message about alerts that have others of their own, like that of a silence's end."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A contact point that a route leads to."""

    contact_point: str
    route: str
    """The matchers on the way, as text."""
    hold: Hold | None
    """None: each alert has messages of its own."""
    mute_timings: tuple[str, ...]
    repeat_seconds: float


@dataclass(frozen=True, slots=True)
class _Route:
    """A route with all that it has from above filled in."""

    matchers: Matchers
    path: str
    contact_points: tuple[str, ...]
    goes_on: bool
    group_by: tuple[str, ...] | None
    wait: float
    interval: float
    repeat: float
    mute_timings: tuple[str, ...]
    routes: "tuple[_Route, ...]"


class Tree:
    """All routes."""

    def __init__(self, routes: tuple[RouteConfig, ...] = ()) -> None:
        top = _Route(
            matchers=(),
            path="",
            contact_points=(),
            goes_on=False,
            group_by=None,
            wait=0.0,
            interval=_INTERVAL.total_seconds(),
            repeat=0.0,
            mute_timings=(),
            routes=(),
        )
        self._routes = tuple(_filled(route, top) for route in routes)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._routes)

    def destinations(self, labels: Mapping[str, str]) -> tuple[Destination, ...]:
        """Return whom to tell of an alert with these labels, each once: by the first route that leads there."""
        found: dict[str, Destination] = {}
        for route in _matching(self._routes, labels):
            for name in route.contact_points:
                found.setdefault(name, _destination(route, name, labels))
        return tuple(found.values())


def missing_names(
    routes: tuple[RouteConfig, ...], contact_points: Container[str], timings: Container[str], where: str = "routes"
) -> str | None:
    """Return what is wrong with the first name that stands for nothing, or None."""
    for at, route in enumerate(routes):
        place = f"{where}.{at}"
        for name in route.contact_points or ():
            if name not in contact_points:
                return f"{place}.contact_points: there is no contact point {name!r}; add it or take it out"
        for name in route.mute_timings or ():
            if name not in timings:
                return f"{place}.mute_timings: there is no {name!r}; add it under mute_timings"
        if found := missing_names(route.routes, contact_points, timings, f"{place}.routes"):
            return found
    return None


def _filled(config: RouteConfig, above: _Route) -> _Route:
    def seconds(own: timedelta | None, inherited: float) -> float:
        return inherited if own is None else own.total_seconds()

    said = ",".join(map(str, config.matchers))
    route = _Route(
        config.matchers,
        f"{above.path}/{{{said}}}" if above.path else f"{{{said}}}",
        above.contact_points if config.contact_points is None else config.contact_points,
        config.continue_,
        above.group_by if config.group_by is None else config.group_by,
        seconds(config.group_wait, above.wait),
        seconds(config.group_interval, above.interval),
        seconds(config.repeat_interval, above.repeat),
        above.mute_timings if config.mute_timings is None else config.mute_timings,
        (),
    )
    return replace(route, routes=tuple(_filled(one, route) for one in config.routes))


def _matching(routes: tuple[_Route, ...], labels: Mapping[str, str]) -> Iterator[_Route]:
    """Yield the deepest matching routes of each branch, as Alertmanager's `Route.Match`."""
    for route in routes:
        if not matches(route.matchers, labels):
            continue
        deeper = list(_matching(route.routes, labels))
        yield from deeper or [route]
        if not route.goes_on:
            return


def _destination(route: _Route, contact_point: str, labels: Mapping[str, str]) -> Destination:
    hold = None
    if route.group_by is not None and "..." not in route.group_by:
        values = [(name, labels.get(name, "")) for name in route.group_by]
        name = ", ".join(f"{label}={value}" for label, value in values) or "all alerts"
        hold = Hold(_key_of(route.path, values), name, route.wait, route.interval)
    return Destination(contact_point, route.path, hold, route.mute_timings, route.repeat)


def _key_of(path: str, values: list[tuple[str, str]]) -> str:
    # Lengths before texts: no two lists of parts may read the same.
    text = "".join(f"{len(part)}:{part}" for part in (path, *(part for pair in values for part in pair)))
    return "inc_" + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
