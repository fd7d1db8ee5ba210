"""The faults: what is done to the process, its disk, its clock, and those that it talks to."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random

import grpc
from chaos_receiver import Collector, FaultyReceiver, Mode, Webhook
from chaos_report import Report
from chaos_service import ChaosService
from chaos_torn import garble, newest_log, tear
from chaos_traffic import Chat, GrpcClient, Ledger, RefusedError, Sender, calls_of, send

__all__ = ["Faults"]

_MODES = [mode for mode in Mode if mode is not Mode.WELL]
_WELL_AGAIN_SECONDS = 60.0
_DURABLE_SECONDS = 0.5
"""What is acknowledged is in the log; nothing of other senders is under way any more after so long."""


class Faults:
    """Each method injects one fault and returns when the process runs again; receivers' faults end by themselves."""

    def __init__(
        self,
        service: ChaosService,
        senders: Sequence[Sender],
        webhooks: Mapping[str, Webhook],
        collector: Collector | None,
        ledger: Ledger,
        report: Report,
        random: Random,
    ) -> None:
        self.torn: set[str] = set()
        """Conversations whose spans were in a write that was torn."""
        self._service = service
        self._senders = senders
        self._webhooks = webhooks
        self._collector = collector
        self._ledger = ledger
        self._report = report
        self._random = random
        self._timers: list[threading.Timer] = []
        self._edits = 0
        self._valid = ""
        """What the last valid edit added."""
        self._kinds: dict[str, tuple[int, Callable[[], None]]] = {
            "kill -9": (5, self._kill),
            "kill -9 while starting": (2, self._kill_while_starting),
            "SIGTERM": (1, self._terminate),
            "SIGSTOP": (3, self._stop),
            "full disk": (2, self._fill_disk),
            "torn write": (2, self._tear),
            "unfinished write": (1, self._garble),
            "corrupt snapshot": (1, self._corrupt_snapshot),
            "clock moved": (2, self._move_clock),
            "sender's clock": (1, self._skew_sender),
            "edit": (1, self._edit),
            "invalid edit": (1, self._edit_wrongly),
            "garbage": (1, self._send_garbage),
            "contact point": (6, self._break_contact_point),
        }
        if collector is not None:
            self._kinds["next collector"] = (3, self._break_collector)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(self._kinds)

    def inject(self, kind: str | None = None) -> str:
        """Inject one fault, a random one by default; return what it was."""
        if kind is None:
            weights = [weight for weight, _ in self._kinds.values()]
            kind = self._random.choices(list(self._kinds), weights)[0]
        self._kinds[kind][1]()
        return kind

    def heal(self) -> None:
        """End every fault that is still there."""
        for timer in self._timers:
            timer.cancel()
            timer.join()
        for receiver in (*self._webhooks.values(), self._collector):
            if receiver is not None:
                receiver.mode = Mode.WELL
        for sender in self._senders:
            sender.skew_ns = 0
        self._service.move_clock(0)
        self._service.edit(self._valid)

    # The process

    def _kill(self) -> None:
        self._service.kill()
        self._start_again()

    def _start_again(self) -> None:
        self._service.edit(self._valid)  # with a file that is not valid it does not start, as it should
        self._service.start()
        self._report.recovery.append(self._service.ready_seconds[-1])

    def _kill_while_starting(self) -> None:
        self._service.kill()
        self._service.start_and_kill(self._random.uniform(0.05, 1.5))
        self._start_again()

    def _terminate(self) -> None:
        code = self._service.terminate()
        if code != 0:
            self._report.violations.append(f"SIGTERM: exit code {code}")
        self._service.edit(self._valid)
        self._service.start()

    def _stop(self) -> None:
        self._service.stop()
        _wait(self._random.choice((0.3, 1.0, 3.0, 6.5)))
        self._service.go_on()

    # The disk

    def _fill_disk(self) -> None:
        before = self._ledger.requests
        self._service.disk.fill(self._service.pid)
        _wait(self._random.uniform(1.5, 4.0))
        if self._ledger.requests == before:
            self._report.violations.append("nothing was acknowledged while the disk was full")
        self._service.disk.free(self._service.pid)
        took = self._service.wait_until_well(_WELL_AGAIN_SECONDS)
        if took is None:
            self._report.violations.append(f"degraded {_WELL_AGAIN_SECONDS} s after the disk had room again")
        else:
            self._report.well_again.append(took)

    def _tear(self) -> None:
        """Damage the last thing that was written: it holds spans of conversations that nobody else has."""
        with self._only_ours():
            for _ in range(self._random.randint(1, 3)):
                self._send_sacrifice()
            self._service.kill()
            self._damage(tear)
            self._start_again()

    def _garble(self) -> None:
        """Leave a write that was begun and not finished: nothing that was acknowledged is in it."""
        self._service.kill()
        self._damage(garble)
        self._start_again()

    def _corrupt_snapshot(self) -> None:
        """Change a byte of the newest snapshot: the one before it, or the log alone, must do."""
        self._service.kill()
        found = self._service.disk.directory.rglob("snapshot-*")
        kept = sorted(path for path in found if path.name.removeprefix("snapshot-").isdigit() and path.stat().st_size)
        if kept:
            data = bytearray(kept[-1].read_bytes())
            data[self._random.randrange(len(data))] ^= self._random.randrange(1, 256)
            kept[-1].write_bytes(data)
        self._start_again()

    def _damage(self, how: Callable[..., str]) -> None:
        log = newest_log(self._service.disk.directory)
        if log is None:
            self._report.notes.append("a write was to be torn, and there was none")
        else:
            how(log, self._random)

    @contextmanager
    def _only_ours(self) -> Iterator[None]:
        for sender in self._senders:
            sender.pause()
        _wait(_DURABLE_SECONDS)
        yield
        for sender in self._senders:
            sender.resume()

    def _send_sacrifice(self) -> None:
        name = f"torn-{len(self.torn)}"
        self.torn.add(name)
        data, chats = calls_of(self._random, [Chat(name, name, 1000, 10, kind="torn")] * 5, time.time_ns())
        client = GrpcClient(self._service.grpc)
        send(client, data, len(chats), self._ledger, self._random)
        client.close()
        self._ledger.acknowledge(chats)

    # Clocks

    def _move_clock(self) -> None:
        self._service.move_clock(self._random.choice((-120.0, -5.0, 0.0, 3.0, 30.0, 120.0)))

    def _skew_sender(self) -> None:
        sender = self._random.choice(self._senders)
        sender.skew_ns = self._random.choice((-600, -30, 0, 8, 60, 3600)) * 10**9

    # Files

    def _edit(self) -> None:
        self._edits += 1
        self._valid = (
            f"  - {{name: edit-{self._edits}, metric: latency, window: {1 + self._edits % 9}m, condition: gt, "
            "threshold: 1h, notify: [hook]}\n"
        )
        self._service.edit(self._valid)

    def _edit_wrongly(self) -> None:
        self._service.edit("  - {name: wrong, metrik: cost}\n")
        self._later(lambda: self._service.edit(self._valid))

    # Those that it talks to

    def _send_garbage(self) -> None:
        client = GrpcClient(self._service.grpc)
        for _ in range(5):
            data = b"\x0a" + self._random.randbytes(self._random.randrange(1, 2000))
            try:
                client.send(data)
            except RefusedError as refused:
                if refused.reason not in (grpc.StatusCode.INVALID_ARGUMENT.name, grpc.StatusCode.UNAVAILABLE.name):
                    self._report.violations.append(f"garbage was answered {refused.reason}")
        client.close()

    def _break_contact_point(self) -> None:
        self._break(self._random.choice(list(self._webhooks.values())))

    def _break_collector(self) -> None:
        assert self._collector is not None
        self._break(self._collector)

    def _break(self, receiver: FaultyReceiver) -> None:
        if receiver.mode is not Mode.WELL:
            receiver.mode = Mode.WELL
        receiver.mode = self._random.choice(_MODES)
        self._later(lambda: setattr(receiver, "mode", Mode.WELL))

    def _later(self, action: Callable[[], None]) -> None:
        timer = threading.Timer(self._random.choice((0.5, 2.0, 5.0, 12.0)), action)
        timer.daemon = True
        timer.start()
        self._timers.append(timer)


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)
