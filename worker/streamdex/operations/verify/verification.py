"""Folds the topic again and compares the collection with it.

The fold reaches from the log's start to a fixed cut-off: what was settled when the verification began. So a worker that
runs meanwhile, or is behind, makes no difference. What it changes while the collection is read would look like one;
therefore each document that seems to differ is read once more, by itself, before it is reported.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from streamdex.config import Settings
from streamdex.embed import resolve
from streamdex.errors import ConfigurationError
from streamdex.index import Index, Progress
from streamdex.kafka.topic_reader import TopicReader
from streamdex.model import Ignored, Partition, Ranges
from streamdex.operations.verify.compare import add_to_report, compare_document
from streamdex.operations.verify.differences import Difference, DifferenceKind, Report
from streamdex.operations.verify.evidence import Evidence, Expectation, FoldScope, Unindexable, place_of
from streamdex.operations.verify.fold import Fold
from streamdex.operations.verify.interpretation import Interpreter
from streamdex.plan import cutting_digest
from streamdex.telemetry import Metrics

T = TypeVar("T")

# What is being done, how many more of it are done, and how many there are in all where that is known.
OnProgress = Callable[[str, int, int | None], None]

READ_AGAIN_DOCUMENTS = 64  # together, in a few requests
REPORT_EVERY = 500
UNKNOWN_GENERATION = -1
COMPARED = "documents compared"


async def verify_collection(
    settings: Settings, folder: Path, on_progress: OnProgress = lambda *_: None, *, to_end: bool = False
) -> Report:
    """Compare the collection with the topic. Writes to neither.

    `folder` takes some hundred bytes for each document and chunk. The cut-off is what is settled; with `to_end` it is
    the end of the log, so that what no worker has settled yet counts as missing.
    Raises ConfigurationError, AccountFault and ServiceFault.
    """
    async with open_verification(settings, folder, on_progress, to_end=to_end) as verification:
        return await verification.compare()


@asynccontextmanager
async def open_verification(
    settings: Settings, folder: Path, on_progress: OnProgress, *, to_end: bool, repairs: bool = False
) -> AsyncIterator["Verification"]:
    """A verification that can begin. `repairs`: documents will be written, so the collection must know the settings."""
    profile, kafka = resolve(settings.jina), settings.kafka
    index = await Index.open(settings, profile.fingerprint, profile.dimension, Metrics(), create=False)
    bookkeeping = index.bookkeeping
    try:
        async with TopicReader(kafka) as reader:
            log = await reader.ranges(kafka.topics)
            progress = await bookkeeping.progress(reader.cluster_id, kafka.epoch, list(log))
            ranges = log if to_end else settled_ranges(log, progress)
            refuse_recreated(log, progress)
            generation = await bookkeeping.known_generation(cutting_digest(settings))
            if repairs and generation is None:  # with another mapping a repair would delete every document
                raise ConfigurationError(
                    "no worker has written this collection with these settings",
                    "chunk, mapping, qdrant.text_key, qdrant.metadata_key",
                    "Give verify the worker's settings, or start a worker with these first.",
                )
            ends = {partition: end for partition, (_, end) in log.items()}
            bases = await bookkeeping.bases(reader.cluster_id, kafka.epoch, ends, keep=repairs)
            known = UNKNOWN_GENERATION if generation is None else generation
            scope = FoldScope(ranges, kafka.epoch, known, from_start=kafka.auto_offset_reset == "earliest")
            interpreter = Interpreter(settings, bases, max(0, known))
            with Fold(folder / "fold.sqlite") as fold:
                verification = Verification(settings, index, reader, interpreter, scope, fold, on_progress)
                verification.report.unsettled = records_in(log) - records_in(ranges)
                yield verification
    finally:
        await index.close()


def settled_ranges(log: Ranges, progress: Mapping[Partition, Progress]) -> Ranges:
    """The settled part of each partition's [begin, end). Every event in it has its outcome."""
    return {
        partition: (begin, min(end, max(begin, progress[partition].offset if partition in progress else begin)))
        for partition, (begin, end) in log.items()
    }


def refuse_recreated(log: Ranges, progress: Mapping[Partition, Progress]) -> None:
    """Raises ConfigurationError for a log that ends below what was settled of it: that is another log."""
    for partition, known in progress.items():
        if known.offset > log[partition][1]:
            raise ConfigurationError(
                f"the topic {partition.topic} ends below what the collection has of it: it was recreated",
                "kafka.epoch",
                "Raise kafka.epoch by one, for the workers as well.",
            )


async def with_progress(
    on_progress: OnProgress, what: str, total: int | None, items: AsyncIterator[T]
) -> AsyncIterator[T]:
    """The items. Reports at the beginning, after every 500 of them, and at the end."""
    on_progress(what, 0, total)
    more = 0
    async for item in items:
        yield item
        more += 1
        if more == REPORT_EVERY:
            on_progress(what, more, total)
            more = 0
    on_progress(what, more, total)


@dataclass(frozen=True, slots=True)
class Verification:
    """One comparison. After `compare`, `fold` knows which documents differ, and `read_again` reads them once more."""

    settings: Settings
    index: Index
    reader: TopicReader
    interpreter: Interpreter
    scope: FoldScope
    fold: Fold
    on_progress: OnProgress
    report: Report = field(default_factory=Report)

    async def compare(self) -> Report:
        """Read the topics and the collection, and compare them."""
        await self._fold_dead_letters()
        await self._fold_events()
        await self._read_collection()
        await self._compare_documents()
        return self.report

    async def _fold_dead_letters(self) -> None:
        """The cut-off is fixed before: a record is settled as dead-lettered only after its dead letter was written."""
        ranges = await self.reader.ranges(dead_letter_topics(self.settings), missing_ok=True)
        records = self.reader.records(ranges)
        async for record in with_progress(self.on_progress, "dead letters", records_in(ranges), records):
            dead_letter = self.interpreter.dead_letter(record)
            if dead_letter is not None:
                self.report.dead_letters += 1
                self.fold.add_dead_letter(*dead_letter)

    async def _fold_events(self) -> None:
        ranges = self.scope.ranges
        records = self.reader.records(ranges)
        async for record in with_progress(self.on_progress, "records", records_in(ranges), records):
            self.report.records += 1
            meaning = self.interpreter.expectation(record)
            if isinstance(meaning, Ignored):
                continue
            dead_lettered = self.fold.is_dead_letter(*self.interpreter.position(record))
            if isinstance(meaning, Expectation):
                (self.fold.add_dead_lettered if dead_lettered else self.fold.add_event)(meaning)
            elif dead_lettered:
                continue
            elif isinstance(meaning, Unindexable):
                self.fold.add_unindexable(meaning)
            else:
                self.fold.add_no_event(meaning)

    async def _read_collection(self) -> None:
        stored = self.index.reader
        points, manifests = await stored.counts()
        async for manifest in with_progress(self.on_progress, "manifests", manifests, stored.all_manifests()):
            self.fold.add_manifest(manifest)
        async for point_id in stored.without_vector():
            self.fold.add_without_vector(point_id)
        async for point in with_progress(self.on_progress, "points", points, stored.all_points()):
            if point.document_id:
                has_vector = not self.fold.is_without_vector(point.id)
                self.fold.add_point(self.interpreter.point(point, has_vector=has_vector))
            else:
                self.report.foreign += 1

    async def _compare_documents(self) -> None:
        differing: list[Evidence] = []
        documents = 0
        async for evidence in with_progress(self.on_progress, COMPARED, None, _each(self.fold.evidence())):
            documents += 1
            findings = compare_document(evidence, self.scope)
            if not findings.kinds:
                add_to_report(self.report, evidence, findings)
                continue
            differing.append(evidence)
            if len(differing) == READ_AGAIN_DOCUMENTS:
                await self._compare_again(differing)
                differing = []
        await self._compare_again(differing)
        self.on_progress(COMPARED, 0, documents)
        for record in self.fold.no_events():
            self.report.add(Difference(DifferenceKind.NOT_DEAD_LETTERED, "", place_of(record.position)))

    async def _compare_again(self, differing: Sequence[Evidence]) -> None:
        for evidence in await self.read_again(differing):
            findings = compare_document(evidence, self.scope)
            add_to_report(self.report, evidence, findings)
            if findings.kinds:
                self.fold.add_differing(evidence.document_id)

    async def read_again(self, documents: Sequence[Evidence]) -> list[Evidence]:
        """The same documents, with what the collection has of them now. Raises ServiceFault and AccountFault."""
        keys = [one.document_id for one in documents]
        found = await self.index.reader.documents(keys)
        without_vector = {point_id async for point_id in self.index.reader.without_vector(keys)} if keys else set()
        result = []
        for one in documents:
            manifest, stored = found[one.document_id]
            points = tuple(self.interpreter.point(point, has_vector=point.id not in without_vector) for point in stored)
            result.append(replace(one, manifest=manifest, points=points))
        return result


async def _each(items: Iterator[T]) -> AsyncIterator[T]:
    for item in items:
        yield item


def dead_letter_topics(settings: Settings) -> Collection[str]:
    """The dead-letter topics of the topics that are read."""
    return {settings.kafka.dead_letter_topic_of(topic) for topic in settings.kafka.topics}


def records_in(ranges: Ranges) -> int:
    """How many offsets the ranges span."""
    return sum(end - begin for begin, end in ranges.values())
