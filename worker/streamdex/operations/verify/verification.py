"""Folds the topic anew and holds the collection against it: the thin shell around `verify/`.

What is folded reaches from the log's start to a fixed horizon: what was settled when the verification began. So a
worker that runs meanwhile, or is behind, makes no difference. What it changes while the collection is read would make
one, so each document that seems to differ is read once more, by itself, before it is reported.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from streamdex.config import Settings
from streamdex.embed import resolve
from streamdex.errors import ConfigurationError
from streamdex.index import Index, Progress
from streamdex.kafka.topic_reader import TopicReader
from streamdex.model import Partition, Ranges
from streamdex.operations.verify import (
    Difference,
    DifferenceKind,
    Evidence,
    Expectation,
    Fold,
    Horizon,
    Report,
    Unindexable,
    judge,
    place_of,
    tell,
)
from streamdex.operations.verify.interpretation import Interpreter
from streamdex.plan import cutting_digest
from streamdex.telemetry import Metrics

T = TypeVar("T")

# What is done at the moment, how many of it more, and of how many in all where that is known.
OnProgress = Callable[[str, int, int | None], None]

LOOK_AGAIN_DOCUMENTS = 64  # read once more in a few requests
REPORT_EVERY = 500
UNKNOWN_GENERATION = -1
COMPARED = "documents compared"


async def verify_collection(
    settings: Settings, folder: Path, on_progress: OnProgress = lambda *_: None, *, to_end: bool = False
) -> Report:
    """Compare the collection with the topic. Writes nothing, to neither.

    `folder` is for files of what is known, some hundred bytes for each document and chunk. The horizon is what is
    settled; with `to_end` the end of the log, so that what no worker has settled yet counts as missing.
    Raises ConfigurationError, AccountFault and ServiceFault.
    """
    async with opened(settings, folder, on_progress, to_end=to_end) as verification:
        return await verification.compare()


@asynccontextmanager
async def opened(
    settings: Settings, folder: Path, on_progress: OnProgress, *, to_end: bool, repairs: bool = False
) -> AsyncIterator["Verification"]:
    """A verification at the start. `repairs`: documents will be written, so the collection must know the settings."""
    profile = resolve(settings.jina)
    index = await Index.open(settings, profile.fingerprint, profile.dimension, Metrics(), create=False)
    try:
        async with TopicReader(settings.kafka) as reader:
            log = await reader.ranges(settings.kafka.topics)
            epoch = settings.kafka.epoch
            progress = await index.progress(reader.cluster_id, epoch, list(log))
            ranges = log if to_end else settled_ranges(log, progress)
            refuse_recreated(log, progress)
            generation = await index.known_generation(cutting_digest(settings))
            if repairs and generation is None:
                refuse_unknown_settings()
            ends = {partition: end for partition, (_, end) in log.items()}
            bases = await index.bases(reader.cluster_id, epoch, ends, keep=repairs)
            known = UNKNOWN_GENERATION if generation is None else generation
            horizon = Horizon(ranges, epoch, known, from_start=settings.kafka.auto_offset_reset == "earliest")
            interpreter = Interpreter(settings, bases, max(0, known))
            with Fold(folder / "fold.sqlite") as fold:
                verification = Verification(settings, index, reader, interpreter, horizon, fold, on_progress)
                verification.report.unsettled = sum(ends[one] - end for one, (_, end) in ranges.items())
                yield verification
    finally:
        await index.close()


def settled_ranges(log: Ranges, progress: Mapping[Partition, Progress]) -> Ranges:
    """Of each partition's [begin, end) the part that is settled. Every event in it has its outcome."""
    return {
        partition: (begin, min(end, max(begin, progress[partition].offset if partition in progress else begin)))
        for partition, (begin, end) in log.items()
    }


def refuse_recreated(log: Ranges, progress: Mapping[Partition, Progress]) -> None:
    """A log that ends below what was settled of it is another one. Raises ConfigurationError."""
    for partition, known in progress.items():
        if known.offset > log[partition][1]:
            raise ConfigurationError(
                f"the topic {partition.topic} ends below what the collection has of it: it was made anew",
                "kafka.epoch",
                "Raise kafka.epoch by one, for the workers as well.",
            )


def refuse_unknown_settings() -> None:
    """With another mapping every document would seem unexpected, and a repair would delete it."""
    raise ConfigurationError(
        "no worker has written this collection with these settings",
        "chunk, mapping, qdrant.text_key, qdrant.metadata_key",
        "Give verify the worker's settings, or start a worker with these first.",
    )


async def told(on_progress: OnProgress, what: str, total: int | None, items: AsyncIterator[T]) -> AsyncIterator[T]:
    """The items, telling every so often how many there were."""
    on_progress(what, 0, total)
    more = 0
    async for item in items:
        yield item
        more += 1
        if more == REPORT_EVERY:
            on_progress(what, more, total)
            more = 0
    on_progress(what, more, total)


class Verification:
    """One comparison. `compare` first; then `fold` knows which documents differ, and `look_again` reads them anew."""

    def __init__(
        self,
        settings: Settings,
        index: Index,
        reader: TopicReader,
        interpreter: Interpreter,
        horizon: Horizon,
        fold: Fold,
        on_progress: OnProgress,
    ) -> None:
        self.index = index
        self.reader = reader
        self.interpreter = interpreter
        self.horizon = horizon
        self.fold = fold
        self.on_progress = on_progress
        self.report = Report()
        self._dead_letter_topics = dead_letter_topics(settings)

    async def compare(self) -> Report:
        """Read everything, and judge."""
        await self._fold_dead_letters()
        await self._fold_events()
        await self._read_collection()
        await self._judge()
        return self.report

    async def _fold_dead_letters(self) -> None:
        """After the horizon is fixed: a record is settled as dead-lettered only when its letter is there."""
        ranges = await self.reader.ranges(self._dead_letter_topics, missing_ok=True)
        async for record in told(self.on_progress, "dead letters", records_in(ranges), self.reader.records(ranges)):
            dead_letter = self.interpreter.dead_letter(record)
            if dead_letter is not None:
                self.report.dead_letters += 1
                self.fold.add_dead_letter(*dead_letter)

    async def _fold_events(self) -> None:
        ranges = self.horizon.ranges
        async for record in told(self.on_progress, "records", records_in(ranges), self.reader.records(ranges)):
            self.report.records += 1
            asked = self.interpreter.expectation(record)
            dead_lettered = self.fold.is_dead_letter(*self.interpreter.position(record))
            if isinstance(asked, Expectation):
                (self.fold.add_dead_lettered if dead_lettered else self.fold.add_event)(asked)
            elif dead_lettered:
                continue
            elif isinstance(asked, Unindexable):
                self.fold.add_unindexable(asked)
            else:
                self.fold.add_no_event(asked)

    async def _read_collection(self) -> None:
        points, manifests = await self.index.counts()
        async for manifest in told(self.on_progress, "manifests", manifests, self.index.all_manifests()):
            self.fold.add_manifest(manifest)
        async for point_id in self.index.without_vector():
            self.fold.add_without_vector(point_id)
        async for stored in told(self.on_progress, "points", points, self.index.all_points()):
            if not stored.document_key:
                self.report.foreign += 1
                continue
            has_vector = not self.fold.is_without_vector(stored.id)
            self.fold.add_point(self.interpreter.point(stored, has_vector=has_vector))

    async def _judge(self) -> None:
        differing: list[Evidence] = []
        documents = 0
        async for evidence in told(self.on_progress, COMPARED, None, _each(self.fold.evidence())):
            documents += 1
            judgement = judge(evidence, self.horizon)
            if not judgement.kinds:
                tell(self.report, evidence, judgement)
                continue
            differing.append(evidence)
            if len(differing) == LOOK_AGAIN_DOCUMENTS:
                await self._judge_again(differing)
                differing = []
        await self._judge_again(differing)
        self.on_progress(COMPARED, 0, documents)
        for record in self.fold.no_events():
            self.report.add(Difference(DifferenceKind.NOT_DEAD_LETTERED, "", place_of(record.position)))

    async def _judge_again(self, differing: Sequence[Evidence]) -> None:
        for evidence in await self.look_again(differing):
            judgement = judge(evidence, self.horizon)
            tell(self.report, evidence, judgement)
            if judgement.kinds:
                self.fold.add_differing(evidence.document_key)

    async def look_again(self, documents: Sequence[Evidence]) -> list[Evidence]:
        """The same documents, with what the collection has of them now."""
        keys = [one.document_key for one in documents]
        found = await self.index.documents(keys)
        without_vector = {point_id async for point_id in self.index.without_vector(keys)} if keys else set()
        anew = []
        for one in documents:
            manifest, stored = found[one.document_key]
            points = tuple(self.interpreter.point(point, has_vector=point.id not in without_vector) for point in stored)
            anew.append(replace(one, manifest=manifest, points=points))
        return anew


async def _each(items: Iterator[T]) -> AsyncIterator[T]:
    for item in items:
        yield item


def dead_letter_topics(settings: Settings) -> Collection[str]:
    """The dead-letter topics of the topics that are read."""
    return {settings.kafka.dead_letter_topic_of(topic) for topic in settings.kafka.topics}


def records_in(ranges: Ranges) -> int:
    """How many offsets the ranges span."""
    return sum(end - begin for begin, end in ranges.values())
