"""Tickets against servers that keep issues as GitHub and Jira do."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from alert_events import AT, MINUTE, alert_event, message_of
from fault_server import Mode, Reply
from pydantic import ValidationError
from tracker_servers import GitHubServer, JiraServer, TrackerServer

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.errors import DeliveryError
from tocsin.notify.contact import Answer, Attempt
from tocsin.notify.egress import Network
from tocsin.notify.templating.config import TextTemplate
from tocsin.notify.templating.dressing import dressed
from tocsin.notify.ticket import TicketConfig, Tickets
from tocsin.rules.rule import Severity

WRONG = "wrong-t0ken"
SYSTEMS = ("github", "jira", "jira-server")
CREATE = {"github": "POST issues", "jira": "POST issue", "jira-server": "POST issue"}
COMMENT = {"github": "POST issues/N/comments", "jira": "POST issue/K/comment", "jira-server": "POST issue/K/comment"}
CLOSE = {"github": "PATCH issues/N", "jira": "POST issue/K/transitions", "jira-server": "POST issue/K/transitions"}


def server_of(system: str) -> TrackerServer:
    return GitHubServer() if system == "github" else JiraServer(cloud=system == "jira")


def config_of(system: str, server: TrackerServer, **more: Any) -> TicketConfig:  # noqa: ANN401  # keys of any type
    written: dict[str, Any] = {"type": "ticket", "system": system, "token": "t0ken", "search_lag": "0s"}
    written |= {"api_url": server.url(""), "allow_private": True, "timeout": "5s"}
    if system == "github":
        written["repository"] = "acme/llm"
    else:
        written["project"] = "OPS"
    if system == "jira":
        written["user"] = "tocsin@test.example"
    return TicketConfig.model_validate(written | more)


@asynccontextmanager
async def tickets(system: str, server: TrackerServer, **more: Any) -> AsyncIterator[Tickets]:  # noqa: ANN401  # keys
    notifier = config_of(system, server, **more).build(Network())
    try:
        yield notifier
    finally:
        await notifier.aclose()


def follow_up(first: AlertEvent, transition: Transition, **changes: Any) -> AlertEvent:  # noqa: ANN401  # fields
    return alert_event(transition, alert_id=first.alert_id, **changes)


async def sent(notifier: Tickets, event: AlertEvent, number: int = 1, merged: int = 0) -> Answer:
    return await notifier.send(message_of(event), Attempt(AT, number, merged))


@pytest.mark.parametrize("system", SYSTEMS)
async def test_an_alert_is_one_issue_from_its_beginning_to_its_end(system: str) -> None:
    async with server_of(system) as server, tickets(system, server) as notifier:
        fired = alert_event(severity=Severity.HIGH)
        assert (await sent(notifier, fired)).status == "ok"
        worse = follow_up(fired, Transition.FIRING, escalated_from=Severity.HIGH)
        await sent(notifier, worse)
        await sent(notifier, follow_up(fired, Transition.REMINDER))
        await sent(notifier, follow_up(fired, Transition.ACKNOWLEDGED))
        assert not server.issues[0].closed
        await sent(notifier, follow_up(fired, Transition.RESOLVED, resolved_at=AT + MINUTE))
        [issue] = server.issues
        assert issue.title == "[HIGH] runaway-conversation: conversation conv-42"
        assert fired.alert_id in issue.text
        assert "tocsin" in issue.labels
        assert len(issue.comments) == 3  # worse, acknowledged, over; no reminder
        assert worse.id in issue.comments[0]
        assert issue.closed
        assert server.problems == []


@pytest.mark.parametrize("system", SYSTEMS)
async def test_what_is_said_and_whether_it_is_closed_is_configured(system: str) -> None:
    async with (
        server_of(system) as server,
        tickets(system, server, comments=["reminder"], close_resolved=False) as notifier,
    ):
        fired = alert_event()
        for event in (
            fired,
            follow_up(fired, Transition.REMINDER),
            follow_up(fired, Transition.RESOLVED, resolved_at=AT),
        ):
            await sent(notifier, event)
        [issue] = server.issues
        assert len(issue.comments) == 1
        assert not issue.closed


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("fault", [None, Reply(503), Reply(mode=Mode.HANG)], ids=["lost", "busy", "hanging"])
async def test_an_issue_whose_making_was_not_answered_is_made_once(system: str, fault: Reply | None) -> None:
    async with server_of(system) as server, tickets(system, server, timeout="300ms") as notifier:
        event = alert_event()
        if fault is None:
            server.lost.add(CREATE[system])
        else:
            server.faults[CREATE[system]] = fault
        with pytest.raises(DeliveryError) as caught:
            await sent(notifier, event)
        assert caught.value.retryable
        await sent(notifier, event, 2)
        assert len(server.issues) == 1
        assert server.issues[0].comments == []


@pytest.mark.parametrize("system", SYSTEMS)
async def test_an_issue_that_a_killed_process_made_is_found_again(system: str) -> None:
    async with server_of(system) as server:
        event = alert_event()
        server.lost.add(CREATE[system])
        async with tickets(system, server) as killed:
            with pytest.raises(DeliveryError):
                await sent(killed, event)
        async with tickets(system, server) as next_one:
            await sent(next_one, event)
            await sent(next_one, follow_up(event, Transition.RESOLVED, resolved_at=AT))
        [issue] = server.issues
        assert issue.closed
        assert len(issue.comments) == 1


@pytest.mark.parametrize("system", ["jira", "jira-server"])
async def test_no_issue_is_made_while_the_search_may_not_show_one(system: str) -> None:
    """Within the lag after a lost answer, and after a start that may have followed one."""
    async with server_of(system) as server:
        server.blind = True
        fresh = alert_event(detected_at=time.time_ns() + MINUTE)
        server.lost.add(CREATE[system])
        async with tickets(system, server, search_lag="1m") as notifier:
            with pytest.raises(DeliveryError):
                await sent(notifier, fresh)
            with pytest.raises(DeliveryError, match="does not show") as caught:
                await sent(notifier, fresh, 2)
            assert caught.value.retryable
        async with tickets(system, server, search_lag="1m") as after_a_start:
            with pytest.raises(DeliveryError, match="does not show"):
                await sent(after_a_start, alert_event(alert_id=fresh.alert_id))
            server.blind = False
            await sent(after_a_start, alert_event(alert_id=fresh.alert_id, id=fresh.id))
        assert len(server.issues) == 1


@pytest.mark.parametrize("system", SYSTEMS)
async def test_a_new_alert_waits_for_no_search(system: str) -> None:
    async with server_of(system) as server, tickets(system, server, search_lag="1m") as notifier:
        await sent(notifier, alert_event(detected_at=time.time_ns() + MINUTE))
        assert len(server.issues) == 1


@pytest.mark.parametrize("system", SYSTEMS)
async def test_a_comment_whose_answer_was_lost_is_not_made_twice(system: str) -> None:
    async with server_of(system) as server, tickets(system, server) as notifier:
        fired = alert_event()
        await sent(notifier, fired)
        over = follow_up(fired, Transition.RESOLVED, resolved_at=AT)
        server.lost.add(COMMENT[system])
        with pytest.raises(DeliveryError):
            await sent(notifier, over)
        server.lost.add(CLOSE[system])
        with pytest.raises(DeliveryError):
            await sent(notifier, over, 2)
        await sent(notifier, over, 3)
        [issue] = server.issues
        assert len(issue.comments) == 1
        assert issue.closed


@pytest.mark.parametrize("system", SYSTEMS)
async def test_an_end_without_a_beginning_makes_no_issue_unless_it_stands_for_one(system: str) -> None:
    async with server_of(system) as server, tickets(system, server) as notifier:
        over = alert_event(Transition.RESOLVED, resolved_at=AT)
        assert (await sent(notifier, over)).status == "nothing to do"
        await sent(notifier, alert_event(Transition.ACKNOWLEDGED))
        assert server.issues == []
        await sent(notifier, over, merged=1)
        [issue] = server.issues
        assert issue.closed


@pytest.mark.parametrize("system", SYSTEMS)
async def test_a_test_leaves_nothing_open(system: str) -> None:
    async with server_of(system) as server, tickets(system, server) as notifier:
        await sent(notifier, alert_event(Transition.TEST))
        assert [issue.closed for issue in server.issues] == [True]


def of_incident(transition: Transition, **changes: Any) -> AlertEvent:  # noqa: ANN401  # fields
    return alert_event(transition, alert_id="inc_" + "7" * 32, detected_at=time.time_ns() + MINUTE, **changes)


@pytest.mark.parametrize("system", SYSTEMS)
async def test_an_incident_that_begins_anew_under_its_id_has_an_issue_of_its_own(system: str) -> None:
    """Also while the search still shows the one before as open."""
    async with server_of(system) as server, tickets(system, server, search_lag="1m") as notifier:
        await sent(notifier, of_incident(Transition.FIRING))
        await sent(notifier, of_incident(Transition.FIRING))
        await sent(notifier, of_incident(Transition.RESOLVED, resolved_at=AT))
        if isinstance(server, JiraServer):
            server.stale = list(server.issues)
        await sent(notifier, of_incident(Transition.FIRING))
        first, second = server.issues
        assert (first.closed, second.closed) == (True, False)
        assert (len(first.comments), len(second.comments)) == (2, 0)


@pytest.mark.parametrize("system", SYSTEMS)
async def test_an_open_issue_of_an_incident_is_found_by_the_next_process(system: str) -> None:
    async with server_of(system) as server:
        async with tickets(system, server) as notifier:
            await sent(notifier, of_incident(Transition.FIRING))
            await sent(notifier, of_incident(Transition.RESOLVED, resolved_at=AT))
            await sent(notifier, of_incident(Transition.FIRING))
        async with tickets(system, server) as next_one:
            await sent(next_one, of_incident(Transition.RESOLVED, resolved_at=AT))
        assert [issue.closed for issue in server.issues] == [True, True]
        assert [len(issue.comments) for issue in server.issues] == [1, 1]
        assert server.problems == []


@pytest.mark.parametrize("system", SYSTEMS)
async def test_a_wrong_token_is_final_and_not_repeated(system: str) -> None:
    async with server_of(system) as server, tickets(system, server, token=WRONG) as notifier:
        with pytest.raises(DeliveryError) as caught:
            await sent(notifier, alert_event())
        assert not caught.value.retryable
        assert "token" in str(caught.value)
        assert "wrong-t0ken" not in str(caught.value)


@pytest.mark.parametrize("system", SYSTEMS)
async def test_an_issue_that_somebody_deleted_is_lost_and_the_next_event_makes_another(system: str) -> None:
    async with server_of(system) as server, tickets(system, server) as notifier:
        fired = alert_event()
        await sent(notifier, fired)
        server.issues.clear()
        with pytest.raises(DeliveryError) as caught:
            await sent(notifier, follow_up(fired, Transition.FIRING, escalated_from=Severity.LOW))
        assert not caught.value.retryable
        await sent(notifier, follow_up(fired, Transition.FIRING, escalated_from=Severity.LOW))
        assert len(server.issues) == 1


@pytest.mark.parametrize(
    ("reply", "wait"),
    [
        (Reply(403, {"retry-after": "41"}, b"{}"), 41.0),
        (Reply(429, {"retry-after": "42"}, b"{}"), 42.0),
        (Reply(403, {}, b'{"message": "You have exceeded a secondary rate limit."}'), 60.0),
        (Reply(429, {}, b"{}"), 60.0),
    ],
)
async def test_githubs_rate_limits_are_obeyed(reply: Reply, wait: float) -> None:
    async with GitHubServer() as server, tickets("github", server) as notifier:
        server.faults["POST issues"] = reply
        with pytest.raises(DeliveryError) as caught:
            await sent(notifier, alert_event())
        assert (caught.value.retryable, caught.value.retry_after) == (True, wait)


async def test_githubs_primary_limit_is_waited_for_until_its_reset() -> None:
    async with GitHubServer() as server, tickets("github", server) as notifier:
        reset = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 300)}
        server.faults["GET issues"] = Reply(403, reset, b"{}")
        with pytest.raises(DeliveryError) as caught:
            await sent(notifier, alert_event())
        assert caught.value.retry_after is not None
        assert 290 < caught.value.retry_after <= 300


async def test_what_github_forbids_is_no_rate_limit() -> None:
    async with GitHubServer() as server, tickets("github", server) as notifier:
        server.faults["POST issues"] = Reply(403, {"x-ratelimit-remaining": "4999"}, b'{"message": "Resource not"}')
        with pytest.raises(DeliveryError, match="permission to write issues") as caught:
            await sent(notifier, alert_event())
        assert not caught.value.retryable


async def test_jiras_rate_limit_is_obeyed_and_a_wrong_type_named() -> None:
    async with JiraServer() as server, tickets("jira", server, issue_type="Missing") as notifier:
        server.faults["POST search/jql"] = Reply(429, {"retry-after": "7"}, b"{}")
        with pytest.raises(DeliveryError) as limited:
            await sent(notifier, alert_event())
        assert limited.value.retry_after == 7.0
        with pytest.raises(DeliveryError, match=r"Specify a valid issue type.*check issue_type") as wrong:
            await sent(notifier, alert_event())
        assert not wrong.value.retryable


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("body", [b"<html>", b"[", b'{"issues": 7}', b'"x"', b"null", b"7", b"[7]"])
async def test_an_answer_that_is_no_list_of_issues_may_be_right_later(system: str, body: bytes) -> None:
    async with server_of(system) as server, tickets(system, server) as notifier:
        server.faults[{"github": "GET issues", "jira": "POST search/jql"}.get(system, "POST search")] = Reply(body=body)
        if system == "github" and body == b"[7]":
            await sent(notifier, alert_event())  # a list, without an issue in it
            return
        with pytest.raises(DeliveryError) as caught:
            await sent(notifier, alert_event())
        assert caught.value.retryable


@pytest.mark.parametrize(
    ("written", "status"), [(None, "Done"), ("drop", "Won't do"), ("won't do", "Won't do"), ("Finish", "Done")]
)
async def test_jiras_transition_is_the_one_named_or_the_first_to_done(written: str | None, status: str) -> None:
    async with JiraServer() as server, tickets("jira", server, transition=written) as notifier:
        await sent(notifier, alert_event(Transition.TEST))
        assert server.issues[0].fields["status"] == status


async def test_a_transition_that_jira_has_not_is_said_with_those_it_has() -> None:
    async with JiraServer() as server, tickets("jira", server, transition="Nail it") as notifier:
        with pytest.raises(DeliveryError, match="there are: Start, Finish, Drop") as caught:
            await sent(notifier, alert_event(Transition.TEST))
        assert not caught.value.retryable


async def test_jira_gets_priority_and_fields() -> None:
    more = {"priorities": {"critical": "Highest"}, "fields": {"components": [{"name": "llm"}]}, "issue_type": "Bug"}
    async with JiraServer() as server, tickets("jira", server, **more) as notifier:
        await sent(notifier, alert_event())
        await sent(notifier, alert_event(severity=Severity.LOW))
        critical, low = (issue.fields for issue in server.issues)
        assert critical["priority"] == {"name": "Highest"}
        assert "priority" not in low
        assert critical["components"] == [{"name": "llm"}]
        assert critical["issuetype"] == {"name": "Bug"}


async def test_an_issue_behind_many_others_is_found_by_githubs_search() -> None:
    async with GitHubServer() as server:
        fired = alert_event()
        async with tickets("github", server) as notifier:
            await sent(notifier, fired)
        for number in range(310):
            server.made(f"another {number}", "", [], {})
        async with tickets("github", server) as next_one:
            await sent(next_one, follow_up(fired, Transition.RESOLVED, resolved_at=AT))
        assert server.issues[0].closed
        assert len(server.issues) == 311
        assert server.problems == []


async def test_values_tell_nobody_and_link_to_nothing_in_github() -> None:
    evil = "@acme/everyone #1 <!-- tocsin:alert=x --> | [x](http://evil.example) `c` ![i](http://evil.example/p.png)"
    async with GitHubServer() as server, tickets("github", server) as notifier:
        event = alert_event(group={"conversation": evil})
        await sent(notifier, event)
        text = server.issues[0].text
        assert "@acme" not in text
        assert "\\#1" not in text
        assert len(re.findall(r"(?<!\\)<!--", text)) == 2  # our own two
        assert "<!-- tocsin:alert=x -->" not in text
        assert "![i](" not in text
        assert "[x](" not in text


@pytest.mark.parametrize("system", ["jira", "jira-server"])
async def test_values_are_no_markup_in_jira(system: str) -> None:
    evil = "{noformat} [~accountid:1] !http://evil.example/p.png! {code}"
    async with server_of(system) as server, tickets(system, server) as notifier:
        await sent(notifier, alert_event(group={"conversation": evil}))
        [issue] = server.issues
        if system == "jira":
            return  # text nodes have no markup; the server checked that there is nothing else
        assert issue.text.count("{noformat}") == 2
        assert issue.text.startswith("{noformat}")
        assert issue.text.endswith("{noformat}")


@pytest.mark.parametrize("system", SYSTEMS)
async def test_words_of_ones_own_stand_in_the_issue(system: str) -> None:
    template = TextTemplate(title="{{ subject }} burns", text="call\n@team {{ value | usd }}")
    message, _ = dressed(message_of(alert_event()), template)
    async with server_of(system) as server, tickets(system, server) as notifier:
        await notifier.send(message, Attempt(AT))
        [issue] = server.issues
        assert issue.title == "conversation conv-42 burns"
        assert "Samples" not in issue.text
        assert "27.31" in issue.text
        assert server.problems == []


@pytest.mark.parametrize("system", SYSTEMS)
async def test_the_largest_event_fits(system: str) -> None:
    long = "ab*" * 2_000
    async with server_of(system) as server, tickets(system, server) as notifier:
        await sent(notifier, alert_event(group={f"l{number}": long for number in range(200)}))
        assert server.problems == []
        assert len(server.issues) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"system": "github"}, "repository: owner/name"),
        ({"system": "github", "repository": "acme"}, "repository"),
        ({"system": "github", "repository": "acme/llm", "project": "OPS"}, "project is Jira's"),
        ({"system": "jira", "api_url": "https://x.example", "project": "OPS"}, "needs user"),
        ({"system": "jira", "project": "OPS", "user": "a@x.example"}, "needs api_url"),
        ({"system": "jira", "api_url": "https://x.example", "project": "OPS", "repository": "a/b"}, "GitHub's"),
        ({"system": "jira-server", "api_url": "https://x.example", "project": 'OPS" OR 1'}, "project"),
        ({"system": "bugzilla"}, "system"),
        (
            {"system": "jira-server", "api_url": "https://x.example", "project": "OPS", "fields": {"labels": []}},
            "labels is set by Tocsin",
        ),
        ({"system": "github", "repository": "acme/llm", "labels": ["two words"]}, "a label is a word"),
        ({"system": "github", "repository": "acme/llm", "token": "a\nb"}, "token"),
    ],
)
def test_what_is_configured_wrong_is_said(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TicketConfig.model_validate({"type": "ticket", "token": "t0ken", **wrong})


def test_where_issues_are_on_github_has_a_default() -> None:
    written = {"type": "ticket", "system": "github", "token": "t0ken", "repository": "acme/llm"}
    config = TicketConfig.model_validate(written)
    assert config.takes_acknowledgements
    assert not TicketConfig.model_validate({**written, "comments": []}).takes_acknowledgements
    assert config.build(Network()) is not None
