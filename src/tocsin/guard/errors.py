"""What an application catches around a model call."""

from datetime import datetime

from tocsin.errors import TocsinError

__all__ = ["BlockedError", "GuardUnavailableError"]


class BlockedError(TocsinError):
    """A call must not be made: what it is for is blocked."""

    def __init__(
        self, *, label: str, value: str, reason: str, until: datetime | None, rule: str = "", alert_id: str = ""
    ) -> None:
        ending = "" if until is None else f" until {until:%Y-%m-%dT%H:%M:%SZ}"
        super().__init__(f"{label} {value!r} is blocked{ending}: {reason}")
        self.label = label
        self.value = value
        self.reason = reason
        self.until = until
        """In UTC, by the service's clock; None where nobody knows."""
        self.rule = rule
        """The rule that blocked it; empty where a person did."""
        self.alert_id = alert_id

    def __reduce__(self) -> tuple[object, ...]:
        """Errors cross processes, and this one takes no positional arguments."""
        return _remade, (type(self), self.args, self.__dict__)


class GuardUnavailableError(BlockedError):
    """Nobody knows whether it is blocked, and the guard was told to fail closed."""

    def __init__(self, reason: str) -> None:
        super().__init__(label="", value="", reason=reason, until=None)
        self.args = (f"it is not known what is blocked, and the guard fails closed: {reason}",)


def _remade(kind: type[BlockedError], args: tuple[str, ...], parts: dict[str, object]) -> BlockedError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(parts)
    return error
