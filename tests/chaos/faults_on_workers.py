"""Faults on the worker processes themselves. Each restarts, at its end, what it has ended."""

import asyncio
import signal

from chaos.fleet import Fleet, Worker, ended_well, until_frozen

ASSIGNED_LIMIT_S = 20.0


class _OnWorker:
    """Takes a worker for itself for as long as it lasts."""

    def __init__(self, fleet: Fleet, pick: float) -> None:
        self._fleet = fleet
        self._pick = pick
        self._worker: Worker | None = None
        self._hits = 0

    async def start(self) -> bool:
        self._worker = self._fleet.take(self._pick)
        if self._worker is None:
            return False
        await self._hit(self._worker)
        return True

    async def _hit(self, worker: Worker) -> None:
        raise NotImplementedError

    async def hits(self) -> int:
        return self._hits

    async def end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            await self._restore(worker)
            worker.busy = False

    async def _restore(self, worker: Worker) -> None:
        if not worker.running:
            await self._fleet.start(worker.slot)


class Killed(_OnWorker):
    """SIGKILL, at whatever moment."""

    async def _hit(self, worker: Worker) -> None:
        worker.end_expected = True
        worker.signal(signal.SIGKILL)
        self._hits = int(await worker.wait() == -signal.SIGKILL)


class KilledBetweenSteps(_OnWorker):
    """SIGKILL before, amid or after a step of an event, by the worker's own hand."""

    def __init__(self, fleet: Fleet, pick: float, step: str, moment: str) -> None:
        super().__init__(fleet, pick)
        self._order = f"{step} {moment}"

    async def _hit(self, worker: Worker) -> None:
        worker.end_expected = True
        worker.order.with_suffix(".new").write_text(self._order)
        worker.order.with_suffix(".new").rename(worker.order)  # whole at once: it is read all the time

    async def hits(self) -> int:
        worker = self._worker
        if worker is not None and worker.order.with_suffix(".fired").exists():
            self._hits = int(await worker.wait() == -signal.SIGKILL)
        return self._hits

    async def _restore(self, worker: Worker) -> None:
        worker.order.unlink(missing_ok=True)
        self._worker = worker
        if not await self.hits():
            worker.end_expected = False
            if not worker.running:
                self._fleet.complaints.append(f"{worker.name} was to be killed and ended with exit code {worker.code}")
        self._worker = None
        await super()._restore(worker)


class Stopped(_OnWorker):
    """SIGTERM, and if asked for a second one so many seconds later."""

    def __init__(self, fleet: Fleet, pick: float, second_after_s: float | None = None) -> None:
        super().__init__(fleet, pick)
        self._second_after_s = second_after_s

    async def _hit(self, worker: Worker) -> None:
        second = self._second_after_s
        stopping = asyncio.create_task(self._fleet.stop(worker))
        heard = True
        if second is not None:
            await asyncio.wait({stopping}, timeout=second)
            heard = worker.signal(signal.SIGTERM)
        await stopping
        self._hits = int(heard and ended_well(worker))


class Frozen(_OnWorker):
    """SIGSTOP, and SIGCONT at the end."""

    async def _hit(self, worker: Worker) -> None:
        self._fleet.run.event("worker_frozen", worker=worker.name)
        worker.signal(signal.SIGSTOP)
        self._hits = int(await until_frozen(worker.pid))

    async def _restore(self, worker: Worker) -> None:
        worker.signal(signal.SIGCONT)
        self._fleet.run.event("worker_thawed", worker=worker.name)
        await super()._restore(worker)


class Leaves(_OnWorker):
    """SIGTERM to one that nobody replaces."""

    async def _hit(self, worker: Worker) -> None:
        await self._fleet.stop(worker)
        self._hits = int(ended_well(worker))

    async def _restore(self, worker: Worker) -> None:
        pass


class Joins:
    """One more worker, which gets partitions."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._worker: Worker | None = None

    async def start(self) -> bool:
        slot = self._fleet.free_slot()
        if slot is None:
            return False
        self._worker = await self._fleet.start(slot)
        return True

    async def hits(self) -> int:
        return self._worker.says("partitions.assigned") if self._worker is not None else 0

    async def end(self) -> None:
        pass
