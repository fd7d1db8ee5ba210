"""The contact point apprise: real plugins of Apprise against local servers, in its real process."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from alert_events import AT, alert_event, message_of
from fault_server import FaultServer, Mode, Received, Reply
from mail_server import MailServer
from pydantic import ValidationError

from tocsin.alerts.event import Transition
from tocsin.errors import DeliveryError
from tocsin.notify.apprise import Apprise, AppriseConfig
from tocsin.notify.contact import Attempt
from tocsin.notify.egress import Network
from tocsin.rules.rule import Severity

SECRET = "s3cret-of-the-path"  # noqa: S105  # of a server that lives for a test


class ByPath(FaultServer):
    """Answers by the first part of the path."""

    def __init__(self, **answers: Reply) -> None:
        super().__init__()
        self.answers = answers

    def reply_to(self, request: Received) -> Reply:
        return self.answers.get(request.path.split("/")[1].partition("?")[0], self.default)


@asynccontextmanager
async def apprise(*urls: str, **more: Any) -> AsyncIterator[Apprise]:  # noqa: ANN401  # keys of any type
    written = {"type": "apprise", "urls": list(urls), "timeout": "20s", "allow_private": True, **more}
    config = await asyncio.to_thread(AppriseConfig.model_validate, written)
    notifier = config.build(Network())
    try:
        yield notifier
    finally:
        await notifier.aclose()


async def failure_of(notifier: Apprise) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await notifier.send(message_of(alert_event()), Attempt(AT))
    return caught.value


@pytest.mark.parametrize(
    ("transition", "severity", "kind"),
    [
        (Transition.FIRING, Severity.CRITICAL, "failure"),
        (Transition.REMINDER, Severity.MEDIUM, "warning"),
        (Transition.RESOLVED, Severity.CRITICAL, "success"),
    ],
)
async def test_json_is_told_what_happened_and_how_bad_it_is(
    transition: Transition, severity: Severity, kind: str
) -> None:
    async with FaultServer() as server, apprise(f"json://127.0.0.1:{server.port}/{SECRET}") as notifier:
        event = alert_event(transition, severity=severity, resolved_at=AT)
        answer = await notifier.send(message_of(event), Attempt(AT))
        assert (answer.status, answer.excerpt) == ("sent", "json")
        [request] = server.received
        assert request.path == f"/{SECRET}"
        assert request.json["type"] == kind
        assert request.json["title"].endswith("runaway-conversation: conversation conv-42")
        assert request.json["message"].endswith(f"Event: {event.id}")


async def test_who_took_it_does_not_get_it_again_and_mail_and_gotify_work_too() -> None:
    async with (
        ByPath(message=Reply(503)) as server,
        MailServer() as mail,
        apprise(
            f"json://127.0.0.1:{server.port}/hook",
            f"gotify://127.0.0.1:{server.port}/{SECRET}",
            f"mailto://127.0.0.1:{mail.port}?from=tocsin@test.example&to=oncall@test.example&mode=insecure",
        ) as notifier,
    ):
        message = message_of(alert_event())
        with pytest.raises(DeliveryError, match=r"gotify \(2 of 3\): .*error=503") as caught:
            await notifier.send(message, Attempt(AT))
        assert caught.value.retryable
        assert "json" not in str(caught.value)
        server.answers.clear()
        answer = await notifier.send(message, Attempt(AT, 2))
        assert answer.excerpt == "json (1 of 3), gotify (2 of 3), mailto (3 of 3)"
        assert sorted(request.path.partition("?")[0] for request in server.received) == [
            "/hook",
            "/message",
            "/message",
        ]
        [sent] = mail.mails
        assert sent.recipients == ("oncall@test.example",)
        gotify = next(request for request in server.received if request.path.startswith("/message"))
        assert gotify.headers["x-gotify-key"] == SECRET
        assert gotify.json["message"].endswith(f"Event: {message.event.id}")


async def test_what_is_refused_for_good_is_said_beside_what_was_delivered() -> None:
    async with (
        ByPath(gone=Reply(404, body=SECRET.encode())) as server,
        apprise(f"json://127.0.0.1:{server.port}/gone/{SECRET}", f"json://127.0.0.1:{server.port}/hook") as notifier,
    ):
        error = await failure_of(notifier)
        assert not error.retryable
        assert "error=404" in str(error)
        assert "delivered to the others" in str(error)
        assert SECRET not in str(error)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_may_work_later_may_be_tried_again(status: int) -> None:
    async with FaultServer(default=Reply(status)) as server, apprise(f"json://127.0.0.1:{server.port}") as notifier:
        error = await failure_of(notifier)
        assert error.retryable
        assert str(status) in str(error)


async def test_one_that_hangs_is_killed_and_the_others_are_told() -> None:
    async with (
        ByPath(hang=Reply(mode=Mode.HANG)) as server,
        apprise(
            f"json://127.0.0.1:{server.port}/hang?rto=60", f"json://127.0.0.1:{server.port}/hook", timeout="4s"
        ) as notifier,
    ):
        began = time.monotonic()
        error = await failure_of(notifier)
        assert time.monotonic() - began < 8
        assert error.retryable
        assert str(error) == "json (1 of 2): no answer within 4 s"
        assert children_of_this_process() == []


def children_of_this_process() -> list[str]:
    """Processes that Apprise was started in and that still run."""
    own = Path("/proc/self").resolve().name
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            parent = (directory / "stat").read_text().rpartition(")")[2].split()[1]
            command = (directory / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == own and b"apprise_child" in command:
            found.append(directory.name)
    return found


async def test_a_connection_that_is_reset_may_work_later() -> None:
    async with (
        FaultServer(default=Reply(mode=Mode.RESET)) as server,
        apprise(f"json://127.0.0.1:{server.port}") as notifier,
    ):
        assert (await failure_of(notifier)).retryable


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1"])
async def test_no_way_of_writing_loopback_gets_through(host: str) -> None:
    async with FaultServer() as server:
        try:
            async with apprise(f"json://{host}:{server.port}/x", allow_private=False) as notifier:
                error = await failure_of(notifier)
        except ValidationError:
            pass  # no address at all, to Apprise
        else:
            assert not error.retryable or host not in ("127.0.0.1", "localhost")
            if not error.retryable:
                assert "loopback address; set allow_private" in str(error)
        assert server.received == []


async def test_a_redirect_to_an_address_that_never_is_one_is_refused() -> None:
    """Plugins follow redirects; each of their connections is judged for itself."""
    to_nowhere = Reply(307, {"location": "http://240.0.0.1/"})
    async with (
        FaultServer(default=to_nowhere) as server,
        apprise(f"json://127.0.0.1:{server.port}/x") as notifier,
    ):
        error = await failure_of(notifier)
        assert not error.retryable
        assert str(error) == "json: 240.0.0.1 is a reserved address"


async def test_no_proxy_and_no_secret_of_the_environment_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FaultServer() as proxy, FaultServer() as server:
        monkeypatch.setenv("http_proxy", proxy.url("/"))
        monkeypatch.setenv("ALL_PROXY", proxy.url("/"))
        async with apprise(f"json://127.0.0.1:{server.port}") as notifier:
            await notifier.send(message_of(alert_event()), Attempt(AT))
        assert (len(proxy.received), len(server.received)) == (0, 1)


@pytest.mark.parametrize(
    "url", [f"nosuch://host/{SECRET}", f"discord://{SECRET}", f"dbus://{SECRET}", f"gotify:///{SECRET}"]
)
def test_an_address_that_apprise_does_not_take_is_said_without_its_secret(url: str) -> None:
    with pytest.raises(ValidationError, match=r"does not take \w+ \(2 of 2\)") as caught:
        AppriseConfig.model_validate({"type": "apprise", "urls": ["json://127.0.0.1", url]})
    [problem] = caught.value.errors(include_input=False)
    assert problem["loc"] == ("urls",)
    assert SECRET not in problem["msg"]


@pytest.mark.parametrize("urls", [[], "", "no address", "json://a b", ["json://h\n"], ["json://h"] * 21, [""]])
def test_what_is_no_address_of_apprises_is_said(urls: object) -> None:
    with pytest.raises(ValidationError, match="address"):
        AppriseConfig.model_validate({"type": "apprise", "urls": urls})


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ValidationError, match=r"pip install 'tocsin\[apprise\]'"):
        AppriseConfig.model_validate({"type": "apprise", "urls": "json://h"})


def test_an_apprise_that_does_not_run_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ((sys.executable, "-c", "raise SystemExit(3)"), ("/nowhere/python",)):
        monkeypatch.setattr("tocsin.notify.apprise._COMMAND", command)
        with pytest.raises(ValidationError, match="Apprise does not run"):
            AppriseConfig.model_validate({"type": "apprise", "urls": "json://never.asked.example"})


async def test_a_process_that_dies_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FaultServer() as server, apprise(f"json://127.0.0.1:{server.port}") as notifier:
        monkeypatch.setattr("tocsin.notify.apprise._COMMAND", (sys.executable, "-c", "raise SystemExit(3)"))
        assert (await failure_of(notifier)).retryable
        said = 'print("{"); print(7); print("[]"); print(\'{"number": "x"}\')'
        monkeypatch.setattr("tocsin.notify.apprise._COMMAND", (sys.executable, "-c", said))
        assert (await failure_of(notifier)).retryable


async def test_programs_and_sockets_of_the_machine_are_refused(tmp_path: Path) -> None:
    """What a plugin may try, tried in the process itself: its hook lets none of it pass."""
    attempts = {
        "a program": "__import__('subprocess').run(['true'])",
        "a shell": "__import__('os').system('true')",
        "a socket of this machine": f"socket.socket(socket.AF_UNIX).connect('{tmp_path}/x')",
        "a datagram": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
        "a name": "socket.socket().connect(('localhost', 9))",
    }
    script = (
        "import json, socket, sys; from tocsin.notify.apprise_child import _judge; refused = {}\n"
        "sys.addaudithook(lambda event, given: _judge(event, given, refused, allow_private=False))\n"
        "for name, source in json.load(sys.stdin).items():\n"
        "    try: eval(source); print(name, 'passed')\n"
        "    except PermissionError as error: print(name, type(error).__name__)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    written, _ = await process.communicate(json.dumps(attempts).encode())
    assert written.decode().splitlines() == [f"{name} _RefusedError" for name in attempts]
