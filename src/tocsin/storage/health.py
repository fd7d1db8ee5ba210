"""Whether the database can be used, said once when that changes."""

import time

from tocsin.storage.engines import reason_of
from tocsin.telemetry import storage as telemetry

__all__ = ["Health"]


class Health:
    """The state that the service shows; all that use the database tell it how it went."""

    def __init__(self) -> None:
        self._reason: str | None = None
        self._since = 0.0

    @property
    def reason(self) -> str | None:
        """Why the database can't be used; None while it can."""
        return self._reason

    def failed(self, error: BaseException) -> None:
        """It could not be used just now."""
        reason = reason_of(error)
        if self._reason is None:
            self._since = time.monotonic()
        if reason != self._reason:
            telemetry.storage_degraded(reason=reason)
        self._reason = reason

    def lost(self, why: str) -> None:
        """Changes are left out from now on."""
        telemetry.storage_degraded(reason=f"changes are lost: {why}")

    def worked(self) -> None:
        """It could be used just now."""
        if self._reason is not None:
            self._reason = None
            telemetry.storage_recovered(seconds=time.monotonic() - self._since)
