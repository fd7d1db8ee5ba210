"""A throw-away PostgreSQL: Debian's programs, a directory of its own, a free port of 127.0.0.1."""

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
from pydantic import SecretStr

from benchmarks import peers

__all__ = ["PASSWORD", "Cluster", "new_database"]

PASSWORD = "s3cret-p4ssw0rd"  # noqa: S105  # of a server that lives for a test
_NOBODY = 65534


class Cluster:
    """One server; `start` and `stop` may follow each other any number of times."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        # PostgreSQL refuses root, and pytest's own directories are closed to others.
        self._home = Path(tempfile.mkdtemp(prefix="tocsin-pg-"))
        self._who: dict[str, object] = {}
        if os.geteuid() == 0:
            os.chown(self._home, _NOBODY, _NOBODY)
            self._who = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    def create(self) -> None:
        secret = self._home / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run("initdb", "-D", self._data, "-U", "tocsin", "-E", "UTF8", "--locale=C", "--no-sync",
                  "-A", "scram-sha-256", "--pwfile", str(secret))  # fmt: skip
        self.start()

    def start(self) -> None:
        options = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": str(self._home),
            "fsync": "off", "shared_buffers": "16MB", "max_connections": 40,
        }  # fmt: skip
        command = [str(self._programs / "postgres"), "-D", self._data]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        log = (self._home / "log").open("ab")
        self._process = subprocess.Popen(  # type: ignore[call-overload]  # noqa: S603  # our own command
            command, env=peers.postgres_environment(), stdout=log, stderr=log, **self._who
        )
        log.close()
        deadline = time.monotonic() + 30
        while not self._answers():
            assert time.monotonic() < deadline, (self._home / "log").read_text()[-2000:]
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop as an operator does who does not wait for clients."""
        if self._process is not None:
            self._process.send_signal(2)
            self._process.wait(timeout=20)
            self._process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def url(self, database: str, password: str = PASSWORD) -> str:
        return f"postgresql://tocsin:{password}@127.0.0.1:{self.port}/{database}"

    async def execute(self, database: str, statement: str) -> None:
        connection = await asyncpg.connect(self.url(database))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    @property
    def _data(self) -> str:
        return str(self._home / "data")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(  # type: ignore[call-overload]  # noqa: S603  # our own command
            [str(self._programs / program), *arguments],
            env=peers.postgres_environment(), capture_output=True, text=True, timeout=60, check=False, **self._who,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def _answers(self) -> bool:
        async def ask() -> None:
            connection = await asyncpg.connect(self.url("postgres"), timeout=2)
            await connection.close()

        try:
            asyncio.run(ask())
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return False
        return True


def new_database(server: Cluster) -> SecretStr:
    """Make an empty database; return its address."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    asyncio.run(server.execute("postgres", f"CREATE DATABASE {name}"))
    return SecretStr(server.url(name))
