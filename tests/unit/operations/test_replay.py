"""The pace of a replay, and what is said when it breaks off. On real Kafka: `integration/test_dlq.py`."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self

import pytest

from harness.bounds import Bound, set_bound
from harness.clock import run_virtually
from streamdex.config import Settings
from streamdex.deadletter import DeadLetterIndex, Wanted
from streamdex.deadletter.headers import dead_letter_headers
from streamdex.errors import ConfigurationError, Reason, RecordFault, Service, ServiceFault, Stage, TooLarge
from streamdex.model import Partition, Position, Record
from streamdex.operations.replay import DeadLetterBox, Replayed

AT = Partition("documents.dlq", 0)
FAULT = RecordFault(Stage.DECODE, Reason.UNDECODABLE, "the value is not JSON")


def dead_letters(count: int) -> list[Record]:
    made = []
    for offset in range(count):
        source = Record("documents", 0, offset, 1_700, b"k", b"{")
        headers = dead_letter_headers(source, FAULT, Position("documents", 0, 0, offset, 1_700), 1_800, "worker-1")
        made.append(Record(*AT, offset, 1_900, b"k", b"{", headers))
    return made


class Reader:
    """A dead-letter topic. Read again, a letter comes late or not at all where `waits_s` and `faults` say so."""

    def __init__(self, records: list[Record]) -> None:
        self._records = records
        self.waits_s: dict[int, float] = {}
        self.faults: dict[int, Exception] = {}
        self._read = False

    async def ranges(self, _: object) -> Mapping[Partition, tuple[int, int]]:
        return {AT: (0, len(self._records))}

    async def records(self, ranges: Mapping[Partition, tuple[int, int]]) -> AsyncIterator[Record]:
        for begin, end in ranges.values():
            for record in self._records[begin:end]:
                if self._read:
                    await asyncio.sleep(self.waits_s.get(record.offset, 0.0))
                    if record.offset in self.faults:
                        raise self.faults[record.offset]
                yield record
        self._read = True


class Sent:
    """What was sent and when, instead of the resender. It takes `enters_s` to connect."""

    def __init__(self) -> None:
        self.at_s: list[float] = []
        self.offsets: list[int] = []
        self.faults: dict[int, Exception] = {}
        """Instead of the dead letter at this offset, each time."""
        self.breaks: set[int] = set()
        """Fails once, as a neighbour of one that was refused does."""
        self.renewed = 0
        self.enters_s = 0.0

    def __call__(self, _: object) -> Self:
        return self

    async def __aenter__(self) -> Self:
        await asyncio.sleep(self.enters_s)
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def renew(self) -> None:
        self.renewed += 1

    async def send(self, dead_letter: Record) -> None:
        if dead_letter.offset in self.faults:
            raise self.faults[dead_letter.offset]
        if dead_letter.offset in self.breaks:
            self.breaks.remove(dead_letter.offset)
            raise ServiceFault(Service.KAFKA, "Kafka: OutOfOrderSequenceNumber")
        self.at_s.append(asyncio.get_running_loop().time())
        self.offsets.append(dead_letter.offset)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    made = Sent()
    monkeypatch.setattr("streamdex.operations.replay.Resender", made)
    return made


Told = list[tuple[Any, ...]]


def replayed(folder: Path, count: int, rate: int, **reader_says: Any) -> tuple[Replayed, Told]:
    reader = Reader(dead_letters(count))
    vars(reader).update(reader_says)
    told: Told = []

    async def run() -> Replayed:
        settings = Settings.model_validate({"kafka": {"topics": "documents"}})
        with DeadLetterIndex(folder / "letters") as index:
            box = DeadLetterBox(settings, reader, index, 0)  # type: ignore[arg-type]  # in the reader's place
            await box.read(lambda *_: None)
            return await box.send_back(Wanted(), rate, lambda *said: told.append(said))

    return run_virtually(run()), told


def most_in_a_second(at_s: list[float]) -> int:
    return max(sum(began_s <= at < began_s + 1.0 for at in at_s) for began_s in at_s)


@pytest.mark.parametrize(("rate", "at_once"), [(1, 1), (20, 2), (100, 10), (10_000, 100)])
def test_no_more_than_the_rate_are_sent(sent: Sent, tmp_path: Path, rate: int, at_once: int) -> None:
    count = min(300, 15 * rate)
    done, told = replayed(tmp_path, count, rate)
    assert done.sent == len(sent.at_s) == count
    assert most_in_a_second(sent.at_s) <= rate + at_once
    assert sent.at_s[-1] - sent.at_s[0] == pytest.approx((count - at_once) / rate, abs=0.01), "and not much fewer"
    assert sum(more for _, more, _ in told) == count
    assert {total for *_, total in told} == {count}


def test_what_was_late_is_not_caught_up(sent: Sent, tmp_path: Path) -> None:
    sent.enters_s = 30.0
    done, _ = replayed(tmp_path, 300, 100, waits_s={50: 20.0})
    assert done.sent == 300
    assert sent.at_s[-1] - sent.at_s[0] > 20.0
    assert most_in_a_second(sent.at_s) <= 110


@pytest.mark.usefixtures("sent")
def test_a_window_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_bound(monkeypatch, Bound.WINDOW_BYTES, 2 * dead_letters(1)[0].size_bytes)
    _, told = replayed(tmp_path, 10, 10_000)
    assert [more for _, more, _ in told] == [2] * 5


def test_one_that_is_too_large_is_left_and_its_neighbours_go(sent: Sent, tmp_path: Path) -> None:
    sent.faults[3] = TooLarge(Service.KAFKA, "a record is larger than the topic documents takes")
    sent.breaks |= {5, 6}
    done, told = replayed(tmp_path, 30, 100)
    assert [dead_letter.offset for dead_letter in done.too_large] == [3]
    assert done.sent == 29
    assert sorted(sent.offsets) == [offset for offset in range(30) if offset != 3]
    assert sent.renewed == 3, "one for each that failed"
    assert sum(more for _, more, _ in told) == 30


def test_a_service_that_fails_is_told_with_how_far_it_went(sent: Sent, tmp_path: Path) -> None:
    sent.faults[25] = ServiceFault(Service.KAFKA, "the topic documents does not acknowledge")
    with pytest.raises(
        ServiceFault, match="does not acknowledge; 29 of 60 dead letters were replayed; to replay those again"
    ):
        replayed(tmp_path, 60, 100)


@pytest.mark.usefixtures("sent")
def test_so_is_a_reader_that_fails(tmp_path: Path) -> None:
    fault = ServiceFault(Service.KAFKA, "the brokers do not send what stands on the topics")
    with pytest.raises(ServiceFault, match=r"do not send .*; 20 of 60 dead letters were replayed"):
        replayed(tmp_path, 60, 100, faults={25: fault})


def test_what_a_person_must_mend_is_told_as_it_is_and_first(sent: Sent, tmp_path: Path) -> None:
    sent.faults[0] = ServiceFault(Service.KAFKA, "Kafka: OutOfOrderSequenceNumber")
    sent.faults[4] = ConfigurationError("this user may not write to the topic", "kafka.topics", "Grant Write on it.")
    with pytest.raises(ConfigurationError, match="may not write to the topic"):
        replayed(tmp_path, 50, 100)
