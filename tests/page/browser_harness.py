"""A real Chromium on the page of a real service: what tests of the page share.

A tab that is watched fails its test for whatever no visitor should meet: an error in the console, a violation of the
content security policy, a request to another host.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no types
from otlp_requests import Call, Exporter, Value, request_of
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright
from running_service import RunningService

from benchmarks import browser as chromium

__all__ = ["DESK", "PHONE", "PageService", "Tab", "Theme", "chromium_running", "tab"]

PHONE: Final = (390, 844)
"""CSS pixels of a usual phone."""
DESK: Final = (1280, 860)
_SECONDS: Final = 10
_GRAVE: Final = frozenset({"serious", "critical"})
expect.set_options(timeout=_SECONDS * 1000)
Theme = Literal["light", "dark"]


@contextmanager
def chromium_running(program: Path) -> Iterator[Browser]:
    """Run Chromium while the block runs."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(program),
            env=dict(chromium.chromium_environment()),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--force-color-profile=srgb"],
        )
        try:
            yield browser
        finally:
            browser.close()


class PageService:
    """`tocsin serve` on a configuration, and an application that sends it model calls; a context manager."""

    def __init__(self, config: Path, *, base_path: str = "") -> None:
        self.service = RunningService(config)
        self.base_path = base_path
        self._random = Random(7)
        self._exporter: Exporter | None = None

    @property
    def config(self) -> Path:
        """The configuration's file."""
        return self.service.config

    @property
    def url(self) -> str:
        """Where its page begins, without a slash at the end."""
        return f"http://{self.service.addresses['api']}{self.base_path}"

    def send(
        self,
        *,
        model: str = "gpt-4o",
        number: int = 1,
        tokens: int = 1000,
        ago: float = 0.0,
        failed: bool = False,
        attributes: Mapping[str, Value] | None = None,
    ) -> None:
        """Send model calls with so many input tokens each, which ended some seconds ago."""
        end = time.time_ns() - int(ago * 1e9)
        more: dict[str, Any] = {"input_tokens": tokens, "failed": failed, "attributes": attributes or {}}
        self.send_calls([Call.drawn(self._random, end=end, model=model, **more) for _ in range(number)])

    def send_calls(self, calls: list[Call], resource: Mapping[str, Value] | None = None) -> None:
        """Send these calls in one request."""
        assert self._exporter is not None
        self._exporter(request_of(calls, resource=resource).SerializeToString())

    def __enter__(self) -> Self:
        self.service.__enter__()
        self._exporter = Exporter(self.service.addresses["grpc"]).__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._exporter is not None:
            self._exporter.__exit__(kind, error, trace)
        self.service.__exit__(kind, error, trace)


class Tab:
    """One tab of a browser, which writes down what goes wrong in it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.wrong: list[str] = []
        self.expected: list[str] = []
        """Texts of errors in the console that are what a test wants."""
        self._host = urlsplit(url).netloc
        page.set_default_timeout(_SECONDS * 1000)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.wrong.append(f"script: {error}"))
        page.on("request", self._asked)

    def go(self, path: str) -> Page:
        """Open a path of the page."""
        self.page.goto(self.url + path)
        return self.page

    def check_access(self) -> None:
        """Hold what is shown against axe's rules.

        Raises:
            AssertionError: a violation is serious.
        """
        found = Axe().run(self.page).response["violations"]
        grave = [
            f"{one['id']}: {one['help']}: {node['html'][:200]}"
            for one in found
            if one["impact"] in _GRAVE
            for node in one["nodes"]
        ]
        assert not grave, "\n".join(grave)

    def check_width(self) -> None:
        """Check that nothing has to be scrolled sideways.

        Raises:
            AssertionError: the page is wider than the window; says by what.
        """
        wide: list[str] = self.page.evaluate(
            """() => {
                const width = document.documentElement.clientWidth;
                if (document.documentElement.scrollWidth <= width) return [];
                return [...document.querySelectorAll('body *')]
                    .filter((node) => node.getBoundingClientRect().right > width + 1)
                    .map((node) => node.outerHTML.slice(0, 120));
            }"""
        )
        scrolls = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert scrolls <= 0, f"{self.page.url}: {scrolls} px too wide: {wide[:5]}"

    def check_silent(self) -> None:
        """Check that nothing went wrong.

        Raises:
            AssertionError: something did.
        """
        left = [one for one in self.wrong if not any(text in one for text in self.expected)]
        assert not left, "\n".join(left)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != self._host:
            self.wrong.append(f"request to another host: {request.url}")


@contextmanager
def tab(
    browser: Browser, url: str, *, theme: Theme = "light", size: tuple[int, int] = DESK, scale: float = 1.0
) -> Iterator[Tab]:
    """Open a tab of a visitor of its own, without cookies; at the end, fail for what went wrong in it."""
    width, height = size
    context = browser.new_context(
        color_scheme=theme,
        viewport={"width": width, "height": height},
        device_scale_factor=scale,
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="Europe/Zurich",
    )
    try:
        opened = Tab(context.new_page(), url)
        yield opened
        opened.check_silent()
    finally:
        context.close()
