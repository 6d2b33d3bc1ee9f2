"""A commit goes out in the generation in which it was asked for, or not at all."""

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, GroupAuthorizationFailedError, KafkaError, NotCoordinatorForGroupError
from aiokafka.structs import OffsetAndMetadata

from worker.intake.client import FencedConsumer

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
    monkeypatch.setattr("worker.intake.client.COMMIT_AGAIN_S", 0.0)


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
