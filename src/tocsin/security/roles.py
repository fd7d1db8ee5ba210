"""Roles, and who somebody is once a token was recognised."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["ANONYMOUS", "Principal", "Role"]


class Role(StrEnum):
    """What somebody may do; `read`, `write` and `admin` each include the one before."""

    INGEST = "ingest"
    """Send OTLP, and nothing else."""
    READ = "read"
    """See alerts, rules, metrics and status."""
    WRITE = "write"
    """Change rules, silences and blocks, acknowledge alerts, and send dead letters again."""
    ADMIN = "admin"
    """Everything, contact points and sending OTLP included."""

    def permits(self, needed: "Role") -> bool:
        """Whether somebody with this role may do what `needed` stands for."""
        if self is Role.ADMIN or self is needed:
            return True
        return Role.INGEST not in (self, needed) and _RANKS[self] >= _RANKS[needed]


_RANKS = {Role.READ: 0, Role.WRITE: 1, Role.ADMIN: 2}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request."""

    name: str
    """Of the token, for logs; never the token."""
    role: Role
    projects: frozenset[str] | None = None
    """The only projects that exist for them; None: all."""

    def may(self, needed: Role, project: str | None = None) -> bool:
        """Whether they may do what `needed` stands for, in `project` where one is given."""
        return self.role.permits(needed) and (project is None or self.sees(project))

    def sees(self, project: str) -> bool:
        """Whether a project exists for them."""
        return self.projects is None or project in self.projects


ANONYMOUS = Principal("anonymous", Role.ADMIN)
"""Whoever reaches a listener that asks for no token: everything that can be done there is theirs."""
