"""The example application, as compose.yaml starts it, against its provider and Tocsin with compose's configuration."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from running_service import RunningService

ROOT = Path(__file__).parents[2]
APPLICATION = ROOT / "examples" / "app"


@contextmanager
def provider() -> Iterator[str]:
    """The provider in a process of its own; its address."""
    command = [sys.executable, "provider.py", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=APPLICATION, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().removeprefix("provider: ")
        finally:
            process.kill()


def on_this_machine_alone(config: Path, directory: Path) -> Path:
    """Write compose's configuration with free ports of 127.0.0.1."""
    text = re.sub(r"0\.0\.0\.0:\d+", "127.0.0.1:0", config.read_text())
    changed = directory / "config.yaml"
    changed.write_text(re.sub(r"(, |  )allow_unauthenticated: true", "", text))
    return changed


def test_the_agent_that_runs_away_rings_and_is_refused_its_next_call(tmp_path: Path) -> None:
    config = on_this_machine_alone(ROOT / "deploy" / "compose" / "tocsin" / "config.yaml", tmp_path)
    with RunningService(config) as service, provider() as address:
        environ = {
            **os.environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{service.addresses['grpc']}",
            "OTEL_SERVICE_NAME": "shop",
        }
        arguments = ["--provider", address, "--tocsin", f"http://{service.addresses['api']}"]
        command = [sys.executable, "shop.py", *arguments, "--seconds", "60", "--runaway-after", "0"]
        with subprocess.Popen(command, cwd=APPLICATION, env=environ, stdout=subprocess.PIPE, text=True) as shop:  # noqa: S603
            try:
                assert shop.stdout is not None
                refused = next((line for line in shop.stdout if "refused" in line), "")
            finally:
                shop.kill()
        assert "[CRITICAL] runaway-conversation: conversation conv-0314 spent $" in service.wait_for_line("[CRITICAL]")
        assert re.match(r"shop: conv-0314: refused after \d+ calls: ", refused)
        assert service.metric("tocsin_blocks") == 1
        # In compose the guard asks under another name than its own.
        asked = urllib.request.Request(
            f"http://{service.addresses['api']}/api/v1/blocks", headers={"Host": "tocsin:8417"}
        )
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310  # our own service
            assert [block["value"] for block in json.load(answer)["blocks"]] == ["conv-0314"]
        # Nobody else was touched, and nothing of what was sold is without its price.
        assert service.metric("tocsin_alerts_firing") == 1
        assert service.metric("tocsin_unpriced_spans_total") == 0
