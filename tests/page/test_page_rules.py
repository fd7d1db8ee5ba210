"""What a person who writes rules does on the page: from an empty form to a rule that fires."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_harness import DESK, PHONE, PageService, Tab, Theme, tab
from page_scene import attributes_of, spend_too_much, written
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.peer
BACKTEST_MS = 45_000
"""Backtests run in a process of their own, which goes behind on a busy machine."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageService]:
    """A service with two rules, and history of a conversation that spent $1.29 in all."""
    with PageService(written(tmp_path_factory.mktemp("rules") / "tocsin.yaml")) as running:
        running.send(model="gpt-4o", number=10, tokens=64_000, ago=30, attributes=attributes_of("conv-past"))
        running.service.wait_for_metric("tocsin_spans_received_total", 10)
        yield running


@pytest.fixture
def opened(browser: Browser, service: PageService) -> Iterator[Tab]:
    """A tab on that service."""
    with tab(browser, service.url) as opened:
        opened.expected += ["htmx:sendAbort", "htmx:afterRequest"]  # a check under way ends where its page does
        yield opened


def test_a_rule_is_written_tried_saved_and_fires_without_reloading(service: PageService, opened: Tab) -> None:
    page = opened.go("/rules")
    page.get_by_role("link", name="New rule").click()
    checklist = page.get_by_role("region", name="Checklist")
    expect(checklist.get_by_role("status")).to_contain_text("not right yet")
    page.get_by_label("Name", exact=True).fill("spend-of-a-tenant")
    page.get_by_label("Metric", exact=True).select_option("cost")
    page.get_by_label("Window").fill("5m")
    page.get_by_label("For each").fill("tenant")
    page.get_by_label("Threshold", exact=True).first.fill("much")
    expect(checklist.get_by_role("listitem").filter(has_text="'much' is no threshold for cost")).to_be_visible()
    page.get_by_label("Threshold", exact=True).first.fill("$1.00")
    expect(checklist.get_by_role("status")).to_have_text("Ready to save")
    page.get_by_role("checkbox", name="terminal").check()
    expect(page.get_by_label("The rule's YAML, with what changes")).to_contain_text("notify: terminal")

    page.get_by_role("button", name="Try it on what was recorded").click()
    tried = page.locator("#backtest")
    expect(tried).to_contain_text("would have fired 1 time", timeout=BACKTEST_MS)
    expect(tried.locator("canvas")).to_be_visible()
    assert '"label":"medium","value":1.0' in (tried.locator("[data-chart]").get_attribute("data-chart") or "")
    expect(tried.get_by_role("row").filter(has_text="tenant acme")).to_contain_text("$1.13")

    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("spend-of-a-tenant")
    expect(page.get_by_text("spend-of-a-tenant is saved in tocsin.yaml, line")).to_be_visible()
    text = service.config.read_text()
    assert "# ours\n" in text
    assert "  # One conversation burns money.\n" in text
    assert "threshold: $2.50 # by hand\n" in text
    assert text.endswith(
        "  - name: spend-of-a-tenant\n    metric: cost\n    window: 5m\n    group_by: tenant\n"
        "    condition: gt\n    threshold: $1.00\n    notify: terminal\n"
    )

    page.evaluate("window.stayed = true")
    now = page.locator("#rule-now")
    spend_too_much(service, "conv-new")
    expect(now).to_contain_text("firing")
    expect(now.get_by_role("row").filter(has_text="tenant acme")).to_contain_text("$1.00")
    expect(now.locator("canvas")).to_be_visible()
    assert page.evaluate("window.stayed") is True
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#past canvas")).to_be_visible(timeout=BACKTEST_MS)

    opened.go("/rules")
    expect(page.get_by_role("row").nth(1)).to_contain_text("firing")


def test_an_edit_changes_its_line_only_and_says_so_before(service: PageService, opened: Tab) -> None:
    before = service.config.read_text()
    page = opened.go("/rules")
    page.get_by_role("link", name="Edit many-errors").click()
    page.get_by_label("Threshold", exact=True).first.fill("7%")
    preview = page.get_by_label("The rule's YAML, with what changes")
    expect(preview.locator(".new")).to_have_text("+  threshold: 7%")
    expect(preview.locator(".gone")).to_have_text("-  threshold: 5%")
    assert service.config.read_text() == before
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("many-errors")
    assert service.config.read_text() == before.replace("threshold: 5%", "threshold: 7%")


def test_of_two_who_change_a_rule_neither_loses_anything(browser: Browser, service: PageService, opened: Tab) -> None:
    opened.expected.append("412")
    page = opened.go("/rules/edit?name=many-errors")
    with tab(browser, service.url) as other:
        theirs = other.go("/rules/edit?name=many-errors")
        theirs.get_by_label("Description").fill("Theirs.")
        theirs.get_by_role("button", name="Save").click()
        expect(theirs.get_by_role("heading", level=1)).to_have_text("many-errors")
    page.get_by_label("Description").fill("Mine.")
    page.get_by_role("button", name="Save").click()
    told = page.get_by_role("alert")
    expect(told).to_contain_text("Somebody changed this rule meanwhile.")
    expect(told.get_by_label("The rule as it is now")).to_contain_text("Theirs.")
    expect(told.get_by_label("Your version")).to_contain_text("Mine.")
    assert "Theirs." in service.config.read_text()
    told.get_by_role("button", name="Save mine over it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("many-errors")
    assert "description: Mine." in service.config.read_text()


def test_what_is_wrong_stands_at_its_field_and_nothing_is_lost(service: PageService, opened: Tab) -> None:
    before = service.config.read_text()
    opened.expected += ["422", "409"]
    page = opened.go("/rules/new")
    page.get_by_label("Name", exact=True).fill("many-errors")
    page.get_by_label("Metric", exact=True).select_option("error_rate")
    page.get_by_label("Threshold", exact=True).first.fill("150")
    page.get_by_label("Only spans with").fill("model: gpt-4o*")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was saved yet.")
    expect(page.get_by_role("alert")).to_contain_text("has a rule 'many-errors' at")
    expect(page.get_by_label("Name", exact=True)).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Name", exact=True).fill("many-errors-too")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#h-threshold")).to_contain_text("%")
    expect(page.get_by_label("Only spans with")).to_have_value("model: gpt-4o*")
    assert service.config.read_text() == before


def test_each_kind_of_rule_has_its_own_fields(opened: Tab) -> None:
    page = opened.go("/rules/new")
    page.get_by_label("Name", exact=True).fill("of-a-kind")
    status = page.get_by_role("region", name="Checklist").get_by_role("status")
    for kind, label, name, text in (
        ("PromQL", "Expression", "f-expr", "sum by (tenant) (increase(cost[1h])) > 25"),
        ("SQL", "Query", "f-sql", "SELECT 1"),
        ("Ready rule", "Its parameters", "f-with", "threshold: $30"),
    ):
        page.get_by_role("radio", name=kind).check()
        expect(page.get_by_label(label, exact=True)).to_be_visible()
        expect(page.locator("#f-metric")).to_be_hidden()
        page.locator(f"#{name}").fill(text)
        if kind == "Ready rule":
            page.locator("#f-template").select_option("runaway_conversation")
        expect(status).to_contain_text("not right yet" if kind == "SQL" else "Ready to save")
    preview = page.get_by_label("The rule's YAML, with what changes")
    expect(preview).to_contain_text("template: runaway_conversation")
    expect(preview).not_to_contain_text("expr")


def test_a_rule_is_switched_off_and_on_tested_and_deleted_from_the_table(service: PageService, opened: Tab) -> None:
    page = opened.go("/rules/new?like=many-errors")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("many-errors-copy")
    opened.go("/rules")
    found = page.get_by_role("row").filter(has=page.get_by_role("link", name="many-errors-copy", exact=True))
    page.get_by_role("button", name="Disable many-errors-copy").focus()
    page.keyboard.press("Enter")
    expect(found).to_contain_text("disabled")
    expect(page.get_by_role("button", name="Enable many-errors-copy")).to_be_focused()  # a refresh keeps the place
    assert service.config.read_text().count("enabled: false") == 1
    page.keyboard.press("Enter")
    expect(found).to_contain_text("live")
    page.get_by_role("button", name="Send a test notification of many-errors-copy").click()
    expect(page.locator("#toasts")).to_contain_text("names no contact point")
    page.get_by_role("button", name="Delete many-errors-copy").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete many-errors-copy?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(found).to_be_visible()
    page.get_by_role("button", name="Delete many-errors-copy").click()
    dialog.get_by_role("button", name="Yes").click()
    expect(page.locator("#toasts")).to_contain_text("many-errors-copy is deleted")
    expect(found).to_have_count(0)
    assert "many-errors-copy" not in service.config.read_text()


def test_a_name_with_signs_of_addresses_is_one_of_its_own(service: PageService, opened: Tab) -> None:
    page = opened.go("/rules/new?like=many-errors")
    page.get_by_label("Name", exact=True).fill("50% of a? #1 <b>")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("50% of a? #1 <b>")
    page.evaluate("document.querySelector('#rule-now').dataset.seen = 'yes'; htmx.trigger('#rule-now', 'tocsin:live')")
    expect(page.locator("#rule-now:not([data-seen])")).to_contain_text("live")
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Description").fill("Signs.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("50% of a? #1 <b>")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Rules")
    assert "50%" not in service.config.read_text()


def test_the_table_is_searched_as_one_types(opened: Tab) -> None:
    page = opened.go("/rules")
    page.get_by_label("Search").press_sequentially("BURNS")
    expect(page.get_by_role("link", name="many-errors", exact=True)).to_have_count(0)
    expect(page.get_by_role("link", name="runaway-conversation", exact=True)).to_be_visible()
    expect(page.get_by_label("Search")).to_be_focused()
    page.get_by_label("Search").fill("nothing like it")
    expect(page.get_by_text("No rule is like that")).to_be_visible()


def test_a_rule_is_written_with_the_keyboard_alone(service: PageService, opened: Tab) -> None:
    page = opened.go("/rules")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="New rule")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.type("by-keyboard")
    for _ in range(4):  # project, description, kind, metric
        page.keyboard.press("Tab")
    expect(page.get_by_label("Metric", exact=True)).to_be_focused()
    page.keyboard.type("cost")
    while not page.evaluate("document.activeElement.id === 'f-threshold'"):
        page.keyboard.press("Tab")
    page.keyboard.type("9")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("by-keyboard")
    assert "name: by-keyboard" in service.config.read_text()


@pytest.mark.parametrize(("theme", "size"), [("light", DESK), ("dark", PHONE)], ids=["desk", "phone"])
def test_everybody_can_use_the_pages_of_rules(
    browser: Browser, service: PageService, theme: Theme, size: tuple[int, int]
) -> None:
    with tab(browser, service.url, theme=theme, size=size) as opened:
        for path in ("/rules", "/rules/default/runaway-conversation", "/rules/edit?name=runaway-conversation"):
            page = opened.go(path)
            if "edit" in path:
                expect(page.get_by_role("region", name="Checklist")).to_be_visible()
                page.evaluate("document.querySelectorAll('form.rule details').forEach(each => each.open = true)")
            opened.check_access()
            opened.check_width()


def test_the_theme_is_chosen_and_remembered(opened: Tab) -> None:
    page = opened.go("/rules")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_label("Theme").select_option("dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    opened.go("/rules/new")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def test_who_may_only_look_sees_no_way_to_change(browser: Browser, tmp_path: Path) -> None:
    tokens = "tokens: [{name: viewer, token: a-token-of-the-viewer, role: read}], base_path: /ops"
    with (
        PageService(written(tmp_path / "tocsin.yaml", api=tokens), base_path="/ops") as running,
        tab(browser, running.url) as opened,
    ):
        page = opened.go("/rules")
        page.get_by_label("Token").fill("a-token-of-the-viewer")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Rules")
        expect(page.get_by_role("link", name="many-errors", exact=True)).to_be_visible()
        expect(page.locator("[data-link-state='live']")).to_be_visible()
        for name in ("Disable", "Delete", "Edit", "New rule"):
            expect(page.get_by_text(name, exact=True)).to_have_count(0)
        page.get_by_role("link", name="many-errors", exact=True).click()
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#past")).to_contain_text("has no spans from", timeout=BACKTEST_MS)
        opened.expected.append("403")
        assert opened.go("/rules/new").get_by_text("Not yours to do").is_visible()
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
        opened.check_access()
