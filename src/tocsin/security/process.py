"""What a process asks of the system for itself: no dumps of its memory, and as many open files as it may have."""

import contextlib
import ctypes
import sys
from typing import Final

__all__ = ["allow_many_connections", "keep_memory_private"]

_PR_SET_DUMPABLE: Final = 4
"""Of prctl(2)."""
_FILES: Final = 65_536


def keep_memory_private() -> None:
    """Leave no core dump behind, and let no other process of this user read our memory.

    Contact points need their secrets in the clear to use them, so a dump would hold them. On systems without these
    calls nothing happens; what a debugger of root reads is not prevented anywhere.
    """
    if sys.platform != "win32":
        import resource

        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            # Also where a pipe takes the dumps, which the limit does not stop (core(5)).
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def allow_many_connections() -> None:
    """Raise the soft limit of open files: the listeners' `max_connections` are more than the usual 1024.

    Where that is not permitted connections past the limit are closed, and the service goes on.
    """
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES if most < 0 else min(most, _FILES), most))
