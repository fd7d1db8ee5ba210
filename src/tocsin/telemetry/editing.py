"""What happens where a program changes files that people write too."""

import logging

from tocsin.telemetry.log import log

__all__ = ["kept_beside"]


def kept_beside(*, file: str, kept: str) -> None:
    """Others wrote to a file twice while it was being changed; what the second writing displaced is kept beside it."""
    log(logging.WARNING, "a file was written while it was changed; what that displaced is kept", file=file, kept=kept)
