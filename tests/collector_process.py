"""A real OpenTelemetry Collector as a process of its own, which `make peers` builds."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from grpc import aio

from benchmarks.peers import collector_path, in_ci

__all__ = ["collector", "collector_binary", "exporter_to", "free_port"]

RETRY = {"initial_interval": "50ms", "max_interval": "200ms"}


def collector_binary() -> Path:
    found = collector_path()
    if found is None:
        missing = "no collector is built; run `make peers` (needs Go 1.26 or later)"
        if in_ci():
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@asynccontextmanager
async def collector(
    exporter: dict[str, object], directory: Path, *, http_port: int | None = None
) -> AsyncIterator[str]:
    """Run a collector that passes traces, logs and metrics on to `exporter`; yield its OTLP/gRPC address.

    At the end it is asked to stop, which empties its queue. With `http_port` it takes OTLP/HTTP there too.
    """
    endpoint = f"127.0.0.1:{free_port()}"
    protocols = {"grpc": {"endpoint": endpoint}}
    if http_port is not None:
        protocols["http"] = {"endpoint": f"127.0.0.1:{http_port}"}
    everything = {"receivers": ["otlp"], "exporters": list(exporter)}
    config = {
        "receivers": {"otlp": {"protocols": protocols}},
        "exporters": exporter,
        "service": {
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
            "pipelines": {"traces": everything, "logs": everything, "metrics": everything},
        },
    }
    file = directory / "collector.yaml"
    file.write_text(json.dumps(config))  # JSON is YAML
    log = (directory / "collector.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        str(collector_binary()), f"--config={file}", stdout=log, stderr=asyncio.subprocess.STDOUT
    )
    try:
        await listens(endpoint, process)
        yield endpoint
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 30)
        log.close()
        print((directory / "collector.log").read_text())  # noqa: T201 - pytest shows it when the test fails


async def listens(endpoint: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(30), aio.insecure_channel(endpoint) as channel:
        ready = asyncio.create_task(channel.channel_ready())
        ended = asyncio.create_task(process.wait())
        await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
        assert process.returncode is None, "the collector ended at its start"
        ended.cancel()
        await ready


def exporter_to(kind: str, grpc_target: str, http_url: str) -> dict[str, object]:
    protocol, _, compression = kind.partition(" ")
    common: dict[str, object] = {"compression": compression or "none", "retry_on_failure": RETRY}
    if protocol == "grpc":
        return {"otlp": {"endpoint": grpc_target, "tls": {"insecure": True}, **common}}
    if protocol == "json":
        return {"otlphttp": {"endpoint": http_url, "encoding": "json", **common}}
    return {"otlphttp": {"endpoint": http_url, **common}}
