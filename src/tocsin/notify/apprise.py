"""Contact point `apprise`: any service that Apprise knows, by its URL.

Apprise runs in a process of its own for each message (`apprise_child`), where connections are judged and what hangs is
killed. It says yes or no and nothing more, so why a service refused is read from what it logs: an answer of 4xx is
final, everything else may work later. Who took a message is remembered, and a retry goes to the others alone.
"""

import asyncio
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Final, Literal
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, SecretStr

from tocsin.alerts.event import Transition
from tocsin.errors import DeliveryError
from tocsin.notify.contact import Answer, Attempt, ContactConfig
from tocsin.notify.egress import Network
from tocsin.notify.message import Message
from tocsin.notify.wording import clean
from tocsin.rules.rule import Severity

__all__ = ["Apprise", "AppriseConfig"]

_COMMAND: Final = (sys.executable, "-m", "tocsin.notify.apprise_child")
_SCHEME: Final = re.compile(r"([A-Za-z0-9]{1,32})://\S+")
_STATUS: Final = re.compile(r"error[=:]\s?(\d{3})\b")
_LATER: Final = frozenset({408, 425, 429})
_MOST_URLS: Final = 20
_REMEMBERED: Final = 1_000
"""Messages that some services took and some may still take."""
_CHECK_SECONDS: Final = 60.0
_SECRET_LENGTH: Final = 6
"""Characters; what is shorter is a word of the address."""
_KEPT: Final = (
    "HOME",
    "LANG",
    "LC_ALL",
    "PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "SYSTEMROOT",
    "TZ",
)
"""Of the environment: no secrets that it may hold, and no proxies."""


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _checked_urls(urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if not 1 <= len(urls) <= _MOST_URLS:
        raise ValueError(f"give 1 to {_MOST_URLS} addresses")
    for number, url in enumerate(urls, 1):
        text = url.get_secret_value()
        if not _SCHEME.fullmatch(text) or not text.isprintable():
            raise ValueError(f"address {number} is none of Apprise's; write it like discord://webhook_id/webhook_token")
    if importlib.util.find_spec("apprise") is None:
        raise ValueError("type apprise needs its library, which is not installed: pip install 'tocsin[apprise]'")
    if problem := _problem_of(tuple(url.get_secret_value() for url in urls)):
        raise ValueError(problem)
    return urls


@lru_cache(maxsize=64)
def _problem_of(urls: tuple[str, ...]) -> str | None:
    """Return why Apprise does not take an address; nothing is sent. It takes most of a second, once.

    Raises:
        ValueError: Apprise does not run.
    """
    try:
        done = subprocess.run(  # noqa: S603  # our own program
            _COMMAND,
            input=json.dumps({"urls": urls, "allow_private": False}).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            timeout=_CHECK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"Apprise does not run ({type(error).__name__}); is it installed whole?") from None
    answers = _answers_in(done.stdout)
    for number in range(len(urls)):
        if number not in answers:
            raise ValueError("Apprise does not run; install it anew: pip install 'tocsin[apprise]'")
        if answers[number].get("taken") is not True:
            said = str(answers[number].get("said") or "it is not complete, or of no service")
            return f"Apprise does not take {_named(urls, number)}: {_without(_secrets_of(urls), said)}"
    return None


class AppriseConfig(ContactConfig):
    """A contact point of type apprise."""

    type: Literal["apprise"]
    urls: Annotated[tuple[SecretStr, ...], BeforeValidator(_listed), AfterValidator(_checked_urls)]
    """Apprise's addresses, like `discord://webhook_id/webhook_token`: one, or a list."""

    def build(self, network: Network) -> "Apprise":
        """Return what sends."""
        return Apprise(self, network)


class Apprise:
    """Tells services through Apprise."""

    def __init__(self, config: AppriseConfig, network: Network) -> None:
        self._urls = [url.get_secret_value() for url in config.urls]
        self._timeout = config.timeout.total_seconds()
        self._allow_private = config.allow_private or network.allow_private
        self._secrets = _secrets_of(self._urls)
        self._settled: OrderedDict[str, dict[int, str]] = OrderedDict()
        """event id -> number of an address -> `` (taken), or why it is refused for good."""

    async def send(self, message: Message, attempt: Attempt) -> Answer:
        """Tell every service that was not told yet."""
        event_id = message.event.id
        settled = self._settled.setdefault(event_id, {})
        if len(self._settled) > _REMEMBERED:
            self._settled.popitem(last=False)
        waiting = [number for number in range(len(self._urls)) if number not in settled]
        asked = _asked(message, attempt) | {
            "urls": [self._urls[number] for number in waiting],
            "allow_private": self._allow_private,
        }
        answers = _answers_in(await self._run(json.dumps(asked).encode()))
        later = []
        for position, number in enumerate(waiting):
            why, final = self._reading(answers.get(position))
            if not why or final:
                settled[number] = why
            else:
                later.append(f"{_named(self._urls, number)}: {why}")
        if later:
            raise DeliveryError("; ".join(later), retryable=True)
        self._settled.pop(event_id, None)
        if lost := [f"{_named(self._urls, number)}: {why}" for number, why in settled.items() if why]:
            others = "; delivered to the others" if len(lost) < len(settled) else ""
            raise DeliveryError("; ".join(lost) + others, retryable=False)
        return Answer("sent", ", ".join(_named(self._urls, number) for number in range(len(self._urls))))

    async def aclose(self) -> None:
        """Nothing is held between messages."""

    async def _run(self, asked: bytes) -> bytes:
        """Run Apprise once, and return what it wrote in time."""
        process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_environment(),
        )
        written = bytearray()
        try:
            async with asyncio.timeout(self._timeout):
                await self._talk(process, asked, written)
                await process.wait()
        except TimeoutError:
            pass  # who has not answered is seen from what is missing
        finally:
            if process.returncode is None:
                process.kill()
                # The pipes are read to their end, else they stay open until somebody sweeps.
                await process.communicate()
        return bytes(written)

    async def _talk(self, process: asyncio.subprocess.Process, asked: bytes, written: bytearray) -> None:
        if process.stdin is None or process.stdout is None:  # pragma: no cover  # both are asked for
            return
        try:
            process.stdin.write(asked)
            await process.stdin.drain()
        except ConnectionError:
            return  # it ended at once; its silence is its answer
        process.stdin.close()
        while part := await process.stdout.read(65_536):
            written += part

    def _reading(self, answer: Mapping[str, Any] | None) -> tuple[str, bool]:
        """Return why a service did not take a message (empty: it did), and whether it never will."""
        if answer is None:
            return f"no answer within {self._timeout:g} s", False
        if answer.get("taken") is True:
            return "", True
        if refused := answer.get("refused"):
            return clean(refused), True
        said = _without(self._secrets, str(answer.get("said") or "not taken, and Apprise does not say why"))
        status = _STATUS.search(said)
        final = status is not None and 400 <= int(status[1]) < 500 and int(status[1]) not in _LATER
        return said, final


def _named(urls: Sequence[str], number: int) -> str:
    """Return an address in words that may be shown: its scheme, and which it is."""
    scheme = urls[number].partition("://")[0]
    return f"{scheme} ({number + 1} of {len(urls)})" if len(urls) > 1 else scheme


def _without(secrets: Iterable[str], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return clean(text)


def _asked(message: Message, attempt: Attempt) -> dict[str, object]:
    event = message.event
    parts = [message.text if message.text is not None else message.summary]
    if message.text is None:
        parts += [f"{fact.label}: {fact.text}" for fact in message.facts]
        links = message.links
        named = {"Alert": links.alert, "Runbook": links.runbook, "Dashboard": links.dashboard, "Silence": links.silence}
        parts += [f"{name}: {url}" for name, url in named.items() if url]
        parts += [f"Trace: {trace.url or trace.trace_id} ({trace.value})" for trace in message.traces]
        if attempt.merged:
            parts.append(f"Merged updates: {attempt.merged}")
    # The same for every attempt, so that people and programs can tell a repeat.
    parts.append(f"Event: {event.id}")
    over = event.transition in (Transition.RESOLVED, Transition.ACKNOWLEDGED)
    return {
        "title": message.title,
        "body": "\n".join(parts),
        "kind": "success" if over else "info" if event.transition is Transition.TEST else _KINDS[event.severity],
    }


_KINDS: Final = {
    Severity.CRITICAL: "failure",
    Severity.HIGH: "failure",
    Severity.MEDIUM: "warning",
    Severity.LOW: "info",
}


def _answers_in(written: bytes) -> dict[int, Mapping[str, Any]]:
    """Return the answer for each address that has one; a line that was cut off is none."""
    found: dict[int, Mapping[str, Any]] = {}
    for line in written.splitlines():
        try:
            answer = json.loads(line)
        except ValueError:
            continue
        if isinstance(answer, dict) and isinstance(answer.get("number"), int):
            found[answer["number"]] = answer
    return found


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _KEPT if name in os.environ}


def _secrets_of(urls: Iterable[str]) -> list[str]:
    """Return the texts by which secrets of addresses could show, the longest first."""
    found = set()
    for url in urls:
        rest = url.partition("://")[2]
        words = (url, rest, *re.split(r"[/:@?&=;,]+", rest))
        found |= {form for word in words if len(word) >= _SECRET_LENGTH for form in (word, unquote(word))}
    return sorted(found, key=len, reverse=True)
