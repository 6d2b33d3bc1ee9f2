"""What lies in the dead-letter topics, and what of it is tried again: for `streamdex dlq`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from worker.config import Settings
from worker.deadletter import MOST_REPLAYS, Letter, Register, Resender, Wanted, parse_letter
from worker.errors import Service, ServiceFault
from worker.intake import Decoder, TopicReader
from worker.model import Partition, Record
from worker.verification import Said, dead_letter_topics, records_in, told

WINDOWS_PER_S = 10  # letters are sent together, in so many windows a second: each waits for its acknowledgements
MOST_AT_ONCE = 100


class LetterBox:
    """The letters of the topics that are read, as they stood when it was opened. `register` answers about them."""

    def __init__(self, settings: Settings, reader: TopicReader, register: Register) -> None:
        self._settings = settings
        self._reader = reader
        self._decoder = Decoder(settings.mapping, settings.caps)
        self.register = register
        self.letters = 0
        self.others = 0
        """Records that are no letters of ours, or letters of topics that are not read."""

    async def read(self, said: Said) -> None:
        """Look at all of them. Raises ConfigurationError or ServiceFault."""
        ranges = await self._reader.ranges(dead_letter_topics(self._settings), missing_ok=True)
        async for record in told(said, "dead letters", records_in(ranges), self._reader.records(ranges)):
            letter = self._letter(record)
            if letter is None:
                self.others += 1
            else:
                self.letters += 1
                self.register.add(letter)

    async def send_back(self, wanted: Wanted, rate: int, said: Said) -> int:
        """Send the wanted letters to their own topics, at most `rate` a second; how many that were.

        Those that came back MOST_REPLAYS times stay. Raises ConfigurationError or ServiceFault; then some were sent,
        and may be sent again.
        """
        wanted = replayable(wanted)
        total = sum(self.register.count(wanted).values())
        clock = asyncio.get_running_loop()
        sent, began_s = 0, clock.time()
        async with Resender(self._settings.kafka) as resender:
            async for window in _windows(self._wanted(wanted), min(MOST_AT_ONCE, max(1, rate // WINDOWS_PER_S))):
                results = await asyncio.gather(*map(resender.send, window), return_exceptions=True)
                faults = [result for result in results if result is not None]
                sent += len(window) - len(faults)
                said("replay", len(window) - len(faults), total)
                if faults:
                    raise _with_count(faults[0], sent, total)
                await asyncio.sleep(max(0.0, began_s + sent / rate - clock.time()))
        return sent

    async def _wanted(self, wanted: Wanted) -> AsyncIterator[Record]:
        async for record in self._reader.records(self.register.ranges(wanted)):
            if self.register.holds(wanted, Partition(record.topic, record.partition), record.offset):
                yield record

    def _letter(self, record: Record) -> Letter | None:
        try:
            facts = parse_letter(record)
        except ValueError:
            return None
        if facts.position.topic not in self._settings.kafka.topics:
            return None
        at = (record.topic, record.partition, record.offset)
        return Letter(*at, facts, self._document(record), len(record.value or b""))

    def _document(self, record: Record) -> str | None:
        """The document's key; where the event cannot be read, that of the record's own key."""
        try:
            return self._decoder.decode(record, self._settings.kafka.epoch).document_key
        except Exception:  # noqa: BLE001  # a RecordFault, or a bug of ours, which makes a dead letter as well
            key = record.key or b""
        try:
            return f"s:{key.decode()}" if key else None
        except UnicodeDecodeError:
            return None


@asynccontextmanager
async def opened(settings: Settings, folder: Path, said: Said = lambda *_: None) -> AsyncIterator[LetterBox]:
    """All letters, read. `folder` takes the register. Raises ConfigurationError or ServiceFault."""
    async with TopicReader(settings.kafka) as reader:
        with Register(folder / "letters") as register:
            box = LetterBox(settings, reader, register)
            await box.read(said)
            yield box


async def letter_at(settings: Settings, at: Partition, offset: int) -> Record | None:
    """The record at a place of a dead-letter topic, None when there is none.

    Raises ConfigurationError or ServiceFault.
    """
    async with TopicReader(settings.kafka) as reader:
        begin, end = (await reader.ranges([at.topic], missing_ok=True)).get(at, (0, 0))
        if begin <= offset < end:
            async for record in reader.records({at: (offset, offset + 1)}):
                return record
    return None


def replayable(wanted: Wanted) -> Wanted:
    """Those of them that did not come back too often."""
    return replace(wanted, replays=min(wanted.replays, MOST_REPLAYS))


def _with_count(fault: BaseException, sent: int, total: int) -> BaseException:
    """A fault of the service's says how far it went; what a person must mend is said as it is."""
    if not isinstance(fault, ServiceFault):
        return fault
    done = f"{sent:,} of {total:,} letters were replayed; to replay those again does no harm"
    return ServiceFault(Service.KAFKA, f"{fault.message}; {done}")


async def _windows(items: AsyncIterator[Record], size: int) -> AsyncIterator[Sequence[Record]]:
    window: list[Record] = []
    async for item in items:
        window.append(item)
        if len(window) == size:
            yield window
            window = []
    if window:
        yield window
