"""The workers of a campaign: `streamdex run` as processes, in slots that each have proxied links of their own."""

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import psutil

from chaos.run_directory import RunDirectory
from harness import guardian

STOP_LIMIT_S = 40.0
CLEAN = (0, 3)  # stopped, or stopped with work left for the next owner


class Worker:
    """One process; its slot makes a new one after its end. Every end is noted, and whether it was meant to be."""

    def __init__(self, name: str, slot: int, process: asyncio.subprocess.Process, order: Path, log: Path) -> None:
        self.name = name
        self.slot = slot
        self.order = order
        self.log = log
        self.busy = False  # a fault is at work on it
        self.end_expected = False
        self._admin_port: int | None = None
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    @property
    def code(self) -> int | None:
        """Its exit code; negative: the signal that ended it."""
        return self._process.returncode

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal; False when it has ended."""
        if self.running:
            self._process.send_signal(number)
        return self.running

    async def wait(self, limit_s: float = STOP_LIMIT_S) -> int | None:
        """Its exit code, or None when it does not end in time."""
        try:
            async with asyncio.timeout(limit_s):
                return await self._process.wait()
        except TimeoutError:
            return None

    @property
    def admin_port(self) -> int | None:
        """Where it serves its metrics, once its log has told."""
        if self._admin_port is None:
            told = re.search(rb'\{.*"event":"admin\.listens".*\}', self.log.read_bytes())
            self._admin_port = json.loads(told[0])["port"] if told else None
        return self._admin_port

    def says(self, event: str) -> int:
        """How often its log has told of an event."""
        return self.log.read_bytes().count(f'"event":"{event}"'.encode())


class Fleet:
    """Slots with workers. `environments` has the settings for each slot; `complain` takes what must not happen."""

    def __init__(self, run: RunDirectory, environments: list[Mapping[str, str]]) -> None:
        self.run = run
        self._environments = environments
        self._workers: dict[int, Worker] = {}
        self._started = 0
        self._watching: set[asyncio.Task[None]] = set()
        self.complaints: list[str] = []

    @property
    def running(self) -> list[Worker]:
        """All that run, by slot."""
        return [worker for _, worker in sorted(self._workers.items()) if worker.running]

    @property
    def all(self) -> list[Worker]:
        """The last worker of each slot."""
        return list(self._workers.values())

    def take(self, pick: float) -> Worker | None:
        """One that runs and that no fault is at work on, now marked as busy; None when there is none."""
        free = [worker for worker in self.running if not worker.busy]
        if not free:
            return None
        worker = free[int(pick * len(free))]
        worker.busy = True
        return worker

    def free_slot(self) -> int | None:
        """A slot in which nothing runs or is about to run again."""
        used = {slot for slot, worker in self._workers.items() if worker.running or worker.busy}
        return next((slot for slot in range(len(self._environments)) if slot not in used), None)

    async def start(self, slot: int) -> Worker:
        """Start a worker in a slot."""
        self._started += 1
        name = f"w{slot}-{self._started:03}"
        order = self.run.workers / f"{name}.order"
        log = self.run.worker_log(name)
        environment = {
            **os.environ,
            **self._environments[slot],
            "CHAOS_WORKER": name,
            "CHAOS_ORDER": str(order),
            "CHAOS_EVENTS": str(self.run.events),
            "CHAOS_ANSWERS": str(self.run.answers),
        }
        with log.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "chaos.hooked_worker", env=environment, stdout=file, stderr=file
            )
        guardian.watch(process.pid)
        worker = Worker(name, slot, process, order, log)
        self._workers[slot] = worker
        self.run.event("worker_started", worker=name, pid=process.pid, slot=slot)
        task = asyncio.create_task(self._watch(worker))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)
        return worker

    async def stop(self, worker: Worker) -> int | None:
        """SIGTERM, and its exit code; killed, and complained of, when it does not stop in time."""
        worker.end_expected = True
        worker.signal(signal.SIGTERM)
        code = await worker.wait()
        if code is None:
            self.complaints.append(f"{worker.name} did not stop within {STOP_LIMIT_S:.0f} s of SIGTERM")
            worker.signal(signal.SIGKILL)
            await worker.wait()
        elif not ended_well(worker):
            self.complaints.append(f"{worker.name} was stopped and ended with exit code {code}")
        return code

    async def stop_all(self) -> None:
        """Stop them all in order, frozen ones too."""
        for worker in self.running:
            worker.signal(signal.SIGCONT)
        await asyncio.gather(*(self.stop(worker) for worker in self.running))
        await asyncio.gather(*self._watching)

    async def kill_all(self) -> None:
        """End them all at once: the campaign is over, however it went."""
        for worker in self.running:
            worker.end_expected = True
            worker.signal(signal.SIGKILL)
        await asyncio.gather(*self._watching)

    async def _watch(self, worker: Worker) -> None:
        while await worker.wait(3600.0) is None:
            pass
        guardian.forget(worker.pid)
        code = worker.code or 0
        ended_by = -code if code < 0 else None
        self.run.event(
            "worker_exited",
            worker=worker.name,
            pid=worker.pid,
            code=code,
            signal=ended_by,
            expected=worker.end_expected,
        )
        if not worker.end_expected:
            await asyncio.sleep(1.0)
            if not worker.busy and self._workers[worker.slot] is worker:
                await self.start(worker.slot)


def ended_well(worker: Worker) -> bool:
    """Whether SIGTERM ended it as it should: also before Python has come to the program itself, which has no say."""
    return worker.code in CLEAN or (worker.code == -signal.SIGTERM and not worker.log.stat().st_size)


class Sampler:
    """Notes every two seconds what each worker process holds, and keeps its last answers over HTTP."""

    EVERY_S = 2.0
    SCRAPE_LIMIT_S = 1.0
    PAGES = ("metrics", "status", "readyz")

    def __init__(self, run: RunDirectory, fleet: Fleet) -> None:
        self._run = run
        self._fleet = fleet

    async def run(self) -> None:
        """Until cancelled."""
        async with httpx.AsyncClient(timeout=self.SCRAPE_LIMIT_S, trust_env=False) as client:
            while True:
                for worker in self._fleet.running:
                    self._sample(worker)
                await asyncio.gather(*(self._scrape(worker, client) for worker in self._fleet.running))
                await asyncio.sleep(self.EVERY_S)

    async def _scrape(self, worker: Worker, client: httpx.AsyncClient) -> None:
        port = worker.admin_port
        if port is None:
            return
        for page in self.PAGES:
            try:
                answer = await client.get(f"http://127.0.0.1:{port}/{page}")
            except httpx.HTTPError:
                return  # frozen, or gone
            (self._run.workers / f"{worker.name}.{page}").write_bytes(answer.content)

    def _sample(self, worker: Worker) -> None:
        try:
            process = psutil.Process(worker.pid)
            with process.oneshot():
                rss_bytes, fds, threads = process.memory_info().rss, process.num_fds(), process.num_threads()
        except psutil.Error:
            return  # it has just ended
        self._run.sample(worker.name, worker.pid, rss_bytes, fds, threads)


def is_frozen(pid: int) -> bool:
    """Whether a process stands still by SIGSTOP."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False


async def until_frozen(pid: int, limit_s: float = 1.0) -> bool:
    """Wait until SIGSTOP has taken effect; False when it has not."""
    deadline = time.monotonic() + limit_s
    while not is_frozen(pid) and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    return is_frozen(pid)
