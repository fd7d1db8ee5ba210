"""What the API shows of the service; the service keeps it up to date."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Status"]


@dataclass(slots=True)
class Status:
    """The service's state in words; written by the service, read by the API, both on one event loop."""

    version: str
    decoder: str
    """`native` or `reference`."""
    ready: bool = False
    """Every receiver listens, and rules are in force."""
    stopping: bool = False
    receivers: Mapping[str, str] = field(default_factory=dict)
    """Name -> address it listens on."""
    rules: int = 0
    contact_points: tuple[str, ...] = ()
    rule_errors: tuple[str, ...] = ()
    """Why the files as they are now are not in force: `file:line:column: what, and what to do`."""
    degraded: Callable[[], Mapping[str, str]] = dict
    """Gives the parts that do not do their work now, and why: spans are evaluated all the same."""
