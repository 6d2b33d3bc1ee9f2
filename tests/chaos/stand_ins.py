"""The stand-ins for Jina and Qdrant as processes, and their faults over HTTP."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import httpx

from harness import guardian

FAULTS_PATH = "/_control/faults"
START_LIMIT_S = 90.0  # far above what it takes: a busy machine is no fault that was asked for


class StandIn:
    """A process that listens on fixed ports, so that it can be started again where it was."""

    def __init__(self, arguments: list[str], log: Path, control_url: str) -> None:
        self._arguments = arguments
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._control = httpx.AsyncClient(base_url=control_url, timeout=5.0, trust_env=False)
        self.busy = False  # a fault is at work on the process

    @property
    def pid(self) -> int:
        """Its process id. Raises RuntimeError before the start."""
        if self._process is None:
            raise RuntimeError("not started")
        return self._process.pid

    async def start(self) -> None:
        """Start it, or start it again, and wait until it answers. Raises TimeoutError."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *self._arguments, stdout=log, stderr=log
            )
        guardian.watch(self._process.pid)
        async with asyncio.timeout(START_LIMIT_S):
            while not await self._answers():
                await asyncio.sleep(0.1)

    async def kill(self) -> int:
        """SIGKILL; the exit code."""
        return await self._end(signal.SIGKILL)

    async def close(self) -> None:
        """End it for good. Safe before the start."""
        if self._process is not None and self._process.returncode is None:
            os.kill(self.pid, signal.SIGCONT)
            await self._end(signal.SIGTERM)
        await self._control.aclose()

    async def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            raise RuntimeError("not started")
        self._process.send_signal(number)
        try:
            async with asyncio.timeout(10.0):
                code = await self._process.wait()
        except TimeoutError:
            self._process.kill()
            code = await self._process.wait()
        guardian.forget(self._process.pid)
        return code

    async def inject(self, order: dict[str, Any]) -> int:
        """Set a fault; its number. Raises httpx.HTTPError."""
        answer = await self._control.post(FAULTS_PATH, json=order)
        answer.raise_for_status()
        return int(answer.json()["number"])

    async def take_back(self, number: int) -> int:
        """Take a fault back; how often it fired. Raises httpx.HTTPError, also when the process was restarted since."""
        answer = await self._control.delete(f"{FAULTS_PATH}/{number}")
        answer.raise_for_status()
        return int(answer.json()["fired"])

    async def fired(self, number: int) -> int:
        """How often a fault fired so far. Raises httpx.HTTPError, also when the process was restarted since."""
        answer = await self._control.get(f"{FAULTS_PATH}/{number}")
        answer.raise_for_status()
        return int(answer.json()["fired"])

    async def _answers(self) -> bool:
        try:
            return (await self._control.get("/_control/stats")).status_code == 200
        except httpx.HTTPError:
            return False


class JinaStandIn(StandIn):
    """`streamdex serve-embeddings`, with limits that are felt."""

    def __init__(self, port: int, billing: Path, log: Path, limits: tuple[int, int, int], key: str) -> None:
        requests, tokens, concurrency = limits
        arguments = ["-m", "streamdex.cli", "serve-embeddings", "--port", str(port), "--api-key", key]
        arguments += ["--requests-per-minute", str(requests), "--tokens-per-minute", str(tokens)]
        arguments += ["--concurrency", str(concurrency), "--window", "sliding-log", "--latency-ms", "30"]
        arguments += ["--billing-log", str(billing)]
        super().__init__(arguments, log, f"http://127.0.0.1:{port}")


class QdrantStandIn(StandIn):
    """Qdrant's engine behind gRPC, which keeps its data in a directory."""

    def __init__(self, port: int, control_port: int, directory: Path, log: Path, seed: int) -> None:
        arguments = ["-m", "streamdex.standins.qdrant", "--port", str(port), "--control-port", str(control_port)]
        arguments += ["--directory", str(directory), "--seed", str(seed), "--reorder-s", "0.005"]
        super().__init__(arguments, log, f"http://127.0.0.1:{control_port}")
