"""What records of the topics mean to the settings: documents, deletes, and why some cannot be read."""

from collections import Counter
from dataclasses import dataclass, field

from streamdex.config import Settings
from streamdex.errors import Reason, RecordFault
from streamdex.intake import Decoder
from streamdex.kafka.topic_reader import TopicReader
from streamdex.model import Event, Ignored, Ranges, Record

MOST_REASONS = 3


@dataclass(frozen=True, slots=True)
class Unread:
    """Why records cannot be read, with one of them: its message and where it stands."""

    reason: Reason
    records: int
    message: str
    place: str


@dataclass
class Meanings:
    """Counts by meaning. `strangers` are documents whose record key names another document, or none."""

    decoder: Decoder
    epoch: int
    records: int = 0
    documents: int = 0
    deletes: int = 0
    ignored: int = 0
    strangers: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)
    examples: dict[Reason, tuple[str, str]] = field(default_factory=dict)

    def add(self, record: Record) -> Event | None:
        """Count a record; returns its event, if it is one."""
        self.records += 1
        try:
            meaning = self.decoder.decode(record, self.epoch)
        except RecordFault as fault:
            self._note(record, fault)
            return None
        if isinstance(meaning, Ignored):
            self.ignored += 1
            return None
        if meaning.text is None:
            self.deletes += 1
        else:
            self.documents += 1
            self.strangers += not self._key_names(record, meaning)
        return meaning

    def refuse(self, record: Record, fault: RecordFault) -> None:
        """A document that was counted is over a cap, and would become a dead letter."""
        self.documents -= 1
        self._note(record, fault)

    def _note(self, record: Record, fault: RecordFault) -> None:
        self.reasons[fault.reason] += 1
        place = f"{record.topic}[{record.partition}]@{record.offset}"
        self.examples.setdefault(fault.reason, (fault.message, place))

    @property
    def unread(self) -> list[Unread]:
        """The most frequent reasons first."""
        most = self.reasons.most_common(MOST_REASONS)
        return [Unread(reason, records, *self.examples[reason]) for reason, records in most]

    def summary(self) -> str:
        """In one sentence: 37 documents, 3 deletes, 60 cannot be read: after.body is missing (articles[0]@7)."""
        parts = [_counted(self.documents, "document"), _counted(self.deletes, "delete")]
        if self.ignored:
            parts.append(f"{self.ignored:,} ignored")
        parts += [f"{one.records:,} cannot be read: {one.message} ({one.place})" for one in self.unread]
        return ", ".join(parts)

    def _key_names(self, record: Record, event: Event) -> bool:
        """Whether a null value under this key would delete this document."""
        try:
            deleted = self.decoder.decode(record._replace(value=None, headers=()), self.epoch)
        except RecordFault:
            return False
        return isinstance(deleted, Event) and deleted.document_id == event.document_id


def meanings_of(settings: Settings) -> Meanings:
    """An empty count. Raises ConfigurationError for a mapping that cannot work."""
    return Meanings(Decoder(settings), settings.kafka.epoch)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


async def sample_ends(settings: Settings, most_records: int) -> Meanings:
    """The meanings of the oldest and the newest records, about so many together.

    Raises ConfigurationError or ServiceFault.
    """
    meanings = meanings_of(settings)
    async with TopicReader(settings.kafka) as reader:
        ranges = await reader.ranges(settings.kafka.topics)
        for part in ends_of(ranges, most_records):
            async for record in reader.records(part):
                meanings.add(record)
    return meanings


def ends_of(ranges: Ranges, most_records: int) -> list[Ranges]:
    """The beginnings of the partitions and their ends, about `most_records` together; everything if that is less."""
    if sum(end - begin for begin, end in ranges.values()) <= most_records:
        return [ranges]
    each = max(1, most_records // (2 * len(ranges)))
    oldest = {at: (begin, min(end, begin + each)) for at, (begin, end) in ranges.items()}
    return [oldest, {at: (max(oldest[at][1], end - each), end) for at, (_, end) in ranges.items()}]
