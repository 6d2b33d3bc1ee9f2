"""What the demo does: write documents, change, delete, deliver again, add bad records; then verify."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import orjson
from rich.progress import Progress, TaskID

from streamdex.config import Settings, with_section
from streamdex.errors import Service, ServiceFault
from streamdex.kafka.topic_reader import TopicReader
from streamdex.model import Outcome
from streamdex.operations.verify import Report, verify_collection
from streamdex.run.worker import Worker
from streamdex.standins.documents import SampleDocument, sample_documents
from streamdex.standins.local import LocalServices
from streamdex.standins.produce import Message, create_topic, produce

T = TypeVar("T")

MOST_BYTES = 6 * 1024 * 1024  # the embedded broker silently drops records beyond 5 MiB in each of its 4 partitions
PARTITIONS = 4
UPDATES = 100
DELETES = 50
POLL_S = 0.1
UNREADABLE = "this text cannot be encoded"  # the stand-in refuses it
POISON = [
    Message(b"poison-1", b"this is not JSON"),
    Message(None, b'{"text": "nobody knows which document this is"}'),
    Message(b"poison-3", b'{"text": 42}'),
]


class DemoRun:
    """One run of the demo; `progress` shows its steps."""

    def __init__(self, stage: LocalServices, documents: int, progress: Progress) -> None:
        self._stage = stage
        self._settings = stage.settings
        self._documents = documents
        self._progress = progress
        self._topic = stage.settings.kafka.topics[0]
        self._sent = 0

    async def run(self) -> Counter[Outcome]:
        """Do it all; returns how many records ended in which outcome."""
        documents = await self._step("read the library's documentation", None, self._read)
        if not self._stage.embedded["kafka"]:
            await create_topic(self._settings.kafka, self._topic, PARTITIONS)
        await self._produce("write documents to Kafka", [_upsert(document) for document in documents])
        outcomes = await self._work("index them", self._settings, self._sent)
        await self._produce("change, delete, poison", self._changes(documents))
        # A new group has no commits: everything is delivered again, and must change nothing and cost nothing.
        again = with_section(self._settings, "kafka", group_id=f"{self._settings.kafka.group_id}-again")
        return outcomes + await self._work("index the changes, everything delivered again", again, self._sent)

    async def verify(self) -> Report:
        """Fold the topic and compare. Raises ServiceFault when the embedded broker has dropped records."""
        async with TopicReader(self._settings.kafka) as reader:
            ranges = await reader.ranges((self._topic,))
        if any(begin for begin, _ in ranges.values()):
            raise ServiceFault(Service.KAFKA, "the log no longer begins at 0: the broker has dropped records")
        with tempfile.TemporaryDirectory() as folder:
            return await self._step(
                "fold the topic and compare",
                None,
                lambda _: verify_collection(self._settings, Path(folder), to_end=True),
            )

    async def _read(self, _: TaskID) -> list[SampleDocument]:
        return await asyncio.to_thread(sample_documents, self._documents, MOST_BYTES)

    def _changes(self, documents: list[SampleDocument]) -> list[Message]:
        updated = [
            _upsert(SampleDocument(one.id, f"{one.text}\n\nSeen again by the demo.", one.metadata))
            for one in documents[:UPDATES]
        ]
        deleted = [Message(one.id.encode(), None) for one in documents[-DELETES:]]
        poison = list(POISON)
        if self._stage.jina is not None:
            self._stage.jina.inject("refuse", UNREADABLE)
            poison.append(_upsert(SampleDocument("poison-4", f"Nobody knows why, but {UNREADABLE}.", {})))
        return [*updated, *deleted, *poison]

    async def _produce(self, what: str, messages: list[Message]) -> None:
        async def send(task: TaskID) -> None:
            await produce(self._settings.kafka, self._topic, messages, lambda sent: self._progress.advance(task, sent))

        await self._step(what, len(messages), send)
        self._sent += len(messages)

    async def _work(self, what: str, settings: Settings, records: int) -> Counter[Outcome]:
        """Run a worker until it has settled this many records."""

        async def work(task: TaskID) -> Counter[Outcome]:
            worker = Worker(settings, worker_name="demo")
            counts = worker.metrics.counts
            running = asyncio.create_task(worker.run())
            while not running.done() and (settled := sum(counts.outcomes.values())) < records:
                held = "; ".join(worker.health.reasons.values())
                self._progress.update(task, completed=settled, description=f"{what}: {held}" if held else what)
                await asyncio.sleep(POLL_S)
            worker.stop()
            await running
            outcomes = Counter(counts.outcomes)
            self._progress.update(task, completed=outcomes.total(), description=what)
            return outcomes

        return await self._step(what, records, work)

    async def _step(self, what: str, total: int | None, action: Callable[[TaskID], Awaitable[T]]) -> T:
        task = self._progress.add_task(what, total=total)
        result = await action(task)
        if total is None:
            self._progress.update(task, total=1, completed=1)
        return result


def _upsert(document: SampleDocument) -> Message:
    body = {"id": document.id, "text": document.text, "metadata": document.metadata}
    return Message(document.id.encode(), orjson.dumps(body))
