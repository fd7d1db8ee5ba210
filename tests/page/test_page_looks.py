"""Every page, in light at a desk and in dark on a phone: nothing that axe calls serious, and nothing sideways."""

import re
from collections.abc import Iterator

import pytest
from browser_harness import DESK, PHONE, PageService, Theme, tab
from page_scene import attributes_of, spend_too_much, written
from playwright.sync_api import Browser, Locator, Page, expect

pytestmark = pytest.mark.peer
PAGES = (
    "/alerts",
    "/spend",
    "/closest",
    "/silences",
    "/silences/new?rule=runaway-conversation",
    "/blocks",
    "/unpriced",
    "/health",
    "/contact-points",
    "/contact-points/new",
    "/contact-points/new?type=email",
    "/contact-points/edit?name=nowhere",
    "/contact-points/preview?name=nowhere",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageService]:
    """A service with something on each page."""
    with PageService(written(tmp_path_factory.mktemp("looks") / "tocsin.yaml")) as running:
        spend_too_much(running, "conv-with-a-name-that-is-much-longer-than-any-phone-is-wide-" + "x" * 80)
        running.send(model="a-house-model-" + "y" * 60, number=2, attributes=attributes_of("conv-2"))
        yield running


@pytest.mark.parametrize(("theme", "size"), [("light", DESK), ("dark", PHONE)], ids=["desk", "phone"])
def test_pages_are_accessible_and_fit(
    browser: Browser, service: PageService, theme: Theme, size: tuple[int, int]
) -> None:
    with tab(browser, service.url, theme=theme, size=size) as opened:
        page = opened.go("/alerts")
        page.get_by_role("link", name="runaway-conversation").first.click()
        expect(page.get_by_role("heading", name="Likely cause")).to_be_visible()
        one = page.url.removeprefix(service.url)
        for path in (one, *PAGES):
            opened.go(path)
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            for details in page.locator("main details").all():
                details.evaluate("(node) => { node.open = true; }")
            opened.check_access()
            opened.check_width()


def test_an_alert_is_looked_after_with_the_keyboard_alone(browser: Browser, service: PageService) -> None:
    with tab(browser, service.url) as opened:
        page = opened.go("/alerts")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
        page.keyboard.press("Enter")
        wanted = page.get_by_role("link", name="runaway-conversation").first
        tab_to(page, wanted)
        page.keyboard.press("Enter")
        acknowledge = page.get_by_role("button", name="Acknowledge")
        tab_to(page, acknowledge)
        page.keyboard.press("Enter")
        expect(page.get_by_text(re.compile("acknowledged by"))).to_be_visible()
        tab_to(page, page.get_by_role("button", name="Block", exact=True))
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(page.get_by_role("button", name="Block", exact=True)).to_be_focused()


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until something has the focus."""
    for _ in range(60):
        if wanted.count() and wanted.evaluate("(node) => node === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{wanted} can't be reached")


def test_a_page_on_a_phone_has_its_menu_behind_a_button(browser: Browser, service: PageService) -> None:
    with tab(browser, service.url, size=PHONE) as opened:
        page = opened.go("/alerts")
        expect(page.get_by_role("link", name="Health")).to_be_hidden()
        page.get_by_role("button", name="Menu").click()
        page.get_by_role("link", name="Health").click()
        expect(page.get_by_role("heading", name="Health")).to_be_visible()
