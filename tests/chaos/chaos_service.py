"""The real process on a disk and a clock of its own: killed, stopped, restarted on the same ports and files."""

import contextlib
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chaos_ports import steady_port
from running_service import RunningService

__all__ = ["ChaosService", "Disk"]

_SHIM = Path(__file__).parent / "clock_shim"
_MIB = 1024 * 1024


class Disk:
    """Where the service keeps its data: a small file system of its own, or else a directory with a limit on writes."""

    def __init__(self, directory: Path, size_mib: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=0700", "tmpfs", str(directory)]
        self.mounted = (
            os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0  # noqa: S603  # our own
        )

    @property
    def way(self) -> str:
        """How it is filled."""
        return "a full tmpfs" if self.mounted else "RLIMIT_FSIZE"

    def fill(self, pid: int) -> None:
        """Leave no room."""
        if not self.mounted:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            return
        with (self.directory / "ballast").open("ab", buffering=0) as file:
            for size in (_MIB, 4096):
                with contextlib.suppress(OSError):
                    while file.write(b"\0" * size) == size:
                        pass

    def free(self, pid: int) -> None:
        """Make room again."""
        if not self.mounted:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            return
        (self.directory / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        """Give it back; its files go."""
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.directory)], check=False)  # noqa: S603, S607  # our own mount


class ChaosService:
    """A context manager; between `start` and `kill` the process runs."""

    def __init__(self, directory: Path, configuration: str, *, disk_mib: int = 192) -> None:
        """Make it; nothing runs.

        Args:
            directory: for its files.
            configuration: YAML without receivers, API and storage, which are added.
            disk_mib: of the file system for its data.
        """
        self.directory = directory
        self.config = directory / "tocsin.yaml"
        self.disk = Disk(directory / "data", disk_mib)
        self.grpc, self.http, self.api = (f"127.0.0.1:{steady_port()}" for _ in range(3))
        self.lines: list[str] = []
        """Of all processes that ended."""
        self.starts = 0
        self.ready_seconds: list[float] = []
        self._clock = directory / "clock"
        self._clock.write_bytes(struct.pack("<q", 0))
        self._configuration = configuration
        self._service: RunningService | None = None
        self.edit("")

    def edit(self, more: str) -> None:
        """Write the configuration file anew, with something added at its end, as an editor does."""
        text = (
            f"receivers: {{otlp: {{grpc: {{endpoint: '{self.grpc}'}}, http: {{endpoint: '{self.http}'}}}}}}\n"
            f"api: {{endpoint: '{self.api}'}}\n"
            f"storage: {{directory: '{self.disk.directory}'}}\n{self._configuration}{more}"
        )
        written = self.config.with_suffix(".new")
        written.write_text(text)
        written.replace(self.config)

    @property
    def running(self) -> RunningService:
        if self._service is None:
            raise RuntimeError("the service does not run")
        return self._service

    @property
    def pid(self) -> int:
        return self.running.process.pid

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        changed = (f"{name}={value}" for name, value in self._environment().items())
        command = ("env", *changed, sys.executable, "-m", "tocsin")
        service = RunningService(self.config, command=command, ready_seconds=90)
        self.starts += 1
        service.__enter__()
        self._service = service
        self.ready_seconds.append(service.ready_after)

    def start_and_kill(self, seconds: float) -> None:
        """Start the process and kill it so soon that it may not be ready."""
        command = [sys.executable, "-m", "tocsin", "serve", "--config", str(self.config)]
        environment = os.environ | self._environment()
        self.starts += 1
        silent = subprocess.DEVNULL
        with subprocess.Popen(command, stdout=silent, stderr=silent, env=environment) as process:  # noqa: S603
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            process.kill()

    def kill(self) -> None:
        """End the process as `kill -9` does."""
        service = self.running
        service.process.kill()
        service.process.wait()
        self._end(service)

    def terminate(self) -> int:
        """End the process with SIGTERM; return its exit code."""
        service = self.running
        code = service.stop(seconds=40)
        self._end(service)
        return code

    def stop(self) -> None:
        """Stop the process with SIGSTOP: it neither ends nor runs."""
        self.running.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let a stopped process run."""
        self.running.signal(signal.SIGCONT)

    def move_clock(self, seconds: float) -> None:
        """Put the process's wall clock so far ahead of the real one, at once."""
        with self._clock.open("r+b") as file:  # never shorter than it was: the process has it in its memory
            file.write(struct.pack("<q", round(seconds * 1e9)))

    def status(self) -> dict[str, Any]:
        """Return what `/readyz` says; empty where nobody answers."""
        try:
            found: dict[str, Any] = json.loads(self.running.get("/readyz"))
        except OSError:
            return {}
        return found

    def wait_until_well(self, seconds: float) -> float | None:
        """Wait until nothing is degraded; return how long it took, None if it did not come."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            status = self.status()
            if status and not any(status.get("degraded") or {}):
                return time.monotonic() - begun
            time.sleep(0.05)  # asking is the only way
        return None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._service is not None:
                self.kill()
        finally:
            self.disk.close()

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, (str(_SHIM), os.environ.get("PYTHONPATH"))))
        return {"PYTHONPATH": path, "CHAOS_CLOCK": str(self._clock)}

    def _end(self, service: RunningService) -> None:
        service.__exit__(None, None, None)
        self.lines += service.lines
        self._service = None
