"""The pace of a replay, and what is said when it breaks off. On real Kafka: `integration/test_dlq.py`."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self

import pytest
from virtual_time import run_virtually

from worker.config import Settings
from worker.deadletter import Register, Wanted
from worker.deadletter.headers import letter_headers
from worker.errors import ConfigurationError, Reason, RecordFault, Service, ServiceFault, Stage
from worker.model import Partition, Position, Record
from worker.replay import LetterBox

AT = Partition("documents.dlq", 0)
FAULT = RecordFault(Stage.DECODE, Reason.UNDECODABLE, "the value is not JSON")


def letters(count: int) -> list[Record]:
    made = []
    for offset in range(count):
        source = Record("documents", 0, offset, 1_700, b"k", b"{")
        headers = letter_headers(source, FAULT, Position("documents", 0, 0, offset, 1_700), 1_800, "worker-1")
        made.append(Record(*AT, offset, 1_900, b"k", b"{", headers))
    return made


class Reader:
    """A dead-letter topic."""

    def __init__(self, records: list[Record]) -> None:
        self._records = records

    async def ranges(self, _: object, *, missing_ok: bool) -> Mapping[Partition, tuple[int, int]]:
        assert missing_ok
        return {AT: (0, len(self._records))}

    async def records(self, ranges: Mapping[Partition, tuple[int, int]]) -> AsyncIterator[Record]:
        for begin, end in ranges.values():
            for record in self._records[begin:end]:
                yield record


class Sent:
    """What was sent and when, instead of the resender; `fault` comes in the place of the letter at its offset."""

    def __init__(self) -> None:
        self.at_s: list[float] = []
        self.faults: dict[int, Exception] = {}

    def __call__(self, _: object) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def send(self, letter: Record) -> None:
        if letter.offset in self.faults:
            raise self.faults[letter.offset]
        self.at_s.append(asyncio.get_running_loop().time())


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    made = Sent()
    monkeypatch.setattr("worker.replay.Resender", made)
    return made


async def replayed(folder: Path, count: int, rate: int) -> tuple[int, list[tuple[Any, ...]]]:
    told: list[tuple[Any, ...]] = []
    settings = Settings.model_validate({"kafka": {"topics": "documents"}})
    with Register(folder / "letters") as register:
        box = LetterBox(settings, Reader(letters(count)), register)  # type: ignore[arg-type]  # in the reader's place
        await box.read(lambda *_: None)
        return await box.send_back(Wanted(), rate, lambda *said: told.append(said)), told


@pytest.mark.parametrize(("rate", "at_once"), [(1, 1), (20, 2), (100, 10), (10_000, 100)])
def test_no_more_than_the_rate_are_sent(sent: Sent, tmp_path: Path, rate: int, at_once: int) -> None:
    count = min(300, 15 * rate)
    done, told = run_virtually(replayed(tmp_path, count, rate))
    assert done == len(sent.at_s) == count
    for began_s in sent.at_s:
        assert sum(began_s <= at_s < began_s + 1.0 for at_s in sent.at_s) <= rate + at_once
    assert sent.at_s[-1] == pytest.approx((count - at_once) / rate, abs=0.01), "and not much fewer"
    assert sum(more for _, more, _ in told) == count
    assert {total for *_, total in told} == {count}


def test_a_service_that_fails_is_told_with_how_far_it_went(sent: Sent, tmp_path: Path) -> None:
    sent.faults[25] = ServiceFault(Service.KAFKA, "the topic documents does not acknowledge")
    with pytest.raises(
        ServiceFault, match="does not acknowledge; 29 of 60 letters were replayed; to replay those again"
    ):
        run_virtually(replayed(tmp_path, 60, 100))
    assert len(sent.at_s) == 29, "those that went with it"


def test_what_a_person_must_mend_is_told_as_it_is(sent: Sent, tmp_path: Path) -> None:
    sent.faults[0] = ConfigurationError("this user may not use the topic", "kafka.topics", "Grant Write on it.")
    with pytest.raises(ConfigurationError, match="may not use the topic"):
        run_virtually(replayed(tmp_path, 5, 100))
