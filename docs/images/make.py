"""Takes the pictures of the page that the documentation shows: `.venv/bin/python docs/images/make.py [NAME…]`.

The real service on free ports of 127.0.0.1, a few minutes of made-up traffic with a runaway conversation in it, and a
real Chromium, in light and in dark. Needs `make install` and `make peers`.
"""

import json
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from random import Random
from typing import Final

IMAGES: Final = Path(__file__).resolve().parent
ROOT: Final = IMAGES.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "page")]

from browser_harness import DESK, PHONE, PageService, Tab, Theme, chromium_running, tab  # noqa: E402
from page_scene import attributes_of  # noqa: E402
from PIL import Image  # noqa: E402
from webhook_receiver import WebhookReceiver  # noqa: E402

from benchmarks import browser  # noqa: E402

CONFIG: Final = """\
receivers:
  otlp: {grpc: {endpoint: 127.0.0.1:0}, http: {endpoint: 127.0.0.1:0}}
api: {endpoint: 127.0.0.1:0, rate_limit: 1000/s}
trace_url: https://jaeger.example/trace/{trace_id}
network: {allow_private: true}
contact_points:
  oncall: {type: webhook, url: "WEBHOOK"}
  eng-slack: {type: slack, webhook_url: "http://127.0.0.1:9/services/T0/B0/not-there"}
  terminal: {type: log}
rules:
  # An agent in a loop: fires on the very call that crosses the line.
  - name: runaway-conversation
    description: One conversation burns money.
    severity: critical
    metric: cost
    window: 5m
    group_by: conversation
    condition: gt
    threshold: $25
    notify: [oncall, terminal]
    labels: {team: support}
    runbook_url: https://runbooks.example/runaway
    actions: [{block: conversation, ttl: 30m}]
  - name: tenant-budget
    description: What a tenant may spend in a day.
    severity: high
    metric: cost
    window: day
    group_by: tenant
    condition: gt
    threshold: $60
    notify: oncall
  - name: many-errors
    description: The provider fails more often than it should.
    severity: medium
    metric: error_rate
    window: 10m
    group_by: model
    condition: gt
    threshold: 15%
    min_samples: 20
    notify: eng-slack
  - name: hungry-agent
    description: An agent reads far more than it used to.
    severity: low
    metric: input_tokens
    window: 5m
    group_by: agent
    condition: gt
    threshold: 7000000
    notify: eng-slack
"""
SCALE: Final = 1.5
MOST_BYTES: Final = 200_000
TENANTS: Final = ("acme", "globex", "initech", "umbrella")
AGENTS: Final = ("support-bot", "research-agent", "triage")
MODELS: Final = ("gpt-4o", "claude-sonnet-4-5", "gpt-4o-mini", "gemini-2.5-pro")


def play(service: PageService) -> None:
    """Send the last minutes, the runaway conversation at their end."""
    random = Random(3)  # noqa: S311  # made-up traffic
    for ago in range(290, 0, -2):
        for number in range(2):
            who = random.randrange(40)
            service.send(
                model=MODELS[(who + number) % 4],
                tokens=random.randrange(3_000, 60_000),
                ago=ago,
                failed=MODELS[(who + number) % 4] == "gemini-2.5-pro" and random.random() < 0.4,
                attributes=attributes_of(f"conv-{1000 + who}", TENANTS[who % 4], AGENTS[who % 3]),
            )
        if ago < 80:
            loop = attributes_of("conv-1042", "acme", "research-agent")
            service.send(model="claude-sonnet-4-5", number=2, tokens=115_000, ago=ago, attributes=loop)
    service.send(model="house-model-7b", number=3, attributes=attributes_of("conv-1007", "globex", "triage"))


def wait_for_alert(service: PageService, rule: str) -> str:
    """Return the id of the alert of a rule, once it fires and its messages are on their way."""
    for _ in range(100):
        with urllib.request.urlopen(f"{service.url}/api/v1/alerts?rule={rule}", timeout=5) as answer:  # noqa: S310  # our own service
            found = json.load(answer)["alerts"]
        if found:
            time.sleep(1.5)
            return str(found[0]["id"])
        time.sleep(0.1)
    raise TimeoutError(f"{rule} does not fire")


def backtest(opened: Tab) -> None:
    """Open the editor and try the rule."""
    page = opened.go("/rules/edit?project=default&name=runaway-conversation")
    page.get_by_role("button", name="Try it on what was recorded").click()
    page.locator("#backtest canvas").wait_for()
    page.locator("#backtest-title").evaluate("(node) => node.scrollIntoView()")


def scenes(alert: str) -> dict[str, tuple[tuple[int, int], Callable[[Tab], object]]]:
    """Return name -> size of the window, and what to open in it."""
    return {
        "page-alerts": (DESK, lambda opened: opened.go("/alerts")),
        "page-alert": (DESK, lambda opened: opened.go(f"/alerts/{alert}")),
        "page-alert-phone": (PHONE, lambda opened: opened.go(f"/alerts/{alert}")),
        "page-spend": (DESK, lambda opened: opened.go("/spend")),
        "page-closest": (DESK, lambda opened: opened.go("/closest")),
        "page-rules": (DESK, lambda opened: opened.go("/rules")),
        "page-editor": (DESK, lambda opened: opened.go("/rules/edit?project=default&name=runaway-conversation")),
        "page-backtest": (DESK, backtest),
    }


def take(opened: Tab, target: Path) -> None:
    """Take the picture in 256 colours, and say so if it is too large for a repository."""
    opened.page.wait_for_timeout(900)
    opened.page.screenshot(path=target)
    with Image.open(target) as picture:
        whole = picture.convert("RGB")
    counted = sorted(whole.getcolors(whole.width * whole.height) or (), reverse=True)
    rare = whole.quantize(56, Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = Image.new("P", (1, 1))
    # The most frequent colours stay exactly as they are, surfaces and text; small signs get one that is close.
    palette.putpalette([part for _, color in counted[:200] for part in color] + rare[: 56 * 3])
    whole.quantize(palette=palette, dither=Image.Dither.NONE).save(target, optimize=True)
    if target.stat().st_size > MOST_BYTES:
        raise ValueError(f"{target} has {target.stat().st_size} bytes, more than {MOST_BYTES}")


def main(names: list[str]) -> None:
    """Take those that are named, or all."""
    program = browser.chromium_path()
    if program is None:
        raise SystemExit("no Chromium: `make peers` fetches it")
    themes: tuple[Theme, ...] = ("light", "dark")
    with tempfile.TemporaryDirectory() as directory, chdir(directory), WebhookReceiver() as receiver:
        config = Path("tocsin.yaml")
        config.write_text(CONFIG.replace("WEBHOOK", receiver.url))
        with PageService(config) as service, chromium_running(program) as chromium:
            play(service)
            wanted = scenes(wait_for_alert(service, "runaway-conversation"))
            for name, (size, go) in wanted.items():
                for theme in themes if not names or name in names else ():
                    with tab(chromium, service.url, theme=theme, size=size, scale=SCALE) as opened:
                        go(opened)
                        take(opened, IMAGES / f"{name}-{theme}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
