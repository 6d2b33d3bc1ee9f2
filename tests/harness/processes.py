"""`streamdex run` as users run it: a process of its own, told by environment variables, stopped by signals."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

STOP_LIMIT_S = 40.0


class WorkerProcess:
    """A worker. Its log goes to a file, since a pipe that nobody reads would stop it."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        # A free port for the admin server, as several workers of several test runs share this machine.
        ours = {"STREAMDEX_WORKER__LOG_FORMAT": "json", "STREAMDEX_ADMIN__PORT": "0"}
        self._environment = {**os.environ, **ours, **environment}
        self._log = log
        self.program: tuple[str, ...] = ("-m", "streamdex.cli", "run")
        """What the interpreter is told to run; a test may plant a fault in it before the start."""
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Its process id, to send signals to."""
        assert self._process is not None, "started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.returncode is None

    async def __aenter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *self.program, env=self._environment, stdout=log, stderr=log
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.running:
            os.kill(self.pid, signal.SIGKILL)
            await self.wait()

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return await self.wait()

    async def wait(self) -> int:
        """Wait for its end; its exit code."""
        assert self._process is not None, "started"
        async with asyncio.timeout(STOP_LIMIT_S):
            return await self._process.wait()

    async def admin_url(self) -> str:
        """Where its admin server listens, once it does."""
        async with asyncio.timeout(STOP_LIMIT_S):
            while not (lines := self.events("admin.listens")):
                assert self.running, self.log
                await asyncio.sleep(0.02)
        return f"http://{lines[-1]['host']}:{lines[-1]['port']}"

    @property
    def log(self) -> str:
        """All that it has written."""
        return self._log.read_text()

    def events(self, name: str) -> list[dict[str, object]]:
        """Its log lines of one kind."""
        lines = [orjson.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]
