"""What a reindexing decides by itself: its worker's settings, how far it is, why a document is missing."""

from collections.abc import AsyncIterator

import pytest

from streamdex.config import LimitsPreset, Settings
from streamdex.index import AliasSwitch, Progress
from streamdex.model import Manifest, Order, Partition, Position, Rank
from streamdex.operations.reindex.gaps import Gap, GapFinder
from streamdex.operations.reindex.reindexing import ReindexResult
from streamdex.operations.reindex.successor import batched, settled_in, shared_limits, successor_settings

ALIAS_SWITCH = AliasSwitch("articles", "articles__1", "articles__2", 2, begun=False)
LOG = {Partition("articles", 0): (10, 50)}


BY_OFFSET, BY_VERSION = GapFinder(LOG, 3, Order.OFFSET), GapFinder(LOG, 3, Order.VERSION)


FIRST_RANK = Rank(64)


def manifest(
    offset: int, *, topic: str = "articles", partition: int = 0, epoch: int = 3, rank: Rank = FIRST_RANK
) -> Manifest:
    return Manifest("a", rank, Position(topic, partition, epoch, offset, 0), (), "", 0)


def deleted(offset: int, *, partition: int = 0, rank: Rank = FIRST_RANK) -> Manifest:
    return manifest(offset, partition=partition, rank=rank)._replace(tombstone_until_ms=1)


def test_the_worker_has_a_group_and_a_collection_of_its_own_and_all_else_from_the_settings() -> None:
    settings = Settings(
        kafka={"group_id": "streamdex", "auto_offset_reset": "latest", "group_instance_id": "one", "epoch": 3},
        qdrant={"collection": "articles", "distance": "dot"},
        jina={"limits": "free"},
    )
    made = successor_settings(settings, ALIAS_SWITCH, 0.5)
    assert (made.qdrant.collection, made.qdrant.distance) == ("articles__2", "dot")
    assert (made.kafka.group_id, made.kafka.auto_offset_reset, made.kafka.group_instance_id) == (
        "streamdex__2",
        "earliest",
        None,
    )
    assert made.kafka.epoch == 3
    assert made.kafka.dead_letter_topic_of("articles") == settings.kafka.dead_letter_topic_of("articles")
    assert made.jina.effective_limits == tuple(limit // 2 for limit in settings.jina.effective_limits)


@pytest.mark.parametrize(("share", "limits"), [(1.0, (100, 100_000, 2)), (0.5, (50, 50_000, 1)), (0.001, (1, 100, 1))])
def test_a_share_of_the_limits_is_never_nothing(share: float, limits: tuple[int, int, int]) -> None:
    jina = Settings(jina={"limits": LimitsPreset.FREE}).jina
    assert jina.effective_limits == (100, 100_000, 2)
    assert tuple(shared_limits(jina, share).values()) == limits


@pytest.mark.parametrize(("offset", "settled"), [(0, 0), (10, 0), (11, 1), (50, 40), (51, 40)])
def test_what_is_settled_lies_within_what_is_wanted(offset: int, settled: int) -> None:
    others = {Partition("articles", 1): (0, 7)}
    assert settled_in(LOG | others, {Partition("articles", 0): Progress(offset, None)}) == settled


@pytest.mark.parametrize(
    ("missing", "gap"),
    [
        (manifest(10), Gap.NOT_INDEXED),
        (manifest(49), Gap.NOT_INDEXED),
        (manifest(9), Gap.NOT_IN_THE_LOG),
        (manifest(50), Gap.NOT_IN_THE_LOG),
        (manifest(20, epoch=2), Gap.NOT_IN_THE_LOG),
        (manifest(20, partition=1), Gap.NOT_IN_THE_LOG),
        (manifest(20, topic="others"), Gap.OTHER_TOPIC),
    ],
)
def test_where_its_event_is_decides_why_a_document_is_missing(missing: Manifest, gap: Gap) -> None:
    assert BY_OFFSET.gap(missing, None) is gap
    assert BY_OFFSET.gap(missing, missing) is None


@pytest.mark.parametrize(
    ("finder", "old", "found", "gap"),
    [
        (BY_OFFSET, manifest(30), manifest(29), Gap.NOT_INDEXED),  # the event at 30 is a dead letter now
        (BY_OFFSET, manifest(30), manifest(31), None),
        (BY_OFFSET, manifest(30), manifest(29, partition=1), None),  # of two logs nobody knows
        (BY_OFFSET, manifest(30), manifest(29, epoch=4), None),
        (BY_OFFSET, manifest(30, rank=Rank(7, 64)), manifest(29), None),  # the old one is in version order
        (BY_VERSION, manifest(30, rank=Rank(7, 64)), manifest(29, rank=Rank(6, 64)), Gap.NOT_INDEXED),
        (BY_VERSION, manifest(29, rank=Rank(7, 64)), manifest(30, rank=Rank(6, 64)), Gap.NOT_INDEXED),
        (BY_VERSION, manifest(30, rank=Rank(7, 64)), manifest(29, rank=Rank(7, 64)), None),
        (BY_VERSION, manifest(30), manifest(29, rank=Rank(6, 64)), None),  # the old one is in offset order
        (BY_OFFSET, manifest(30), deleted(29), Gap.NOT_INDEXED),  # made again after its delete, and a dead letter now
        (BY_OFFSET, manifest(30), deleted(31), None),
        (BY_OFFSET, manifest(30), deleted(31, partition=1), Gap.NOT_INDEXED),  # nobody knows, and it would be gone
        (BY_OFFSET, deleted(30), None, None),
        (BY_OFFSET, deleted(9), manifest(8), Gap.NOT_IN_THE_LOG),  # it would come back
        (BY_OFFSET, deleted(30), manifest(31), None),
        (BY_OFFSET, deleted(30), deleted(29), None),
        (BY_VERSION, deleted(9, rank=Rank(5, 64)), manifest(30, rank=Rank(4, 64)), Gap.NOT_IN_THE_LOG),
        (BY_VERSION, deleted(30), manifest(29, rank=Rank(6, 64)), Gap.NOT_INDEXED),  # in another order: nobody knows
    ],
)
def test_an_older_state_of_a_document_is_a_gap_too(
    finder: GapFinder, old: Manifest, found: Manifest, gap: Gap | None
) -> None:
    assert finder.gap(old, found) is gap


@pytest.mark.parametrize(
    ("written", "ahead"),
    [
        (manifest(29), False),
        (manifest(30), True),
        (manifest(30, epoch=2), False),
        (manifest(30, partition=1), False),
    ],
)
def test_what_the_old_workers_wrote_since_is_not_missing(written: Manifest, ahead: bool) -> None:
    assert BY_OFFSET.is_ahead(written, {Partition("articles", 0): Progress(30, None)}) is ahead


def test_of_a_partition_without_progress_all_that_the_log_holds_is_still_to_come() -> None:
    assert BY_OFFSET.is_ahead(manifest(10), {})
    assert not BY_OFFSET.is_ahead(manifest(9), {})


def test_all_are_counted_and_a_few_are_named() -> None:
    done = ReindexResult(ALIAS_SWITCH, "streamdex__2")
    for number in range(7):
        done.add(manifest(30)._replace(document_id=f"{number}"), Gap.NOT_INDEXED)
    done.add(deleted(9)._replace(document_id="7"), Gap.NOT_IN_THE_LOG)
    done.add(manifest(30), None)
    assert done.compared == 8, "those that are not deleted"
    assert done.missing == {Gap.NOT_INDEXED: 7, Gap.NOT_IN_THE_LOG: 1}
    assert done.examples == {Gap.NOT_INDEXED: [f"{number}" for number in range(5)], Gap.NOT_IN_THE_LOG: ["7"]}


async def test_batches_hold_all_in_order() -> None:
    async def items() -> AsyncIterator[int]:
        for item in range(5):
            yield item

    assert [batch async for batch in batched(items(), 2)] == [[0, 1], [2, 3], [4]]
