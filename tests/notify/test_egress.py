"""A contact point is no way into the machine or its network."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from alert_events import AT, alert_event, message_of
from fault_server import FaultServer, Reply
from mail_server import CERT, server_tls
from pydantic import ValidationError

from tocsin.errors import DeliveryError
from tocsin.notify.contact import Attempt
from tocsin.notify.egress import Network, refusal_of, system_resolver
from tocsin.notify.webhook import WebhookConfig

PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.2.1",
    "::1",
    "fe80::1",
    "fc00::1",
    "fd12::1",
    "fec0::1",
    "2001:db8::1",
    "100::1",
    "64:ff9b:1::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a00:1::",
    "::127.0.0.1",
    "2001::1",
    "4000::1",
]
NEVER = [
    "0.0.0.0",  # noqa: S104  # refused here
    "224.0.0.1",
    "239.1.1.1",
    "255.255.255.255",
    "240.0.0.1",
    "::",
    "ff02::1",
    "::ffff:0.0.0.0",
    "64:ff9b::e000:1",
]
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1111",
    "64:ff9b::808:808",
    "::ffff:8.8.8.8",
    "2002:808:808::",
]


@pytest.mark.parametrize("text", PRIVATE)
def test_special_addresses_are_refused_unless_allowed(text: str) -> None:
    assert refusal_of(ip_address(text), allow_private=False)
    assert refusal_of(ip_address(text), allow_private=True) is None


@pytest.mark.parametrize("text", NEVER)
def test_addresses_that_no_receiver_has_are_always_refused(text: str) -> None:
    assert refusal_of(ip_address(text), allow_private=False)
    assert refusal_of(ip_address(text), allow_private=True)


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_used(text: str) -> None:
    assert refusal_of(ip_address(text), allow_private=False) is None


def resolving(*answers: Sequence[str]) -> tuple[Network, list[str]]:
    """A network whose names resolve to each of the answers in turn, then to the last again; and what was asked."""
    asked: list[str] = []

    async def resolve(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        await asyncio.sleep(0)
        return answers[min(len(asked), len(answers)) - 1]

    return Network(resolve=resolve), asked


async def post(network: Network, url: str, **keys: object) -> DeliveryError | None:
    config = WebhookConfig.model_validate({"type": "webhook", "url": url, "timeout": "5s", **keys})
    webhook = config.build(network)
    try:
        await webhook.send(message_of(alert_event()), Attempt(AT))
    except DeliveryError as error:
        return error
    finally:
        await webhook.aclose()
    return None


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0x7f.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "LOCALHOST.",
    ],
)
async def test_no_way_of_writing_loopback_gets_through(host: str) -> None:
    async with FaultServer() as server:
        try:
            error = await post(Network(), f"http://{host}:{server.port}/")
        except ValidationError:
            pass  # not an address at all, said when the configuration is read
        else:
            assert error is not None
            assert not error.retryable or "no address" in str(error)
        assert server.received == []


async def test_a_name_that_resolves_to_a_private_address_is_refused_for_good() -> None:
    network, _ = resolving(["10.0.0.7"])
    error = await post(network, "http://hooks.test.example/")
    assert error is not None
    assert not error.retryable
    assert "hooks.test.example resolves to 10.0.0.7" in str(error)


@pytest.mark.parametrize(
    "answer", ["::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "::1", "fe80::1%lo"]
)
async def test_a_name_that_resolves_to_loopback_inside_ipv6_is_refused_for_good(answer: str) -> None:
    network, _ = resolving([answer])
    error = await post(network, "http://hooks.test.example/")
    assert error is not None
    assert not error.retryable


async def test_a_redirect_to_the_machine_itself_is_not_followed() -> None:
    async with FaultServer() as target:
        redirect = Reply(302, {"location": target.url()})
        async with FaultServer(default=redirect) as server:
            error = await post(Network(), server.url(), allow_private=True)
            assert error is not None
            assert not error.retryable
            assert len(server.received) == 1
        assert target.received == []


async def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    network, _ = resolving(["203.0.113.99", "127.0.0.1"])
    error = await post(network, "http://hooks.test.example/")
    assert error is not None
    assert not error.retryable


async def test_the_connection_goes_to_the_address_that_was_judged() -> None:
    async with FaultServer() as server:
        network, asked = resolving(["127.0.0.1"], ["10.0.0.1"])
        assert await post(network, server.url(host="hooks.test.example"), allow_private=True) is None
        assert asked == ["hooks.test.example"]
        assert server.received[0].headers["host"] == f"hooks.test.example:{server.port}"


async def test_a_name_whose_answer_changes_is_judged_again_for_the_next_connection() -> None:
    async with FaultServer() as server:
        network, _ = resolving(["8.8.8.8"], ["127.0.0.1"])
        judged = await network.addresses("hooks.test.example", server.port, allow_private=False)
        assert judged == ["8.8.8.8"]
        error = await post(network, server.url(host="hooks.test.example"))
        assert error is not None
        assert "loopback" in str(error)
        assert server.received == []


async def test_tls_is_checked_against_the_name_though_the_address_is_pinned() -> None:
    async with FaultServer(tls=server_tls()) as server:
        network, _ = resolving(["127.0.0.1"])
        right = server.url(host="hooks.test.example", scheme="https")
        wrong = server.url(host="other.test.example", scheme="https")
        trust = {"allow_private": True, "ca_file": CERT}
        assert await post(network, right, **trust) is None
        error = await post(network, wrong, **trust)
        assert error is not None
        assert "not trusted" in str(error)
        untrusted = await post(network, right, allow_private=True)
        assert untrusted is not None
        assert untrusted.retryable
        assert "ca_file" in str(untrusted)
        assert len(server.received) == 1


async def test_the_next_address_is_tried_where_one_does_not_accept() -> None:
    async with FaultServer() as server:
        network, _ = resolving(["127.0.0.2", "127.0.0.1"])
        assert await post(network, server.url(host="hooks.test.example"), allow_private=True) is None


async def test_a_name_without_an_address_may_have_one_later() -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        raise OSError(-2, "Name or service not known")

    error = await post(Network(resolve=resolve), "http://hooks.test.example/")
    assert error is not None
    assert error.retryable
    assert "Name or service not known" in str(error)


async def test_a_resolver_that_hangs_costs_no_more_than_the_timeout() -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    error = await post(Network(resolve=resolve), "http://hooks.test.example/", timeout="50ms")
    assert error is not None
    assert error.retryable


async def test_an_environment_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FaultServer() as proxy, FaultServer() as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url("/"))
        assert await post(Network(allow_private=True), server.url()) is None
        assert (len(proxy.received), len(server.received)) == (0, 1)


async def test_the_systems_resolver_gives_addresses() -> None:
    assert "127.0.0.1" in await system_resolver("127.0.0.1", 80)
