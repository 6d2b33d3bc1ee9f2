"""What lies in the dead-letter topics, and what of it is tried again: for `streamdex dlq`."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from streamdex.config import Settings
from streamdex.deadletter import DeadLetterIndex, ListedDeadLetter, Resender, Wanted, parse_dead_letter, why_it_stays
from streamdex.errors import ConfigurationError, RecordFault, Service, ServiceFault, TooLarge
from streamdex.intake import Decoder, id_from_key
from streamdex.kafka.topic_reader import TopicReader, record_at
from streamdex.model import Event, Partition, Record
from streamdex.operations.verify.verification import OnProgress, dead_letter_topics, records_in, with_progress

# Dead letters are sent in so many windows a second, and each window waits for its acknowledgements. Its bytes are
# bounded since aiokafka compresses on the event loop, while the limits of all that are sent with it run.
WINDOWS_PER_S = 10
WINDOW_DEAD_LETTERS = 100
WINDOW_BYTES = 4 * 1024 * 1024


@dataclass(slots=True)
class Replayed:
    """What came of a replay. `too_large`: those that their own topic does not take with the headers they need."""

    sent: int = 0
    too_large: list[Record] = field(default_factory=list)


class DeadLetterBox:
    """The dead letters of the topics that are read, as they stood when it was opened. `index` answers about them."""

    def __init__(self, settings: Settings, reader: TopicReader, index: DeadLetterIndex, unknown_before_ms: int) -> None:
        """Of events written before `unknown_before_ms` a later delete may be no longer known: they stay."""
        self._settings = settings
        self._reader = reader
        self._unknown_before_ms = unknown_before_ms
        self._decoder = Decoder(settings)
        self.index = index
        self.dead_letters = 0
        self.others = 0
        """Records that are no dead letters of ours, or dead letters of topics that are not read."""

    async def read(self, on_progress: OnProgress) -> None:
        """Look at all of them. Raises ConfigurationError or ServiceFault."""
        ranges = await self._reader.ranges(dead_letter_topics(self._settings))
        async for record in with_progress(
            on_progress, "dead letters", records_in(ranges), self._reader.records(ranges)
        ):
            entry = self._entry(record)
            if entry is None:
                self.others += 1
            else:
                self.dead_letters += 1
                self.index.add(entry)

    async def send_back(self, wanted: Wanted, rate: int, on_progress: OnProgress) -> Replayed:
        """Send the wanted dead letters to their own topics, at most `rate` a second, but those that stay.

        Raises ConfigurationError or ServiceFault; then some were sent, and may be sent again.
        """
        wanted = replace(wanted, to_replay=True)
        total = sum(self.index.count(wanted).values())
        done = Replayed()
        if not total:
            return done
        try:
            async with Resender(self._settings.kafka) as resender:
                async for window in _paced(_windows(self._wanted(wanted), rate), rate):
                    await _send_window(resender, window, done)
                    on_progress("replay", len(window), total)
        except ServiceFault as fault:
            far = f"{done.sent:,} of {total:,} dead letters were replayed; to replay those again does no harm"
            raise ServiceFault(Service.KAFKA, f"{fault.message}; {far}") from None
        return done

    async def _wanted(self, wanted: Wanted) -> AsyncIterator[Record]:
        async for record in self._reader.records(self.index.ranges(wanted)):
            if self.index.holds(wanted, Partition(record.topic, record.partition), record.offset):
                yield record

    def _entry(self, record: Record) -> ListedDeadLetter | None:
        try:
            facts = parse_dead_letter(record)
        except ValueError:
            return None
        if facts.position.topic not in self._settings.kafka.topics:
            return None
        at = (record.topic, record.partition, record.offset)
        stays = why_it_stays(facts, self._unknown_before_ms)
        return ListedDeadLetter(*at, facts, self._document(record), len(record.value or b""), stays)

    def _document(self, record: Record) -> str | None:
        """The document's id; where the event cannot be read, that of the record's own key."""
        with suppress(Exception):  # a RecordFault, or a bug of ours, which makes a dead letter as well
            meaning = self._decoder.decode(record, self._settings.kafka.epoch)
            if isinstance(meaning, Event):
                return meaning.document_id
        try:
            return id_from_key(record.key)
        except RecordFault:
            return None


@asynccontextmanager
async def opened(
    settings: Settings, folder: Path, on_progress: OnProgress = lambda *_: None, *, with_old: bool = False
) -> AsyncIterator[DeadLetterBox]:
    """All dead letters, read. `folder` takes the index; `with_old`: also those of which a delete may be unknown.

    Raises ConfigurationError or ServiceFault.
    """
    unknown_before_ms = 0 if with_old else int((time.time() - settings.worker.tombstone_ttl_s) * 1000)
    async with TopicReader(settings.kafka) as reader:
        with DeadLetterIndex(folder / "dead-letters") as index:
            box = DeadLetterBox(settings, reader, index, unknown_before_ms)
            await box.read(on_progress)
            yield box


async def dead_letter_at(settings: Settings, at: Partition, offset: int) -> Record | None:
    """The record at a place of a dead-letter topic, None when there is none.

    Raises ConfigurationError or ServiceFault.
    """
    if at.topic not in dead_letter_topics(settings):
        return None
    return await record_at(settings.kafka, at, offset)


async def _send_window(resender: Resender, window: Sequence[Record], done: Replayed) -> None:
    """Send these together. Of those that fail, each is sent again by itself when one was refused for its size."""
    results = await asyncio.gather(*map(resender.send, window), return_exceptions=True)
    failed = [(dead_letter, fault) for dead_letter, fault in zip(window, results, strict=True) if fault is not None]
    done.sent += len(window) - len(failed)
    faults = [fault for _, fault in failed]
    if faults and not any(isinstance(fault, TooLarge) for fault in faults):
        raise next((fault for fault in faults if isinstance(fault, ConfigurationError)), faults[0])
    for dead_letter, _ in failed:
        await resender.renew()
        try:
            await resender.send(dead_letter)
        except TooLarge:
            done.too_large.append(dead_letter)
        else:
            done.sent += 1


async def _paced(windows: AsyncIterator[Sequence[Record]], rate: int) -> AsyncIterator[Sequence[Record]]:
    """The windows, so far apart that `rate` dead letters a second are not exceeded. What was late is not caught up."""
    clock = asyncio.get_running_loop()
    next_s = clock.time()
    async for window in windows:
        await asyncio.sleep(max(0.0, next_s - clock.time()))
        next_s = clock.time() + len(window) / rate
        yield window


async def _windows(dead_letters: AsyncIterator[Record], rate: int) -> AsyncIterator[Sequence[Record]]:
    most = min(WINDOW_DEAD_LETTERS, max(1, rate // WINDOWS_PER_S))
    window: list[Record] = []
    async for dead_letter in dead_letters:
        window.append(dead_letter)
        if len(window) == most or sum(one.size_bytes for one in window) >= WINDOW_BYTES:
            yield window
            window = []
    if window:
        yield window
