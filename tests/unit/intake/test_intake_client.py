"""A commit goes out in its generation or not at all; who cannot tell yet what is committed is asked again."""

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    NotCoordinatorForGroupError,
    RequestTimedOutError,
)
from aiokafka.protocol.commit import OffsetFetchRequest, OffsetFetchResponse_v3
from aiokafka.structs import OffsetAndMetadata

from harness.bounds import Bound, set_bound
from streamdex.intake.consumer.client import FencedConsumer

AT = TopicPartition("documents", 0)


class Coordinator:
    """`answers` meet the requests one after the other; `becomes` is the generation after each of them."""

    def __init__(self, generation: int, answers: list[KafkaError | None], becomes: int | None = None) -> None:
        self.generation = generation
        self.answers = answers
        self.becomes = generation if becomes is None else becomes
        self.sent: list[dict[TopicPartition, OffsetAndMetadata]] = []

    async def ensure_coordinator_known(self) -> None: ...

    async def _do_commit_offsets(self, _: object, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        self.sent.append(offsets)
        self.generation = self.becomes
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer


async def commit(coordinator: Coordinator) -> None:
    kafka = object.__new__(FencedConsumer)
    kafka._closed, kafka._coordinator = True, coordinator
    await kafka.commit({AT: 7})


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    set_bound(monkeypatch, Bound.ASK_AGAIN_S, 0.0)


async def test_a_coordinator_that_moved_is_asked_again() -> None:
    coordinator = Coordinator(3, [NotCoordinatorForGroupError(), NotCoordinatorForGroupError(), None])
    await commit(coordinator)
    assert coordinator.sent == [{AT: OffsetAndMetadata(7, "")}] * 3


@pytest.mark.parametrize("becomes", [4, -1])
async def test_no_further_attempt_is_made_in_another_generation_or_none(becomes: int) -> None:
    """The next one belongs to other partitions; without one, an empty group would take the commit from anybody."""
    coordinator = Coordinator(3, [NotCoordinatorForGroupError()], becomes)
    with pytest.raises(CommitFailedError):
        await commit(coordinator)
    assert len(coordinator.sent) == 1


async def test_nothing_is_sent_without_a_generation() -> None:
    coordinator = Coordinator(-1, [])
    with pytest.raises(CommitFailedError):
        await commit(coordinator)
    assert coordinator.sent == []


async def test_what_time_does_not_mend_comes_out_at_once() -> None:
    coordinator = Coordinator(3, [GroupAuthorizationFailedError()])
    with pytest.raises(GroupAuthorizationFailedError):
        await commit(coordinator)


LOADING, NOT_COORDINATOR, FORBIDDEN = 14, 16, 30


def told(offset: int, code: int = 0) -> OffsetFetchResponse_v3:
    return OffsetFetchResponse_v3(0, [("documents", [(0, offset, "", code)])], 0)


def refused(code: int) -> OffsetFetchResponse_v3:
    """As Kafka 4.1 refuses: as a whole, and without a word of the partitions."""
    return OffsetFetchResponse_v3(0, [], code)


class Told:
    """A coordinator that answers questions for offsets; `dead` counts how often it was given up."""

    group_id = "group"

    def __init__(self, *answers: OffsetFetchResponse_v3 | KafkaError) -> None:
        self.answers = list(answers)
        self.dead = 0

    async def ensure_coordinator_known(self) -> None: ...

    def coordinator_dead(self) -> None:
        self.dead += 1

    async def _send_req(self, request: OffsetFetchRequest) -> OffsetFetchResponse_v3:
        assert request._partitions == [("documents", [0])]
        answer = self.answers.pop(0)
        if isinstance(answer, KafkaError):
            raise answer
        return answer


async def committed(coordinator: Told) -> int | None:
    kafka = object.__new__(FencedConsumer)
    kafka._closed, kafka._coordinator = True, coordinator
    offset: int | None = await kafka.committed(AT)
    assert coordinator.answers == []
    return offset


async def test_an_offset_is_told_and_so_is_that_there_is_none() -> None:
    assert await committed(Told(told(7))) == 7
    assert await committed(Told(told(-1))) is None


@pytest.mark.parametrize("loading", [refused(LOADING), told(-1, LOADING), RequestTimedOutError()])
async def test_a_coordinator_that_cannot_tell_yet_is_asked_again(loading: OffsetFetchResponse_v3 | KafkaError) -> None:
    """To believe that nothing is committed would cost a reading of the whole log."""
    assert await committed(Told(loading, loading, told(7))) == 7


async def test_another_coordinator_is_looked_for_where_this_one_is_it_no_more() -> None:
    coordinator = Told(refused(NOT_COORDINATOR), told(7))
    assert await committed(coordinator) == 7
    assert coordinator.dead == 1


async def test_who_may_not_know_is_told_so() -> None:
    with pytest.raises(GroupAuthorizationFailedError):
        await committed(Told(refused(FORBIDDEN)))
