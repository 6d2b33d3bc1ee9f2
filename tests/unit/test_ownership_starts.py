"""Where partitions start: what the group has committed, what the collection knows, and when the group is asked anew."""

from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
import virtual_time

from worker.config import Settings
from worker.errors import Service, ServiceFault
from worker.index import Progress
from worker.intake import Share
from worker.model import Order, Partition
from worker.ownership import Ownership
from worker.rooms import Rooms, Standing
from worker.settle import Ledger
from worker.telemetry import Health, Metrics

FIRST, SECOND = Partition("documents", 0), Partition("documents", 1)
END = 100


class Cluster:
    """A group's coordinator, asked for the second time, and the collection's progress."""

    cluster_id = "cluster"
    all_partitions = 2

    def __init__(self, progress: Mapping[Partition, int], answers: list[Mapping[Partition, int] | Exception]) -> None:
        self._progress = progress
        self.answers = answers

    async def log_ranges(self, partitions: list[Partition]) -> Mapping[Partition, tuple[int, int]]:
        return dict.fromkeys(partitions, (0, END))

    async def timestamps(self, offsets: Mapping[Partition, int]) -> Mapping[Partition, int]:
        return dict.fromkeys(offsets, 1_000)

    async def committed(self, _: Collection[Partition]) -> Mapping[Partition, int]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def bases(self, *_: Any) -> dict[Any, int]:
        return {}

    async def progress(self, *_: Any) -> dict[Partition, Progress]:
        return {partition: Progress(offset, 1_000) for partition, offset in self._progress.items()}


def starts(cluster: Cluster, committed: Mapping[Partition, int | None]) -> Mapping[Partition, int]:
    rooms = SimpleNamespace(
        index=cluster, ledger=Ledger(lambda *_: None), gate=None, health=Health(), metrics=Metrics()
    )
    ownership = Ownership(
        Settings(), cast("Rooms", rooms), Standing(Order.OFFSET, epoch=0, generation=0), Share(session_timeout_s=10)
    )
    embedder: Any = SimpleNamespace(set_share=lambda _: None)
    ownership.follow(cast("Any", None), embedder, cast("Any", cluster), cast("Any", None))
    return virtual_time.run_virtually(ownership.assigned(committed))


def test_a_group_that_seems_to_have_committed_nothing_is_asked_again_where_the_collection_knows_better() -> None:
    cluster = Cluster({FIRST: 40, SECOND: 50}, [{FIRST: 40, SECOND: 50}])
    assert starts(cluster, {FIRST: None, SECOND: 50}) == {FIRST: 40, SECOND: 50}
    assert cluster.answers == []


def test_a_group_that_says_so_again_is_believed_and_the_log_read_from_its_beginning() -> None:
    cluster = Cluster({FIRST: 40}, [{}])
    assert starts(cluster, {FIRST: None}) == {FIRST: 0}
    assert cluster.answers == []


def test_a_new_group_on_a_new_collection_is_not_asked_again() -> None:
    unheard = ServiceFault(Service.KAFKA, "not to be asked")
    cluster = Cluster({}, [unheard])
    assert starts(cluster, {FIRST: None, SECOND: None}) == {FIRST: 0, SECOND: 0}
    assert cluster.answers == [unheard]


def test_what_the_second_question_meets_comes_out_so_that_all_is_tried_again() -> None:
    with pytest.raises(ServiceFault, match="away"):
        starts(Cluster({FIRST: 40}, [ServiceFault(Service.KAFKA, "away")]), {FIRST: None})
