"""What can go wrong, named by who has to act.

```
TocsinError
  ConfigError       the operator edits a file; the text begins with file:line:column
  DecodeError       the sender's bytes are not OTLP; the same bytes will fail again
  TooLargeError     the sender's request is over the size limit; the same request will fail again
  OverloadedError   a limit is reached; the sender may offer the batch later (.retry_after, seconds)
  DeliveryError     a contact point did not take a notification (.retryable, .retry_after)
  CorruptError      bytes on disk are not what was written; they are left out, and reported
  SnapshotError     a snapshot can't be used; an older one, or the log alone, may do
```
"""

__all__ = [
    "ConfigError",
    "CorruptError",
    "DecodeError",
    "DeliveryError",
    "OverloadedError",
    "SnapshotError",
    "TocsinError",
    "TooLargeError",
]


class TocsinError(Exception):
    """The root of every error that Tocsin raises on purpose."""


class ConfigError(TocsinError):
    """A configuration or rule file is wrong; each line of `problems` is one `file:line:col: what, and what to do`."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DecodeError(TocsinError):
    """The bytes are not an OTLP request; sending them again will fail again."""


class TooLargeError(TocsinError):
    """The request is over the size limit, counted after decompression."""


class OverloadedError(TocsinError):
    """A limit is reached now; the same request may succeed after `retry_after` seconds."""

    def __init__(self, message: str, *, reason: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


class DeliveryError(TocsinError):
    """A contact point did not take a notification.

    `retryable` says whether the same notification may be taken later; `retry_after` is the receiver's own wish in
    seconds, None where it had none.
    """

    def __init__(self, message: str, *, retryable: bool, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after = retry_after


class CorruptError(TocsinError):
    """Bytes that were read back are not those that were written."""


class SnapshotError(TocsinError):
    """A snapshot is torn, corrupt, or of a version that this program does not read."""
