"""References: `${env:NAME}`, `${env:NAME:-default}` and `${file:PATH}` stand for texts kept elsewhere.

What they are replaced by is taken for a secret: it is remembered, so that no message shows it. `$${` is a
plain `${`.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from tocsin.rules.document import Substitution
from tocsin.rules.problems import closest
from tocsin.service.reading import Reading, ReadingError

__all__ = ["MAX_SECRET_BYTES", "References"]

MAX_SECRET_BYTES = 64 * 1024

_REFERENCE = re.compile(r"(?P<dollars>\$+)\{(?P<body>[^{}\n]*)\}")
_OF_QUERIES = frozenset({"start_time", "end_time", "interval"})
"""What a rule's SQL is filled in with; it is left as it is."""
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class References:
    """Replaces the references of one file."""

    def __init__(self, directory: Path, environ: Mapping[str, str], reading: Reading) -> None:
        """Relative paths of `${file:}` begin at `directory`, that of the file that they are written in."""
        self._directory = directory
        self._environ = environ
        self._reading = reading

    def substitute(self, text: str) -> Substitution:
        """Return the text with its references replaced, what was put in, and which could not be."""
        secrets: list[str] = []
        problems: list[str] = []

        def put_in(found: re.Match[str]) -> str:
            escaped = "$" * (len(found["dollars"]) // 2)
            if len(found["dollars"]) % 2 == 0:
                return f"{escaped}{{{found['body']}}}"
            try:
                value = self._value(found["body"])
            except ValueError as error:
                problems.append(str(error))
                return found[0]
            if value is None:
                return found[0]
            secrets.append(value)
            return escaped + value

        replaced = _REFERENCE.sub(put_in, text)
        return Substitution(replaced, tuple(secrets), tuple(problems))

    def _value(self, body: str) -> str | None:
        """What a reference stands for; None where it is none of ours."""
        kind, colon, rest = body.partition(":")
        if colon and kind == "env":
            return self._variable(rest)
        if colon and kind == "file":
            return self._file(rest)
        if body in _OF_QUERIES:
            return None
        if _ENV_NAME.fullmatch(body):
            raise ValueError(f"'${{{body}}}' names no source; write '${{env:{body}}}', or '$${{{body}}}' for the text")
        if colon and kind.lower() in ("env", "file", "environ", "secret"):
            raise ValueError(f"{kind!r} is no source; write '${{env:NAME}}' or '${{file:PATH}}'")
        return None

    def _variable(self, written: str) -> str:
        name, has_default, default = written.partition(":-")
        if not _ENV_NAME.fullmatch(name):
            raise ValueError(f"'${{env:{name[:80]}}}' is no variable's name; write '${{env:NAME}}'")
        value = self._environ.get(name)
        if has_default:
            return value or default
        if value is None:
            near = closest(name, self._environ)
            raise ValueError(
                f"environment variable {name!r} is not set; set it, or write '${{env:{name}:-default}}'{near}"
            )
        return value

    def _file(self, name: str) -> str:
        if not name:
            raise ValueError("'${file:}' names no file; write '${file:PATH}'")
        try:
            data = self._reading.read(self._directory / name, MAX_SECRET_BYTES)
            return data.decode().removesuffix("\n").removesuffix("\r")
        except ReadingError as error:
            raise ValueError(f"'${{file:{name}}}': {error}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"'${{file:{name}}}': not UTF-8 text; write it as text") from error
