"""One collection takes another's place: which one comes next, and the switch of the alias."""

import pytest
from qdrant_client import AsyncQdrantClient, models

from harness.index import DIMENSION, opened, put, settings_for
from streamdex.config import with_section
from streamdex.errors import AccountFault, ConfigurationError
from streamdex.index import Alias, AliasSwitch, CollectionMissing, Progress
from streamdex.index.alias_switch import alias_switch_of
from streamdex.model import Order, Partition, Rank
from streamdex.standins.qdrant import EmbeddedQdrant, FaultKind, QdrantFault
from streamdex.telemetry import Metrics

FIRST, SECOND, THIRD = "articles__1", "articles__2", "articles__3"


@pytest.mark.parametrize(
    ("predecessor", "collections", "successor", "begun"),
    [
        (FIRST, [FIRST], SECOND, False),
        (FIRST, [FIRST, f"{FIRST}__manifests", f"{SECOND}__manifests"], SECOND, False),
        (FIRST, [FIRST, SECOND, f"{SECOND}__manifests"], SECOND, True),
        (FIRST, [FIRST, SECOND], THIRD, False),  # somebody else's: a worker would have made the manifests first
        (FIRST, [FIRST, SECOND, f"{SECOND}__manifests", THIRD, f"{THIRD}__manifests"], THIRD, True),
        (SECOND, [FIRST, SECOND, f"{SECOND}__manifests"], THIRD, False),
        ("articles__9", ["articles__9", "articles__10", "articles__10__manifests"], "articles__10", True),
        (FIRST, [FIRST, "articles-new__7", "articles__x", "articles__02", "xarticles__8"], SECOND, False),
        (
            "made by hand",
            ["made by hand", FIRST, f"{FIRST}__manifests"],
            SECOND,
            False,
        ),  # whether the first is newer, nobody knows
        ("made by hand", ["made by hand"], FIRST, False),
    ],
)
def test_the_successor_is_the_newest_that_was_begun_or_the_next(
    predecessor: str, collections: list[str], successor: str, begun: bool
) -> None:
    found = alias_switch_of("articles", predecessor, collections, from_scratch=False)
    assert found == AliasSwitch("articles", predecessor, successor, int(successor.rpartition("__")[2]), begun)


def test_anew_is_always_the_next() -> None:
    found = alias_switch_of("articles", FIRST, [FIRST, SECOND, f"{SECOND}__manifests"], from_scratch=True)
    assert (found.successor, found.begun) == (THIRD, False)


def test_a_name_is_no_pattern() -> None:
    assert alias_switch_of("a.b", "a.b__1", ["a.b__1", "axb__7"], from_scratch=False).successor == "a.b__2"


async def lead(client: AsyncQdrantClient, collection: str) -> None:
    create = models.CreateAlias(collection_name=collection, alias_name="documents")
    await client.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])


async def led_to(client: AsyncQdrantClient) -> dict[str, str]:
    return {alias.alias_name: alias.collection_name for alias in (await client.get_aliases()).aliases}


async def test_a_successor_is_filled_by_its_own_name_and_then_takes_the_place(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    settings = settings_for(qdrant_server)
    async with opened(qdrant_server, settings) as old, Alias(settings, Metrics()) as alias:
        await put(old, "a", 64, ["old"])
        alias_switch = await alias.alias_switch(from_scratch=False)
        assert alias_switch == AliasSwitch("documents", "documents__1", "documents__2", 2, False)
        await alias.begin(alias_switch, DIMENSION + 1)
        await alias.begin(alias_switch, DIMENSION + 1)  # of two at once the second finds it made
        assert await led_to(qdrant_client) == {"documents": "documents__1"}
        assert (await alias.alias_switch(from_scratch=False)).begun

        beside = with_section(settings, "qdrant", collection="documents__2")
        async with opened(qdrant_server, beside, dimension=DIMENSION + 1, fingerprint={"model": "another"}):
            assert await led_to(qdrant_client) == {"documents": "documents__1"}, "it needs no alias of its own"
        await alias.switch(alias_switch)
        await alias.switch(alias_switch)
    assert await led_to(qdrant_client) == {"documents": "documents__2"}
    info = await qdrant_client.get_collection("documents")
    assert info.config.params.vectors.size == DIMENSION + 1  # type: ignore[union-attr]  # one plain vector


async def test_documents_are_those_of_a_collection_in_any_order_without_what_it_remembers(
    qdrant_server: EmbeddedQdrant,
) -> None:
    for order in Order:
        settings = settings_for(qdrant_server, order=order, collection=f"in-{order.value}-order")
        async with opened(qdrant_server, settings) as index:
            rank = Rank(7, 64) if order is Order.VERSION else Rank(64)
            await put(index, "kept", rank, ["text"])
            await put(index, "deleted", rank, None)
            await index.bookkeeping.generation("cutting")
        async with Alias(settings, Metrics()) as alias:
            found = [one async for one in alias.documents(await alias.alias_switch(from_scratch=False))]
        assert {bool(one.rank.sequence) for one in found} == {order is Order.VERSION}
        assert {one.document_id: one.tombstone_until_ms is None for one in found} == {
            "kept": True,
            "deleted": False,
        }


async def test_where_nothing_is_in_use_there_is_nothing_to_take_the_place_of(qdrant_server: EmbeddedQdrant) -> None:
    async with Alias(settings_for(qdrant_server), Metrics()) as alias:
        with pytest.raises(CollectionMissing, match="Start the worker"):
            await alias.alias_switch(from_scratch=False)


async def test_a_plain_collection_cannot_be_switched(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    await qdrant_client.create_collection("documents", vectors_config={})
    async with Alias(settings_for(qdrant_server), Metrics()) as alias:
        with pytest.raises(ConfigurationError, match=r"not an alias .*qdrant\.collection and kafka\.group_id"):
            await alias.alias_switch(from_scratch=False)


async def test_a_collection_without_manifests_is_not_ours(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    await qdrant_client.create_collection("documents-by-hand", vectors_config={})
    await lead(qdrant_client, "documents-by-hand")
    async with Alias(settings_for(qdrant_server), Metrics()) as alias:
        with pytest.raises(ConfigurationError, match="documents-by-hand, which no worker has filled"):
            await alias.alias_switch(from_scratch=False)


async def test_the_name_of_anothers_alias_is_taken(qdrant_server: EmbeddedQdrant) -> None:
    settings = settings_for(qdrant_server)
    theirs = with_section(settings, "qdrant", collection="documents__2")
    async with opened(qdrant_server, settings), opened(qdrant_server, theirs), Alias(settings, Metrics()) as alias:
        assert await alias.alias_switch(from_scratch=False) == AliasSwitch(
            "documents", "documents__1", "documents__3", 3, False
        )


async def test_manifests_left_over_would_say_of_an_empty_collection_that_all_is_done(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    settings = settings_for(qdrant_server)
    async with opened(qdrant_server, settings), Alias(settings, Metrics()) as alias:
        alias_switch = await alias.alias_switch(from_scratch=False)
        await alias.begin(alias_switch, DIMENSION)
        async with opened(qdrant_server, with_section(settings, "qdrant", collection=alias_switch.successor)):
            await qdrant_client.delete_collection(alias_switch.successor)
        with pytest.raises(ConfigurationError, match=r"Delete documents__2__manifests in Qdrant as well\."):
            await alias.begin(alias_switch, DIMENSION)
        await qdrant_client.delete_collection("documents__2__manifests")
        await alias.begin(alias_switch, DIMENSION)


async def test_an_alias_that_leads_elsewhere_by_now_is_not_switched_back(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    settings = settings_for(qdrant_server)
    async with opened(qdrant_server, settings), Alias(settings, Metrics()) as alias:
        slow, fast = await alias.alias_switch(from_scratch=False), await alias.alias_switch(from_scratch=True)
        fast = fast._replace(successor="documents__3", number=3)
        for each in (slow, fast):
            await alias.begin(each, DIMENSION)
        await alias.switch(fast)
        with pytest.raises(ConfigurationError, match="documents was switched to documents__3 meanwhile"):
            await alias.switch(slow)
    assert await led_to(qdrant_client) == {"documents": "documents__3"}


async def test_what_the_predecessor_knows_of_the_log_is_read_whatever_made_it(qdrant_server: EmbeddedQdrant) -> None:
    settings = settings_for(qdrant_server)
    at = Partition("articles", 3)
    async with opened(qdrant_server, settings) as index, Alias(settings, Metrics()) as alias:
        await index.bookkeeping.write_progress("cluster", 1, {at: Progress(7, 1_000)})
        alias_switch = await alias.alias_switch(from_scratch=False)
        assert await alias.progress(alias_switch, "cluster", 1, [at]) == {at: Progress(7, 1_000)}
        assert await alias.progress(alias_switch, "another", 1, [at]) == {}


async def test_a_switch_that_is_refused_is_no_bug_of_ours(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    settings = settings_for(qdrant_server)
    async with opened(qdrant_server, settings), Alias(settings, Metrics()) as alias:
        alias_switch = await alias.alias_switch(from_scratch=False)
        await alias.begin(alias_switch, DIMENSION)
        refused = qdrant_server.faults.inject(
            QdrantFault(FaultKind.PERMISSION_DENIED, frozenset({"Collections.UpdateAliases"}))
        )
        with pytest.raises(AccountFault):
            await alias.switch(alias_switch)
        assert refused.fired
    assert await led_to(qdrant_client) == {"documents": "documents__1"}
