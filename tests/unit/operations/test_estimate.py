"""Samples lie within the log and spread over it; the extrapolation names what binds."""

import json

from hypothesis import given
from hypothesis import strategies as st

from streamdex.config import JinaSettings, Settings
from streamdex.embed import resolve
from streamdex.errors import Reason
from streamdex.model import Partition, Record
from streamdex.operations.estimate import SLICES, Estimate, Sample, Sampler, slices
from streamdex.operations.estimate import estimate as extrapolated

ranges_of_logs = st.dictionaries(
    st.builds(Partition, st.just("t"), st.integers(0, 5)),
    st.tuples(st.integers(0, 1000), st.integers(0, 1000)).map(lambda pair: (pair[0], pair[0] + pair[1])),
    min_size=1,
)


@given(ranges_of_logs, st.integers(10, 500))
def test_slices_lie_within_the_ranges_and_hold_about_what_was_asked(
    ranges: dict[Partition, tuple[int, int]], most: int
) -> None:
    read = 0
    for part in slices(ranges, most):
        for partition, (begin, end) in part.items():
            assert ranges[partition][0] <= begin <= end <= ranges[partition][1]
            read += end - begin
    everything = sum(end - begin for begin, end in ranges.values())
    assert read <= most + SLICES * len(ranges)
    assert read == everything or everything > most


def record(value: bytes | None) -> Record:
    return Record("t", 0, 0, 0, b"key", value)


def test_records_are_measured_as_they_would_be_embedded() -> None:
    sampler = Sampler(Settings())
    text = json.dumps({"text": "word " * 1000}).encode()
    found = Sample()
    for value in (text, None, b"{"):
        found = found.plus(sampler.measure(record(value)))
    assert (found.records, found.documents) == (3, 1)
    meanings = sampler.meanings
    assert (meanings.records, meanings.documents, meanings.deletes) == (3, 1, 1)
    assert [(one.reason, one.records, one.place) for one in meanings.unread] == [(Reason.NOT_JSON, 1, "t[0]@0")]
    assert found.chunks == 3
    assert 1300 < found.tokens < 1500


def estimate(settings: Settings, sample: Sample, backlog: int) -> Estimate:
    return extrapolated(settings, resolve(settings.jina), sample, backlog)


def test_the_limit_that_binds_decides_the_time() -> None:
    settings = Settings(jina=JinaSettings(requests_per_minute=10, tokens_per_minute=1_000, price_per_million_tokens=2))
    by_tokens = estimate(settings, Sample(records=10, chunks=10, tokens=1_000), backlog=1_000)
    assert (by_tokens.tokens, by_tokens.minutes, by_tokens.bound_by) == (100_000, 100.0, "tokens")
    assert by_tokens.cost == 0.2
    fast = Settings(jina=JinaSettings(requests_per_minute=1, tokens_per_minute=1_000_000))
    by_requests = estimate(fast, Sample(records=10, chunks=10, tokens=10), backlog=100_000)
    assert by_requests.bound_by == "requests"


def test_an_empty_topic_costs_nothing() -> None:
    assert estimate(Settings(), Sample(), backlog=0).tokens == 0


def test_requests_are_those_that_the_pacing_makes() -> None:
    paid = estimate(Settings(), Sample(records=10, chunks=10, tokens=4_000), backlog=100_000)
    assert paid.requests == 40_000_000 / 5_000
    small = estimate(Settings(), Sample(records=10, chunks=10, tokens=100), backlog=100_000)
    assert small.requests == -(-100_000 // 401)  # inputs enough for 4,000 tokens
    late = Settings(jina=JinaSettings(late_chunking=True))
    assert estimate(late, Sample(records=12, documents=10, chunks=40, tokens=4_000), backlog=1_200).requests == 1_000
