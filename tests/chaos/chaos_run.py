"""A run of the chaos suite: the real process under load, faults one after another, and the verdict.

    python tests/chaos/chaos_run.py --faults 200 --seed 7 --report docs/reliability.md

The seed decides what is injected, in which order and for how long, and what is sent; what it meets depends on the
machine. Exit code 1: a promise was broken.
"""

import argparse
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import chaos_above  # noqa: F401  # before all others
from chaos_faults import Faults
from chaos_receiver import Collector, Webhook
from chaos_report import Report
from chaos_rules import configuration_of
from chaos_service import ChaosService
from chaos_traffic import TENANTS, Chat, GrpcClient, Ledger, Sender, calls_of, send
from chaos_verdict import expected_of, expected_totals, missing, violations

__all__ = ["Campaign", "main"]

_SENDERS = (("alpha", "grpc"), ("beta", "grpc"), ("gamma", "http"))
_PROBES_AT_ONCE = 200
_QUIET_SECONDS = 5.0
"""Longer than the shortest window and the longest `for`."""
_TRACES = ("Traceback (most recent call last)", "internal error, survived", "unexpected error")


_MERGED = """
SELECT gone.contact_point, gone.rule, alerts.labels, gone.severity
FROM deliveries AS gone JOIN alerts ON alerts.id = gone.alert_id
WHERE gone.status = 'merged' AND EXISTS (
    SELECT 1 FROM deliveries AS later
    WHERE later.contact_point = gone.contact_point AND later.alert_id = gone.alert_id
      AND later.published > gone.published AND later.status = 'delivered')
"""


class Campaign:
    """One run, from the first start of the process to the verdict."""

    def __init__(
        self,
        directory: Path,
        *,
        seed: int,
        kinds: tuple[str, ...] = (),
        forward: bool = True,
        settle_seconds: float = 150,
    ) -> None:
        """Prepare it.

        Args:
            directory: for the process's files.
            seed: of everything that is random.
            kinds: the faults to choose from; all by default.
            forward: whether requests go on to a next collector.
            settle_seconds: how long the last notifications may take.
        """
        self._random = Random(seed)
        self._directory = directory
        self._kinds = kinds
        self._forward = forward
        self._settle_seconds = settle_seconds
        self.ledger = Ledger()
        began = datetime.now(UTC).strftime("%Y-%m-%d")
        machine = (
            f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
        )
        self.report = Report(seed, began, machine)

    def run(self, faults: int, *, say: bool = False) -> Report:
        """Inject so many faults, compare, and return the report."""
        begun = time.monotonic()
        with ExitStack() as stack:
            self.hook, self.second = stack.enter_context(Webhook()), stack.enter_context(Webhook())
            self.collector = stack.enter_context(Collector()) if self._forward else None
            configuration = configuration_of(self.hook, self.second, self.collector)
            self.service = stack.enter_context(ChaosService(self._directory, configuration))
            senders = [
                Sender(
                    name,
                    self.service.http if transport == "http" else self.service.grpc,
                    self.ledger,
                    each,
                    transport=transport,
                )
                for (name, transport), each in zip(_SENDERS, map(Random, self._seeds()), strict=True)
            ]
            webhooks = {"hook": self.hook, "second": self.second}
            self.faults = Faults(
                self.service, senders, webhooks, self.collector, self.ledger, self.report, Random(self._random.random())
            )
            for sender in senders:
                sender.start()
            for number in range(1, faults + 1):
                time.sleep(self._random.uniform(0.1, 1.5))  # of undisturbed load
                kind = self.faults.inject(self._random.choice(self._kinds) if self._kinds else None)
                self.report.faults[kind] += 1
                if say:
                    print(f"{number}/{faults} {kind}: {len(self.ledger.chats)} spans acknowledged", flush=True)  # noqa: T201
                self._check_alive()
            self.faults.heal()
            for sender in senders:
                sender.stop()
            self._settle()
        self.report.seconds = time.monotonic() - begun
        return self.report

    def _seeds(self) -> list[int]:
        return [self._random.randrange(2**63) for _ in _SENDERS]

    def _check_alive(self) -> None:
        if self.service.running.process.poll() is not None:
            ended = self.service.running
            code, last = ended.process.returncode, ended.lines[-3:]
            self.report.violations.append(f"the process ended by itself with {code}; it last wrote {last}")
            self.service.kill()
            self.service.start()

    def _settle(self) -> None:
        """Kill it once more, ask for every total, wait for what must come, and compare."""
        time.sleep(_QUIET_SECONDS)
        self.service.kill()
        self.service.start()
        self._probe()
        self._wait_for({**expected_of(self.ledger.conversations), **self._totals()})
        time.sleep(_QUIET_SECONDS)
        self._compare()

    def _probe(self) -> None:
        """Send spans that make each total cross its threshold, so that an alert says what it is."""
        names = list(dict.fromkeys(chat.conversation for chat in self.ledger.chats))
        probes = [Chat(name, f"probe-{at}", 400_000_000, 0, 0, "probe") for at, name in enumerate(names)]
        probes += [Chat(f"probe-{name}", name, 200_000_000_000, 0, 2 * 10**9, "probe") for name in TENANTS]
        client = GrpcClient(self.service.grpc)
        for begin in range(0, len(probes), _PROBES_AT_ONCE):
            data, chats = calls_of(self._random, probes[begin : begin + _PROBES_AT_ONCE], time.time_ns())
            send(client, data, len(chats), self.ledger, self._random)
            self.ledger.acknowledge(chats)
            self._wait_for(self._totals())
        client.close()

    def _totals(self) -> dict[tuple[str, str, str], object]:
        return dict(expected_totals(self.ledger.chats, frozenset(self.faults.torn)))

    def _wait_for(self, expected: "dict[tuple[str, str, str], object]") -> None:
        deadline = time.monotonic() + self._settle_seconds
        while time.monotonic() < deadline:
            spend = [key for key in expected if key[0] == "conversation-spend"]
            collected = self.collector is None or all(one.span_id in self.collector.spans for one in self.ledger.chats)
            left = {"hook": missing(expected, self.hook.seen), "second": missing(spend, self.second.seen)}
            if any(left.values()):
                merged = self._merged()
                left = {name: [key for key in keys if key not in merged[name]] for name, keys in left.items()}
            if not any(left.values()) and collected:
                return
            time.sleep(0.1)  # receivers are threads of ours, and have nothing to wait on together

    def _merged(self) -> dict[str, set[tuple[str, str, str]]]:
        """Return by receiver what the service says it merged into a later event that was delivered."""
        found: dict[str, set[tuple[str, str, str]]] = {"hook": set(), "second": set()}
        with closing(
            sqlite3.connect(f"file:{self.service.disk.directory / 'tocsin.db'}?mode=ro", uri=True)
        ) as database:
            for receiver, rule, labels, severity in database.execute(_MERGED):
                found[receiver].add((rule, next(iter(json.loads(labels).values()), ""), severity))
        return found

    def _compare(self) -> None:
        report, ledger = self.report, self.ledger
        torn = frozenset(self.faults.torn)
        report.violations += violations(self.hook, self.second, ledger, torn, self.collector, self._merged())
        report.violations += self._counted_otherwise()
        report.violations += self._said_in_the_log()
        seen = [*self.hook.seen, *self.second.seen]
        report.acknowledged, report.requests = len(ledger.chats), ledger.requests
        report.duplicates, report.retries = ledger.duplicates, ledger.retries
        report.starts = self.service.starts
        report.expected = len(expected_of(ledger.conversations)) + len(self._totals())
        report.deliveries, report.taken = len(seen), sum(one.taken for one in seen)
        report.events = len({one.id for one in seen})
        report.forwarded = None if self.collector is None else len(self.collector.spans)
        report.self_alerts = Counter(one.rule for one in {s.id: s for s in seen if s.project == "tocsin"}.values())
        report.notes.append(f"The disk was filled by {self.service.disk.way}.")

    def _counted_otherwise(self) -> list[str]:
        """Compare the counters, which go on through restarts, with what was acknowledged; what was torn may lack."""
        found = []
        chats, running = self.ledger.chats, self.service.running
        torn = [chat for chat in chats if chat.kind == "torn"]
        for name, labels, scale, of in (
            ("tocsin_cost_usd_total", {}, 1e9, lambda chat: chat.nano),
            ("tocsin_tokens_total", {"type": "input"}, 1, lambda chat: chat.input_tokens),
            ("tocsin_tokens_total", {"type": "output"}, 1, lambda chat: chat.output_tokens),
        ):
            counted, most = round(running.metric(name, **labels) * scale), sum(map(of, chats))
            if not most - sum(map(of, torn)) <= counted <= most:
                found.append(f"{name}{labels} is {counted}, and {most} was acknowledged")
        return found

    def _said_in_the_log(self) -> list[str]:
        lines = [*self.service.lines, *self.service.running.lines]
        return [f"the log says: {line[:300]}" for line in lines if any(text in line for text in _TRACES)]


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="The real process under load and faults, against an oracle.")
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    parser.add_argument("--only", nargs="*", default=(), help="kinds of faults; all by default")
    parser.add_argument("--report", type=Path, help="a page with markers, into which the report is written")
    parser.add_argument("--log", type=Path, help="where to write the process's own output")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="tocsin-chaos-") as directory:
        campaign = Campaign(Path(directory), seed=arguments.seed, kinds=tuple(arguments.only))
        report = campaign.run(arguments.faults, say=True)
    print(report.text())  # noqa: T201
    if arguments.report:
        report.write_into(arguments.report)
    if arguments.log:
        arguments.log.write_text("\n".join(campaign.service.lines) + "\n")
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
