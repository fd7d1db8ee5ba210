"""What a person sets up on the page: contact points, prices, blocks by hand; and what health shows of it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from browser_harness import PageService, Tab, tab
from page_scene import attributes_of, spend_too_much, written
from playwright.sync_api import Browser, Locator, Page, expect
from webhook_receiver import WebhookReceiver

pytestmark = pytest.mark.peer
SECRET = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cw=="  # noqa: S105  # of the tests


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageService]:
    """A service whose file these tests change."""
    with PageService(written(tmp_path_factory.mktemp("setup") / "tocsin.yaml")) as running:
        yield running


@pytest.fixture
def opened(browser: Browser, service: PageService) -> Iterator[Tab]:
    """A tab on that service, in which answers may say that a form is not valid."""
    with tab(browser, service.url) as opened:
        opened.expected.append("422")
        yield opened


def row(page: Page, text: str | re.Pattern[str]) -> Locator:
    return page.get_by_role("row").filter(has_text=text)


def test_a_contact_point_is_made_tried_changed_and_taken_out(
    service: PageService, opened: Tab, webhooks: WebhookReceiver
) -> None:
    before = service.config.read_text()
    page = opened.go("/contact-points")
    page.get_by_role("link", name="New contact point").click()
    page.get_by_role("link", name=re.compile("^webhook")).click()
    page.get_by_label("Name").fill("ours")
    page.get_by_label("URL").fill("no address")
    page.get_by_label("Secret").fill(SECRET)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#h-url")).to_contain_text("an address has no spaces")
    expect(page.get_by_label("Name")).to_have_value("ours")
    assert service.config.read_text() == before
    page.get_by_label("URL").fill(webhooks.url)
    page.get_by_label("Secret").fill(SECRET)
    page.get_by_label("Headers").fill("X-Team: support")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("ours is written and in force.")).to_be_visible()
    made = page.get_by_role("row").filter(has=page.get_by_text("ours", exact=True))
    expect(made).to_contain_text("secret set")
    written_now = service.config.read_text()
    assert [line for line in before.splitlines() if line not in written_now.splitlines()] == []
    assert SECRET in written_now
    assert SECRET not in page.content()
    assert webhooks.url not in page.content()
    made.get_by_role("button", name="Send a test to ours").click()
    expect(page.get_by_text("ours took the test: 204")).to_be_visible()
    assert webhooks.deliveries[-1].body["event"] == "test"
    assert webhooks.deliveries[-1].headers["x-team"] == "support"
    made.get_by_role("link", name="Edit ours").click()
    expect(page.get_by_label("Secret")).to_have_value("")
    page.get_by_text("When and how it is told").click()
    page.get_by_label("Min severity").select_option("high")
    page.get_by_label("Timeout").fill("3s")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("ours is written and in force.")).to_be_visible()
    changed = service.config.read_text()
    assert SECRET in changed
    assert "min_severity: high" in changed
    made.get_by_role("button", name="Delete ours").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    expect(made).to_have_count(0)
    assert service.config.read_text() == before


def test_secrets_do_not_go_to_a_new_address_unseen(service: PageService, opened: Tab, tmp_path: Path) -> None:
    page = opened.go("/contact-points/new?type=email")
    fields = {
        "host": "smtp.example.com",
        "from": "t@example.com",
        "to": "a@example.com, b@example.com",
        "username": "tocsin",
        "password": "the-old-one",
    }
    for name, text in {"name": "mail", **fields}.items():
        page.locator(f"#f-{name}").fill(text)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("mail is written and in force.")).to_be_visible()
    page = opened.go("/contact-points/edit?name=mail")
    expect(page.locator("#f-to")).to_have_value("a@example.com, b@example.com")
    page.get_by_label("Host").fill("smtp.evil.example")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#h-password")).to_contain_text("given again")
    assert "smtp.evil.example" not in service.config.read_text()


def test_a_contact_point_that_changed_meanwhile_is_not_overwritten(service: PageService, opened: Tab) -> None:
    opened.expected.append("412")
    page = opened.go("/contact-points/edit?name=terminal")
    text = service.config.read_text()
    service.config.write_text(text.replace("terminal: {type: log}", "terminal: {type: log, min_severity: medium}"))
    page.get_by_text("When and how it is told").click()
    page.get_by_label("Min severity").select_option("critical")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("not what it was")
    assert "min_severity: medium" in service.config.read_text()
    page.get_by_role("link", name="See it as it is now").click()
    expect(page.locator("#f-min_severity")).to_have_value("medium")


def test_one_that_rules_name_stays_and_one_that_fails_says_why(opened: Tab) -> None:
    opened.expected.append("409")
    page = opened.go("/contact-points")
    page.get_by_role("button", name="Delete nowhere").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    expect(page.get_by_text("rules name it: runaway-conversation")).to_be_visible()
    page.get_by_role("button", name="Send a test to nowhere").click()
    expect(page.get_by_text("nowhere did not take the test")).to_be_visible()


def test_what_is_sent_can_be_read_before(opened: Tab) -> None:
    page = opened.go("/contact-points")
    page.get_by_role("link", name="Preview what nowhere is sent").click()
    expect(page.get_by_role("region", name="As people read it")).to_contain_text("over the limit")
    page.get_by_role("link", name="resolved", exact=True).click()
    expect(page.get_by_role("region", name="As it goes to the receiver")).to_contain_text('"event": "resolved"')


def test_a_template_is_tried_before_it_is_saved(opened: Tab) -> None:
    page = opened.go("/contact-points/new?type=slack")
    page.get_by_text("When and how it is told").click()
    page.get_by_label("Text").fill("{{ group.conversation }} took {{ value | usd }}")
    page.get_by_role("button", name="Try the template").click()
    expect(page.locator("#tried")).to_contain_text("conv-42 took $27.31")
    page.get_by_label("Text").fill("{{ group.conversation")
    page.get_by_role("button", name="Try the template").click()
    expect(page.locator("#tried")).to_contain_text("not a template that can be filled in")


def test_a_model_without_a_price_gets_one_that_counts_at_once(service: PageService, opened: Tab) -> None:
    page = opened.go("/unpriced")
    expect(page.get_by_text("Every call has a price")).to_be_visible()
    service.send(model="gpt-4o-house", number=3, tokens=1000, attributes=attributes_of("conv-u"))
    service.send(model="*", number=1, tokens=1000, attributes=attributes_of("conv-u"))
    house, star = row(page, "gpt-4o-house"), row(page, re.compile(r"\*"))
    expect(house).to_contain_text("a price")
    house.get_by_text("another price").click()
    house.get_by_label("input", exact=True).fill("2")
    house.get_by_label("output", exact=True).fill("-8")
    house.get_by_role("button", name="Set the price").click()
    expect(page.get_by_text("0 or more")).to_be_visible()
    house.get_by_label("output", exact=True).fill("8")
    house.get_by_role("button", name="Set the price").click()
    expect(page.get_by_text("gpt-4o-house is priced from now on.")).to_be_visible()
    expect(house).to_have_count(0)
    assert "gpt-4o-house" in service.config.read_text()
    star.get_by_text("set a price").click()
    star.get_by_label("input", exact=True).fill("2")
    star.get_by_role("button", name="Set the price").click()
    expect(page.get_by_text("would be read as a pattern")).to_be_visible()
    service.send(model="gpt-4o-house", number=1, tokens=1_000_000, attributes=attributes_of("conv-priced"))
    page = opened.go("/spend")
    expect(row(page, "conv-priced")).to_contain_text("$2.00")


def test_a_key_is_blocked_by_hand_and_a_mistake_is_told_at_its_field(opened: Tab) -> None:
    page = opened.go("/blocks")
    page.get_by_text("Block a key by hand").click()
    page.get_by_label("Label").fill("tenant")
    page.get_by_label("Value").fill("acme")
    page.get_by_label("For").fill("soon")
    page.get_by_label("Why", exact=True).fill("unpaid")
    page.get_by_role("button", name="Block", exact=True).click()
    expect(page.locator("#h-ttl")).to_contain_text("no duration")
    expect(page.get_by_label("Value")).to_have_value("acme")
    page.get_by_label("For").fill("15m")
    page.get_by_role("button", name="Block", exact=True).click()
    expect(page.get_by_text("Blocked: tenant acme.")).to_be_visible()
    expect(page.get_by_role("region", name="Blocked now")).to_contain_text("unpaid")


def test_health_shows_files_that_are_wrong_and_when_they_are_mended(service: PageService, opened: Tab) -> None:
    page = opened.go("/health")
    expect(page.get_by_text("ready", exact=True)).to_be_visible()
    text = service.config.read_text()
    service.config.write_text(text.replace("metric: cost", "metric: costs"))
    expect(page.get_by_role("alert")).to_contain_text("costs")
    service.config.write_text(text)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_live_spend_follows_the_calls(service: PageService, opened: Tab) -> None:
    spend_too_much(service, "conv-spender")
    page = opened.go("/spend?by=tenant&window=1m")
    expect(row(page, "acme")).to_contain_text("%")
    page.get_by_role("link", name="conversation").click()
    expect(row(page, "conv-spender")).to_contain_text("$3.22")
    page.get_by_role("link", name="Calls").click()
    expect(page.get_by_role("columnheader", name="Calls")).to_have_attribute("aria-sort", "descending")
    expect(page.locator(".uplot")).to_be_visible()


@contextmanager
def fickle() -> Iterator[tuple[str, list[int]]]:
    """A receiver that answers with the last status of a list; gives its address and the list."""
    statuses = [410]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(statuses[-1])
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/alerts", statuses
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_notification_that_was_given_up_is_sent_again(browser: Browser, tmp_path: Path) -> None:
    config = written(tmp_path / "tocsin.yaml")
    with fickle() as (url, statuses):
        config.write_text(config.read_text().replace("http://127.0.0.1:9/none", url))
        with PageService(config) as service, tab(browser, service.url) as opened:
            page = opened.go("/health")
            spend_too_much(service, "conv-1")
            letter = row(page, "runaway-conversation")
            expect(letter).to_contain_text("410")
            expect(letter).to_contain_text("nowhere")
            statuses.append(204)
            letter.get_by_role("button", name="Send runaway-conversation to nowhere again").click()
            expect(page.get_by_text("It is on its way again")).to_be_visible()
            expect(letter).to_have_count(0)
            opened.go("/alerts")
            page.get_by_role("link", name="runaway-conversation", exact=True).click()
            told = page.get_by_role("region", name="who was told").get_by_role("listitem").filter(has_text="nowhere")
            expect(told.last).to_contain_text("delivered")
