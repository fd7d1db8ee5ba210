"""What routes that change the files share: preconditions, and errors as answers."""

import math
from collections.abc import Callable, Mapping
from datetime import date
from typing import Annotated, Any

from fastapi import Header, HTTPException
from fastapi.responses import JSONResponse

from tocsin.api.editing import Decide, Fields, MissingError, RejectedError, TakenError, UnwritableError, WrittenItem
from tocsin.api.problems import problem
from tocsin.errors import TocsinError

__all__ = ["Body", "ChangedError", "IfMatch", "answered", "demanded", "etag", "shown"]

IfMatch = Annotated[str | None, Header(max_length=1024, description="The ETag that is changed; else 412.")]
Body = dict[str, Any]


class ChangedError(TocsinError):
    """It is not what the client saw."""


def demanded(if_match: str | None, make: Callable[[WrittenItem], Fields | None]) -> Decide:
    """Return what decides on a change of something that has to be there, and be what the client saw."""

    def decide(before: WrittenItem | None) -> Fields | None:
        if before is None:
            raise MissingError
        check_tag(if_match, before)
        return make(before)

    return decide


def check_tag(if_match: str | None, before: WrittenItem | None) -> None:
    """Check `If-Match`.

    Raises:
        TocsinError: it does not match; `answered` makes it a 412.
    """
    if if_match is None:
        return
    tags = [tag.strip() for tag in if_match.split(",")]
    if before is None or ("*" not in tags and etag(before) not in tags):
        raise ChangedError("it is not what it was when you read it; read it again, and make the change to that")


def etag(item: WrittenItem) -> str:
    """Return the entity tag of something as it is written."""
    return f'"{item.tag}"'


def answered(error: TocsinError) -> JSONResponse:
    """Return the answer to a change that was not made.

    Raises:
        HTTPException: there is nothing to change.
        TocsinError: it is no error of a change.
    """
    match error:
        case MissingError():
            if str(error):
                return problem(422, str(error))
            raise HTTPException(404)
        case RejectedError():
            return problem(422, "nothing was changed: " + str(error), errors=[one.document() for one in error.problems])
        case ChangedError():
            return problem(412, str(error))
        case TakenError() | UnwritableError():
            return problem(409, str(error))
        case _:
            raise error


def shown(value: object) -> Any:  # noqa: ANN401  # JSON
    """Return a value of a YAML file as JSON can show it."""
    match value:
        case Mapping():
            return {str(key): shown(each) for key, each in value.items()}
        case list() | tuple():
            return [shown(each) for each in value]
        case bool() | None:
            return value
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else str(value)
        case date():
            return value.isoformat()
        case _:
            return str(value).encode("utf-8", "replace").decode()
