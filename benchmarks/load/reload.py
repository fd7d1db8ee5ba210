"""An edit of the rules while 10,000 spans a second arrive: nothing lost, windows kept, soon in force."""

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.load import configuration, servers
from benchmarks.load.generator import Traffic, probe, send
from benchmarks.load.servers import Server
from benchmarks.outcome import Effort, NotRunError, Outcome, median_outcome

__all__ = ["run"]

_RATE = 10_000
_LASTING_SECONDS = 8.0
_FIRST_EDIT_SECONDS = 2.0
_PROBES = 80
_HALF_TOKENS = 60_000_000  # $600: two of them cross the $1,000 of the rule that stays


def run(effort: Effort) -> list[Outcome]:
    """Edit the rules once a round."""
    webhook = servers.free_port()
    config = configuration.mixed()
    rules = [*config.pop("rules"), configuration.probe_rule("kept")]
    config = configuration.with_webhook({**config, "rule_files": ["rules.yaml"]}, webhook)
    seconds: list[float] = []
    lost = 0.0
    with servers.tocsin(config, files={"rules.yaml": _text(rules)}) as server:
        for number in range(effort.rounds):
            taken, missing = _round(server, webhook, rules, number)
            seconds.append(taken)
            lost += missing
    return [
        median_outcome("reload under 10k spans/s, edit to first alert of the new rule", seconds, "s", target="<= 1"),
        Outcome("reload under 10k spans/s, spans lost", lost, "spans", target="<= 0", rounds=effort.rounds),
    ]


def _round(server: Server, webhook: int, rules: list[dict[str, Any]], number: int) -> tuple[float, float]:
    """Return how long after the edit the new rule fired, and how many acknowledged spans are missing."""
    before = server.total("tocsin_spans_received_total")
    with ThreadPoolExecutor(max_workers=1) as pool:
        load = pool.submit(send, server.grpc_port, Traffic(spans=100, rate=_RATE), _LASTING_SECONDS)
        time.sleep(_FIRST_EDIT_SECONDS)  # the load's own beginning is not part of it
        conversation = f"kept-{number}"
        _half(server, webhook, conversation, expect=False)
        edited = _edit(server.directory / "rules.yaml", [*rules, _new_rule(number)])
        hits = _until_in_force(server, webhook, number)
        _half(server, webhook, conversation, expect=True)
        sent, probes = _sent(load), 2 * 2 + _PROBES + 1
    server.settled_cpu_seconds()
    counted = server.total("tocsin_spans_received_total") - before
    return (hits - edited) / 1e9, sent + probes - counted


def _until_in_force(server: Server, webhook: int, number: int) -> int:
    """Return when the first webhook of the new rule arrived: only it is about these conversations."""
    report = probe(
        server.grpc_port,
        webhook,
        f"-count={_PROBES}",
        "-interval=25ms",
        f"-prefix=new-{number}",
        f"-feature=new-{number}",
        "-output-tokens=1000000",
        "-wait=50ms",
    )
    received = [hit["received"] for hit in report["hits"] if hit["rule"] == f"new-{number}"]
    if not received:
        raise NotRunError(f"the new rule was not in force {_PROBES * 25} ms after the edit")
    first: int = min(received)
    return first


def _half(server: Server, webhook: int, conversation: str, *, expect: bool) -> None:
    """Send $600 in a conversation; the second time the rule that was not edited must see both halves."""
    report = probe(
        server.grpc_port,
        webhook,
        "-count=1",
        "-same",
        f"-prefix={conversation}",
        f"-output-tokens={_HALF_TOKENS}",
        "-wait=3s" if expect else "-wait=10ms",
    )
    values = [hit["value"] for hit in report["hits"] if hit["rule"] == "kept"]
    if bool(values) is not expect or (expect and abs(values[0] - 1200) > 1):
        raise NotRunError(f"the window was not kept over the edit: alerts with the values {values} in {conversation}")


def _new_rule(number: int) -> dict[str, Any]:
    feature = f"new-{number}"
    return configuration.probe_rule(feature, threshold=5, filters={"app.feature": feature})


def _edit(path: Path, rules: list[dict[str, Any]]) -> int:
    """Put a new file in the place of the old one, as editors do; return when."""
    beside = path.with_name(".rules.new")
    beside.write_text(_text(rules), encoding="utf-8")
    edited = time.time_ns()
    beside.replace(path)
    return edited


def _text(rules: list[dict[str, Any]]) -> str:
    return json.dumps({"rules": rules}, indent=1)


def _sent(load: Future[dict[str, Any]]) -> int:
    sent: int = load.result()["acknowledged"]
    return sent
