"""Ids and look-ups of the compatible routes."""

import uuid
from collections.abc import Iterable
from typing import Any, Final

from fastapi import HTTPException

from tocsin.api.editing import Edits, WrittenItem
from tocsin.api.ruleset import key_of
from tocsin.security.roles import Principal
from tocsin.storage.alerts import AlertFilter, AlertRow, alerts
from tocsin.storage.database import Database

__all__ = ["found_by_id", "id_of_point", "id_of_rule", "recorded_alerts", "rules_of"]

_SPACE: Final = uuid.UUID("8d0f6d0e-3c58-5b0e-9a55-0f4f6b5f7a11")
"""Ours alone; ids would change with it."""


def id_of_rule(project: str, name: str) -> str:
    """Return the id of a rule."""
    return str(uuid.uuid5(_SPACE, f"rule:{len(project)}:{project}{name}"))


def id_of_point(name: str) -> str:
    """Return the id of a contact point."""
    return str(uuid.uuid5(_SPACE, f"contact point:{name}"))


async def rules_of(edits: Edits, who: Principal, project: str) -> list[WrittenItem]:
    """Return the rules of a project, none where it is not theirs to see."""
    if not who.sees(project):
        return []
    return [item for item in await edits.rules() if key_of(item)[0] == project]


async def found_by_id(edits: Edits, who: Principal, rule_id: str, *, project: str | None = None) -> WrittenItem:
    """Return a rule by its id.

    Raises:
        HTTPException: 404.
    """
    for item in await edits.rules():
        key = key_of(item)
        if project in (None, key[0]) and who.sees(key[0]) and id_of_rule(*key) == rule_id.lower():
            return item
    raise HTTPException(404)


async def recorded_alerts(database: Database, projects: Iterable[str] | None, **chosen: Any) -> list[AlertRow]:  # noqa: ANN401  # of AlertFilter
    """Return the thousand alerts of some projects that fired last.

    Raises:
        OverloadedError: the database can't be used now.
    """
    wanted = AlertFilter(projects=None if projects is None else frozenset(projects), **chosen)
    async with database.connection() as connection:
        return await alerts(connection, wanted, limit=1000)
