"""Estimates what a backlog will cost: tokens, requests, time at the key's limits and money, from a sample."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from streamdex.config import Settings
from streamdex.embed import KeyLimits, Profile, bounds_of, requests_for
from streamdex.errors import RecordFault
from streamdex.kafka.topic_reader import TopicReader
from streamdex.model import Ranges, Record
from streamdex.operations.meanings import Meanings, Unread, meanings_of
from streamdex.plan import Chunker
from streamdex.plan.keys import text_hash

SLICES = 4  # of each partition, from which the sample is taken


class Sample(NamedTuple):
    """What some of the records hold."""

    records: int = 0
    documents: int = 0
    chunks: int = 0
    tokens: int = 0

    def plus(self, other: "Sample") -> "Sample":
        """Both together."""
        return Sample(*(one + more for one, more in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True)
class Estimate:
    """The backlog, extrapolated. An upper bound: coalesced events, and unchanged or known chunks, cost nothing."""

    records: int
    sampled: int
    chunks: int
    tokens: int
    requests: int
    minutes: float
    bound_by: str
    cost: float | None
    unread: Sequence[Unread] = ()
    """Why records of the sample cannot be read, the most frequent reasons first."""


def slices(ranges: Ranges, most_records: int) -> Iterator[Ranges]:
    """Parts of the ranges, evenly spread, of about `most_records` together; the ranges themselves if they hold fewer.

    With partitions of 1,000 and 3,000 records and `most_records` 400, each of 4 slices has 25 of the one and 75 of the
    other.
    """
    total = sum(end - begin for begin, end in ranges.values())
    if total <= most_records:
        yield ranges
        return
    for part in range(SLICES):
        chosen = {}
        for partition, (begin, end) in ranges.items():
            length = max(1, most_records * (end - begin) // total // SLICES)
            first = begin + (end - begin - length) * part // max(1, SLICES - 1)
            chosen[partition] = (max(begin, first), min(end, first + length))
        yield chosen


def estimate(
    settings: Settings, profile: Profile, sample: Sample, backlog: int, unread: Sequence[Unread] = ()
) -> Estimate:
    """Extrapolate a sample to a backlog of this many records, at the limits in force."""
    factor = backlog / sample.records if sample.records else 0.0
    tokens, chunks = round(sample.tokens * factor), round(sample.chunks * factor)
    limits = KeyLimits(*settings.jina.effective_limits)
    if profile.late_chunking:
        requests = round(sample.documents * factor)  # a document each
    else:
        requests = requests_for(limits, bounds_of(settings.jina, profile), chunks, tokens)
    by_tokens, by_requests = tokens / limits.tokens_per_minute, requests / limits.requests_per_minute
    price = settings.jina.price_per_million_tokens
    return Estimate(
        records=backlog,
        sampled=sample.records,
        chunks=chunks,
        tokens=tokens,
        requests=requests,
        minutes=max(by_tokens, by_requests),
        bound_by="tokens" if by_tokens >= by_requests else "requests",
        cost=None if price is None else tokens / 1e6 * price,
        unread=unread,
    )


class Sampler:
    """Counts what records hold, and what they mean."""

    def __init__(self, settings: Settings) -> None:
        self.meanings = meanings_of(settings)
        self._chunker = Chunker(settings)

    def measure(self, record: Record) -> Sample:
        """What one record holds."""
        event = self.meanings.add(record)
        if event is None or event.text is None:
            return Sample(records=1)
        try:
            chunks = self._chunker.chunks(event.document_id, event.text, text_hash(event.text))
        except RecordFault as fault:
            self.meanings.refuse(record, fault)
            return Sample(records=1)
        return Sample(records=1, documents=1, chunks=len(chunks), tokens=sum(chunk.tokens for chunk in chunks))


async def sample_topics(
    settings: Settings, reader: TopicReader, ranges: Ranges, most_records: int, on_record: Callable[[], None]
) -> tuple[Sample, Meanings]:
    """Read and measure a sample of the ranges; `on_record` is called for each record.

    Raises ConfigurationError or ServiceFault.
    """
    sampler = Sampler(settings)
    whole = Sample()
    for part in slices(ranges, most_records):
        async for record in reader.records(part):
            whole = whole.plus(sampler.measure(record))
            on_record()
    return whole, sampler.meanings
