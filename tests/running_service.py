"""The real service in a process of its own, as users start it."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

__all__ = ["RunningService"]

_ADDRESS = re.compile(r"(grpc|http|api) ([\d.]+:\d+)")


class RunningService:
    """`tocsin serve` on `config`; a context manager: waits until it is ready, stops it at the end."""

    def __init__(
        self,
        config: Path,
        *,
        command: tuple[str, ...] = (sys.executable, "-m", "tocsin"),
        ready_seconds: float = 20,
    ) -> None:
        self.config = config
        self.ready_seconds = ready_seconds
        """How long a start may take, on a busy machine too."""
        self.lines: list[str] = []
        """What it wrote so far, standard output and error together."""
        self.addresses: dict[str, str] = {}
        """`grpc`, `http`, `api` -> HOST:PORT."""
        self._command = (*command, "serve", "--config", str(config))
        self._changed = threading.Condition()

    def wait_for_line(self, text: str, *, seconds: float = 20) -> str:
        """Wait until it wrote a line with `text`, and return the first."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                for line in self.lines:
                    if text in line:
                        return line
                left = deadline - time.monotonic()
                if left <= 0 or self.process.poll() is not None or not self._changed.wait(left):
                    raise TimeoutError(f"no line with {text!r}; it wrote\n" + "\n".join(self.lines))

    def metric(self, name: str, **labels: str) -> float:
        """Return a metric's value now, summed over the labels that are not given; 0 if there is none."""
        total = 0.0
        for line in self.get("/metrics").splitlines():
            found = re.fullmatch(re.escape(name) + r"(?:\{(.*)\})? ([^ ]+)(?: .*)?", line)
            if found:
                present = dict(re.findall(r'(\w+)="([^"]*)"', found[1] or ""))
                if all(present.get(label) == value for label, value in labels.items()):
                    total += float(found[2])
        return total

    def wait_for_metric(self, name: str, value: float, *, seconds: float = 10, **labels: str) -> float:
        """Wait until a metric is at least `value`, and return it."""
        deadline = time.monotonic() + seconds
        while (seen := self.metric(name, **labels)) < value:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name}{labels} is {seen}, not {value}, after {seconds} s")
            time.sleep(0.02)  # a scrape is the only way to ask
        return seen

    def get(self, path: str) -> str:
        """Return the answer of the API."""
        with urllib.request.urlopen(f"http://{self.addresses['api']}{path}", timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def resident_bytes(self) -> int:
        """Return how much memory it holds."""
        resident: int = psutil.Process(self.process.pid).memory_info().rss
        return resident

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stop(self, *, seconds: float = 20) -> int:
        """Ask it to stop, wait, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code

    def __enter__(self) -> Self:
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603  # our own command
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            cwd=self.config.parent,  # what it keeps goes beside the configuration
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            ready = self.wait_for_line(" ready in ", seconds=self.ready_seconds)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.ready_after = time.monotonic() - self.started_at
        spent = psutil.Process(self.process.pid).cpu_times()
        self.cpu_until_ready = spent.user + spent.system
        self.addresses = dict(_ADDRESS.findall(ready))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            self.process.kill()
            self.process.wait()
            if self.process.stdout:
                self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()
