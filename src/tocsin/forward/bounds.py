"""What bounds a queue, on disk and in memory."""

from dataclasses import dataclass

__all__ = ["QueueLimits"]


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """What bounds a queue."""

    max_size: int
    """Bytes on disk."""
    max_age_ns: int
    memory: int = 64 * 1024 * 1024
    """Bytes of requests that are not on disk, for now or for want of one."""
    listed: int = 4096
    """Requests that are listed for sending."""
    listed_bytes: int = 32 * 1024 * 1024
    """Of those, bytes that are in memory although they are on disk."""

    @property
    def segment(self) -> int:
        """Bytes after which another file is begun: what is dropped at once when there is too much."""
        return min(16 * 1024 * 1024, self.max_size // 16)
