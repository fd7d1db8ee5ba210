"""Who may see and do what on the page: tokens, roles, logout; behind a proxy and below a prefix."""

from collections.abc import Iterator

import pytest
from browser_harness import PageService, Tab, tab
from page_scene import spend_too_much, written
from playwright.sync_api import Browser, Page, expect
from reverse_proxy import ReverseProxy

pytestmark = pytest.mark.peer
READER, WRITER, BOUND = "the-readers-token-0123456789", "the-writers-token-0123456789", "the-bound-token-01234567890"
TOKENS = (
    f"{{name: reader, token: {READER}, role: read}}, "
    f"{{name: writer, token: {WRITER}, role: admin}}, "
    f"{{name: bound, token: {BOUND}, role: write, projects: [shop]}}"
)


@pytest.fixture(scope="module")
def proxy() -> Iterator[ReverseProxy]:
    """A proxy that leaves a prefix in the path."""
    with ReverseProxy("/watch/tocsin") as running:
        yield running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, proxy: ReverseProxy) -> Iterator[PageService]:
    """A service behind the proxy that asks for tokens."""
    api = f"base_path: {proxy.prefix}, public_url: {proxy.origin}{proxy.prefix}, tokens: [{TOKENS}]"
    with PageService(written(tmp_path_factory.mktemp("access") / "tocsin.yaml", api=api)) as running:
        proxy.upstream = running.service.addresses["api"]
        spend_too_much(running, "conv-1")
        yield running


@pytest.fixture
def opened(browser: Browser, service: PageService, proxy: ReverseProxy) -> Iterator[Tab]:
    """A tab that comes through the proxy."""
    assert service.service.process.poll() is None
    with tab(browser, proxy.origin + proxy.prefix) as opened:
        yield opened


def logged_in(opened: Tab, token: str, path: str = "/") -> Page:
    page = opened.go(path)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    return page


def test_a_visitor_logs_in_goes_on_to_where_they_wanted_and_follows_live(
    opened: Tab, service: PageService, proxy: ReverseProxy
) -> None:
    page = logged_in(opened, WRITER, "/alerts?severity=critical")
    expect(page).to_have_url(f"{opened.url}/alerts?severity=critical")
    expect(page.get_by_text("writer")).to_be_visible()
    expect(page.locator("[data-link-text]")).to_have_text("live")
    spend_too_much(service, "conv-2")
    expect(page.get_by_role("row").filter(has_text="conv-2")).to_be_visible()
    [cookie] = page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert cookie["path"] == proxy.prefix
    assert cookie["value"] not in WRITER
    assert proxy.others == []


def test_every_page_stays_below_the_prefix(opened: Tab, proxy: ReverseProxy) -> None:
    page = logged_in(opened, WRITER)
    expect(page).to_have_url(f"{opened.url}/alerts")
    links = page.get_by_role("navigation").get_by_role("link")
    for name in links.all_inner_texts():
        page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("navigation").get_by_role("link", name=name, exact=True)).to_have_attribute(
            "aria-current", "page"
        )
        expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert proxy.others == []


def test_what_a_writer_changes_goes_through_the_proxy(opened: Tab) -> None:
    page = logged_in(opened, WRITER, "/blocks")
    page.get_by_text("Block a key by hand").click()
    page.get_by_label("Value").fill("conv-77")
    page.get_by_label("Why", exact=True).fill("by the writer")
    page.get_by_role("button", name="Block", exact=True).click()
    expect(page.get_by_text("Blocked: conversation conv-77.")).to_be_visible()
    now = page.get_by_role("region", name="Blocked now").get_by_role("row").filter(has_text="conv-77")
    expect(now).to_contain_text("writer")


def test_a_reader_sees_and_can_do_nothing(opened: Tab) -> None:
    page = logged_in(opened, READER)
    found = page.get_by_role("row").filter(has_text="conv-1")
    expect(found).to_be_visible()
    expect(found.get_by_role("button")).to_have_count(0)
    found.get_by_role("link", name="runaway-conversation").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("conv-1")
    for name in ("Acknowledge", "Block"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    for path in ("/blocks", "/silences", "/contact-points", "/unpriced", "/health", "/rules", "/spend"):
        opened.go(path)
        expect(page.get_by_role("main").get_by_role("button")).to_have_count(0)
    opened.expected.append("403")
    opened.go("/contact-points/new")
    expect(page.get_by_role("heading", name="Not yours to do")).to_be_visible()
    assert posted(page, proof=True) == 403


def posted(page: Page, *, proof: bool) -> int:
    """Have the page send a block by hand, with its session's proof or without; return the answer's status."""
    status: int = page.evaluate(
        """async (proof) => (await fetch(document.body.dataset.base + "/blocks", {
            method: "POST", body: "label=conversation&value=forged&ttl=1h&reason=y",
            headers: {
                "content-type": "application/x-www-form-urlencoded",
                ...(proof ? JSON.parse(document.body.getAttribute("hx-headers")) : {}),
            },
        })).status""",
        proof,
    )
    return status


def test_a_form_without_the_sessions_proof_changes_nothing(opened: Tab, service: PageService) -> None:
    page = logged_in(opened, WRITER)
    opened.expected.append("403")
    assert posted(page, proof=False) == 403
    opened.go("/blocks")
    expect(page.get_by_text("forged")).to_have_count(0)
    assert posted(page, proof=True) == 200
    opened.go("/blocks")
    expect(page.get_by_text("forged").first).to_be_visible()


def test_a_wrong_token_is_told_and_a_logout_ends_the_session(opened: Tab) -> None:
    opened.expected.append("401")
    page = logged_in(opened, "no-token-of-ours", "/health")
    expect(page.get_by_text("This token is not known.")).to_be_visible()
    page.get_by_label("Token").fill(WRITER)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Health")).to_be_visible()
    kept = page.context.cookies()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.context.add_cookies(kept)  # type: ignore[arg-type]  # what it gave
    opened.go("/health")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_a_token_of_one_project_sees_nothing_of_others(opened: Tab) -> None:
    page = logged_in(opened, BOUND)
    expect(page.get_by_text("All quiet")).to_be_visible()
    for name in ("Live spend", "Unpriced models"):
        expect(page.get_by_role("link", name=name)).to_have_count(0)
    opened.go("/blocks")
    expect(page.get_by_text("Block a key by hand")).to_have_count(0)
    opened.expected.append("403")
    for path in ("/spend", "/unpriced"):
        opened.go(path)
        expect(page.get_by_role("heading", name="Not yours to do")).to_be_visible()
