"""What tests of the page share: a browser, and services to look at."""

from collections.abc import Iterator

import pytest
from browser_harness import chromium_running
from playwright.sync_api import Browser

from benchmarks import browser as chromium
from benchmarks import peers


# Of a module, not of the session: while Playwright runs, its event loop is the thread's, and asynchronous tests of
# other files would find it there.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium."""
    program = chromium.chromium_path()
    if program is None:
        assert not peers.in_ci(), "CI has a Chromium: `make peers`"
        pytest.skip("no Chromium here: `make peers` fetches it")
    with chromium_running(program) as running:
        yield running
