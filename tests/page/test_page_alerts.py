"""What a person who is paged does on the page: sees it fire, looks at why, acknowledges, silences, blocks, ends it."""

import json
import re
from collections.abc import Iterator

import pytest
from browser_harness import PageService, Tab, tab
from page_scene import attributes_of, spend_too_much, written
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageService]:
    """A service with a rule that conversations break."""
    with PageService(written(tmp_path_factory.mktemp("alerts") / "tocsin.yaml")) as running:
        yield running


@pytest.fixture
def opened(browser: Browser, service: PageService) -> Iterator[Tab]:
    """A tab on that service."""
    with tab(browser, service.url) as opened:
        yield opened


def fired(service: PageService, opened: Tab, conversation: str) -> Page:
    """Have a conversation's alert fire, and open it."""
    page = opened.go("/alerts")
    spend_too_much(service, conversation)
    found = page.get_by_role("row").filter(has_text=conversation)
    expect(found).to_be_visible()
    found.get_by_role("link", name="runaway-conversation", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(conversation)
    return page


def test_an_alert_appears_and_is_acknowledged_without_reloading(service: PageService, opened: Tab) -> None:
    page = opened.go("/alerts")
    page.evaluate("window.stayed = true")
    page.get_by_label("Rule").focus()
    spend_too_much(service, "conv-1")
    found = page.get_by_role("row").filter(has_text="conv-1")
    expect(found).to_contain_text("critical")
    expect(found).to_contain_text("$2.58")
    expect(found).to_contain_text("nobody yet")
    expect(page.get_by_label("Rule")).to_be_focused()
    expect(page.locator("#announcer")).to_contain_text("runaway-conversation for conv-1 is firing")
    found.get_by_role("button", name="Acknowledge").click()
    expect(found).to_contain_text("anonymous")
    expect(found.get_by_role("button", name="Acknowledge")).to_have_count(0)
    assert page.evaluate("window.stayed") is True


def test_an_alert_shows_why_and_who_was_told(service: PageService, opened: Tab) -> None:
    page = fired(service, opened, "conv-2")
    expect(page.get_by_text("conversation conv-2 spent $2.58 in 5m, over the limit of $2.50").first).to_be_visible()
    cause = page.get_by_role("region", name="Likely cause")
    expect(cause.get_by_role("row", name="model gpt-4o")).to_contain_text("100 %")
    expect(cause.get_by_role("row", name="agent support-bot")).to_contain_text("100 %")
    trace = page.get_by_role("region", name="Traces").get_by_role("link").first
    expect(trace).to_have_attribute("href", re.compile(r"^https://jaeger\.example/trace/[0-9a-f]{32}$"))
    evidence = page.get_by_role("region", name="Evidence")
    expect(evidence).to_contain_text("16 calls")
    expect(evidence).to_contain_text("support")
    told = page.get_by_role("region", name="who was told")
    expect(told.get_by_role("listitem").filter(has_text="terminal").last).to_contain_text("delivered")
    failing = told.get_by_role("listitem").filter(has_text="nowhere").last
    expect(failing).to_contain_text("Connection refused")
    failing.get_by_text(re.compile(r"attempts?$")).click()
    expect(failing.get_by_role("listitem").first).to_contain_text("retrying")
    page.wait_for_timeout(1200)  # live parts were asked for again meanwhile, and what was opened stays open
    expect(failing.get_by_role("listitem").first).to_be_visible()
    expect(page.get_by_role("link", name="Runbook")).to_have_attribute("href", "https://runbooks.example/runaway")


def test_a_silence_is_filled_in_shows_what_it_matches_and_is_ended(service: PageService, opened: Tab) -> None:
    opened.expected.append("422")  # the browser notes each answer that is an error
    page = fired(service, opened, "conv-3")
    page.get_by_role("link", name="Silence", exact=True).click()
    matchers = page.get_by_label("Matchers")
    expect(matchers).to_have_value('project="default"\nrule="runaway-conversation"\ngroup.conversation="conv-3"')
    preview = page.get_by_role("region", name="holds back now")
    expect(preview.get_by_role("listitem")).to_have_count(1)
    expect(preview).to_contain_text("conv-3")
    matchers.fill('severity=~"["')
    expect(preview).to_contain_text("no regular expression")
    page.get_by_role("button", name="Silence").click()
    expect(page.locator("#h-matchers")).to_contain_text("no regular expression")
    page.get_by_label("Matchers").fill('group.conversation="conv-nobody"')
    expect(page.get_by_text("None that fires now matches")).to_be_visible()
    page.get_by_label("Comment").fill("planned <b>work</b>")
    page.get_by_label("For", exact=True).fill("45m")
    page.get_by_role("button", name="Silence").click()
    expect(page.get_by_text("The silence is in force.")).to_be_visible()
    made = page.get_by_role("row").filter(has_text="conv-nobody")
    expect(made).to_contain_text("active")
    expect(made).to_contain_text("planned <b>work</b>")
    made.get_by_role("button", name="End now").click()
    expect(made).to_contain_text("expired")
    expect(made).to_contain_text("ended by anonymous")


def test_a_conversation_is_blocked_from_its_alert_and_let_through_again(service: PageService, opened: Tab) -> None:
    page = fired(service, opened, "conv-4")
    page.get_by_role("button", name="Block", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("What")).to_contain_text("conversation conv-4")
    dialog.get_by_label("For").select_option("4h")
    dialog.get_by_label("Why").fill("it loops")
    dialog.get_by_role("button", name="Block").click()
    expect(page.get_by_text("Blocked: conversation conv-4.")).to_be_visible()
    assert is_blocked(service, "conv-4")
    opened.go("/blocks")
    now = page.get_by_role("region", name="Blocked now").get_by_role("row").filter(has_text="conv-4")
    expect(now).to_contain_text("it loops")
    expect(now).to_contain_text("anonymous")
    now.get_by_role("textbox").fill("was mended")
    now.get_by_role("button", name="Unblock").click()
    expect(now).to_have_count(0)
    assert not is_blocked(service, "conv-4")
    history = page.get_by_role("region", name="History")
    expect(history.get_by_role("row").filter(has_text="unblocked")).to_contain_text("was mended")
    expect(history.get_by_role("row").filter(has_text="it loops").first).to_be_visible()


def test_from_the_first_sight_of_an_alert_to_the_end_of_its_rule(service: PageService, opened: Tab) -> None:
    before = service.config.read_text()
    page = opened.go("/alerts")
    service.send(number=31, tokens=10, attributes=attributes_of("conv-6", agent="looper"))
    found = page.get_by_role("row").filter(has_text="agent looper")
    found.get_by_role("link", name="too-many-calls", exact=True).click()
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_text("acknowledged by anonymous")).to_be_visible()
    page.get_by_role("link", name="Silence", exact=True).click()
    page.get_by_role("button", name="Silence").click()
    expect(page.get_by_role("row").filter(has_text="looper")).to_contain_text("active")
    page.go_back()
    page.go_back()
    page.get_by_role("button", name="Block", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Block").click()
    expect(page.get_by_text("Blocked: agent looper.")).to_be_visible()
    page.get_by_role("link", name="Rule", exact=True).click()
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_role("button", name="Enable")).to_be_visible()
    assert "enabled: false" in service.config.read_text()
    opened.go("/alerts?state=resolved&rule=too-many-calls")
    expect(page.get_by_role("region", name="Resolved").get_by_role("row").filter(has_text="looper")).to_be_visible()
    opened.go("/rules/default/too-many-calls")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    expect(page.get_by_role("heading", name="Rules", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="too-many-calls")).to_have_count(0)
    kept = before.partition("  # An agent that asks itself.")[0]
    assert service.config.read_text().startswith(kept)
    assert "too-many-calls" not in service.config.read_text()


def is_blocked(service: PageService, conversation: str) -> bool:
    answer = json.loads(service.service.get(f"/api/v1/blocks/check?conversation={conversation}"))
    return bool(answer["blocked"])


def test_alerts_are_filtered_and_the_filter_is_in_the_address(service: PageService, opened: Tab) -> None:
    spend_too_much(service, "conv-5")
    page = opened.go("/alerts")
    expect(page.get_by_role("row").filter(has_text="conv-5")).to_be_visible()
    page.get_by_label("Group").fill("conversation=conv-5")
    expect(page.get_by_role("row").filter(has_text="runaway-conversation")).to_have_count(1)
    expect(page).to_have_url(re.compile("group=conversation%3Dconv-5"))
    page.get_by_label("Severity").select_option("low")
    expect(page.get_by_text("Nothing that fires matches")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Group")).to_have_value("conversation=conv-5")
    expect(page.get_by_text("Nothing that fires matches")).to_be_visible()


def test_what_spans_say_is_shown_as_text(service: PageService, opened: Tab) -> None:
    hostile = "<img src=x onerror=alert(1)>\u202e\"'><script>alert(2)</script>"
    spend_too_much(service, hostile)
    page = opened.go("/alerts")
    found = page.get_by_role("row").filter(has_text="<img src=x onerror=alert(1)>")
    expect(found).to_be_visible()
    found.get_by_role("link", name="runaway-conversation", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("<script>alert(2)</script>")
    assert page.locator("main img, main script").count() == 0
    opened.go("/spend")
    expect(page.get_by_role("row").filter(has_text="<img src=x")).to_be_visible()
    opened.go("/closest")
    expect(page.get_by_role("row").filter(has_text="<img src=x")).to_be_visible()


def test_what_is_closest_to_firing_moves_as_calls_arrive(service: PageService, opened: Tab) -> None:
    service.send(model="gpt-4o", number=5, tokens=64_000, attributes=attributes_of("conv-near"))
    page = opened.go("/closest?rule=runaway-conversation")
    found = page.get_by_role("row").filter(has_text="conv-near")
    expect(found).to_contain_text("32 %")
    expect(found).to_contain_text("$0.81")
    service.send(model="gpt-4o", number=8, tokens=64_000, attributes=attributes_of("conv-near"))
    expect(found).to_contain_text("near: 84 %")


def test_an_alert_that_is_not_there_says_so(opened: Tab) -> None:
    opened.expected.append("404")
    page = opened.go("/alerts/alt_none")
    expect(page.get_by_role("heading", name="Not here")).to_be_visible()
