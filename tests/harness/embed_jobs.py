"""Jobs given to an embedder, each by a task of its own, and how they ended."""

import asyncio
from collections.abc import Iterable, Sequence

from streamdex.embed import Embedder, EmbedJob
from streamdex.errors import RecordFault


class EmbedJobs:
    """`done` holds the jobs that ended, in that order: with vectors, or with a fault, which is then in `faults`."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._tasks: dict[EmbedJob, asyncio.Task[None]] = {}
        self.done: list[EmbedJob] = []
        self.faults: dict[EmbedJob, RecordFault] = {}
        self.one_ended = asyncio.Event()

    def submit(self, texts: Sequence[str], tokens: Sequence[int], *, together: bool = False) -> EmbedJob:
        """One job more; it is queued when its task first runs."""
        job = EmbedJob(tuple(texts), tuple(tokens), together=together)
        self._tasks[job] = asyncio.create_task(self._embed(job))
        return job

    async def _embed(self, job: EmbedJob) -> None:
        try:
            assert len(await self._embedder.embed(job)) == len(job.texts)
        except RecordFault as fault:
            self.faults[job] = fault
        self.done.append(job)
        self.one_ended.set()

    async def cancel(self, jobs: Iterable[EmbedJob] | None = None) -> None:
        """Cancel these or all, and wait until their tasks have ended."""
        tasks = [self._tasks[job] for job in (self._tasks if jobs is None else jobs)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
