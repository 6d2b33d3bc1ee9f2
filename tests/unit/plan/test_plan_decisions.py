"""Ranks, lanes and the difference to the manifest."""

from dataclasses import dataclass, field

import pytest

from streamdex.config import Settings
from streamdex.errors import Reason, RecordFault
from streamdex.model import DocumentWrite, Event, Manifest, Order, Outcome, Position, Rank
from streamdex.plan import Chunker, Lanes, Overtaken, Planner, Ranking, outcome_of

BASES = {("t", 0, 0): 1_000, ("t", 0, 1): 2_000}


def event(text: str | None = "text", offset: int = 5, version: int | None = None, epoch: int = 0) -> Event:
    return Event("1", text, {"a": 1}, version, Position("t", 0, epoch, offset, 0))


def rank_of(event: Event, order: Order, generation: int = 0) -> Rank:
    ranking = Ranking(order, 0, generation)
    ranking.add_bases(BASES)
    return ranking.rank_of(event)


def test_in_offset_order_the_log_ranks() -> None:
    assert rank_of(event(offset=5), Order.OFFSET, 3) == Rank((1_000 + 5) * 64 + 3)
    assert rank_of(event(offset=5, version=9), Order.OFFSET, 3) == Rank((1_000 + 5) * 64 + 3)


def test_in_version_order_the_event_ranks_and_the_log_decides_between_equals() -> None:
    assert rank_of(event(offset=5, version=9), Order.VERSION, 3) == Rank(9, (1_000 + 5) * 64 + 3)


def test_an_event_of_a_recreated_topic_ranks_above_all_before() -> None:
    before = rank_of(event(offset=999), Order.OFFSET, 63)
    assert rank_of(event(offset=0, epoch=1), Order.OFFSET, 0) > before


def test_an_event_without_a_version_is_refused_in_version_order() -> None:
    with pytest.raises(RecordFault) as caught:
        rank_of(event(), Order.VERSION, 0)
    assert caught.value.reason is Reason.NO_VERSION


def test_a_position_from_elsewhere_is_refused() -> None:
    with pytest.raises(RecordFault) as caught:
        rank_of(event(epoch=7), Order.OFFSET, 0)
    assert caught.value.reason is Reason.UNDECODABLE


@pytest.fixture
def planner() -> Planner:
    return Planner(Settings(), Chunker(Settings()), generation=2)


def manifest(rank: Rank, write: DocumentWrite | None = None) -> Manifest:
    ids = tuple(chunk.id for chunk in write.chunks) if write else ()
    return Manifest("1", rank, Position("t", 0, 0, 1, 0), ids, write.content_hash if write else "", 0)


def planned(decision: DocumentWrite | Overtaken) -> DocumentWrite:
    assert isinstance(decision, DocumentWrite)
    return decision


def test_what_the_store_knows_is_not_planned_again(planner: Planner) -> None:
    over_a_cap = event("word " * 3_000_000)  # a verdict on it would come too late: the store has it
    assert planner.decide(over_a_cap, Rank(7), manifest(Rank(7))) == Overtaken(Outcome.UNCHANGED, Rank(7))
    assert planner.decide(over_a_cap, Rank(7), manifest(Rank(8))) == Overtaken(Outcome.SUPERSEDED, Rank(8))


def test_a_new_document_embeds_all_of_it(planner: Planner) -> None:
    write = planned(planner.decide(event(), Rank(7), None))
    assert write.to_embed == write.chunks != ()
    assert write.generation == 2
    assert outcome_of(write, Rank(7)) is Outcome.INDEXED
    assert outcome_of(write, Rank(8)) is Outcome.SUPERSEDED


def test_the_same_content_embeds_nothing_and_is_unchanged(planner: Planner) -> None:
    first = planned(planner.decide(event(), Rank(7), None))
    again = planned(planner.decide(event(offset=6), Rank(8), manifest(Rank(7), first)))
    assert again.to_embed == ()
    assert outcome_of(again, Rank(8)) is Outcome.UNCHANGED


def test_other_metadata_embeds_nothing_but_is_indexed(planner: Planner) -> None:
    first = planned(planner.decide(event(), Rank(7), None))
    other = Event("1", "text", {"a": 2}, None, Position("t", 0, 0, 6, 0))
    again = planned(planner.decide(other, Rank(8), manifest(Rank(7), first)))
    assert again.to_embed == ()
    assert outcome_of(again, Rank(8)) is Outcome.INDEXED


def test_one_changed_paragraph_embeds_one_chunk(planner: Planner) -> None:
    paragraphs = [f"{number} " + "word " * 340 for number in range(40)]
    first = planned(planner.decide(event("\n\n".join(paragraphs)), Rank(7), None))
    paragraphs[20] = "20 changed " + "word " * 339
    again = planned(planner.decide(event("\n\n".join(paragraphs)), Rank(8), manifest(Rank(7), first)))
    assert len(again.chunks) == 40
    assert len(again.to_embed) == 1


def test_a_delete_embeds_nothing(planner: Planner) -> None:
    write = planned(planner.decide(event(None), Rank(8), manifest(Rank(7))))
    assert write.chunks == ()
    assert outcome_of(write, Rank(8)) is Outcome.DELETED


@dataclass(eq=False)
class Waiting:
    """A stand-in for an item: what a lane looks at."""

    document_id: str
    rank: Rank
    coalesced: list["Waiting"] = field(default_factory=list)


def test_one_event_of_a_document_is_in_flight() -> None:
    lanes: Lanes[Waiting] = Lanes()
    first, second, other = Waiting("a", Rank(1)), Waiting("a", Rank(2)), Waiting("b", Rank(1))
    lanes.offer(first)
    assert lanes.take(9) == [first]
    lanes.offer(second)
    lanes.offer(other)
    assert lanes.take(9) == [other]
    lanes.finish(first)
    assert lanes.take(9) == [second]


def test_the_highest_rank_swallows_whatever_came_first() -> None:
    lanes: Lanes[Waiting] = Lanes()
    items = [Waiting("a", Rank(rank)) for rank in (2, 5, 3)]
    for item in items:
        lanes.offer(item)
    assert lanes.take(9) == [items[1]]
    assert items[1].coalesced == [items[0], items[2]]


def test_at_most_as_many_as_asked_for_are_taken_oldest_first() -> None:
    lanes: Lanes[Waiting] = Lanes()
    items = [Waiting(str(number), Rank(1)) for number in range(5)]
    for item in items:
        lanes.offer(item)
    assert lanes.take(2) == items[:2]
    assert lanes.ready == 3


def test_no_more_are_taken_once_they_weigh_the_budget_together() -> None:
    lanes: Lanes[Waiting] = Lanes()
    items = [Waiting(str(number), Rank(1)) for number in range(5)]
    for item in items:
        lanes.offer(item)
    assert lanes.take(9, 10.0, lambda _: 4.0) == items[:3]
    assert lanes.take(9, 3.0, lambda _: 4.0) == items[3:4]  # one at least, however heavy
    assert lanes.ready == 1


def test_what_a_withdrawn_event_swallowed_comes_back() -> None:
    lanes: Lanes[Waiting] = Lanes()
    leaving, staying = Waiting("a", Rank(9)), Waiting("a", Rank(1))
    lanes.offer(staying)
    lanes.offer(leaving)
    lanes.withdraw(lambda item: item is leaving)
    assert lanes.take(9) == [staying]


def test_finishing_twice_or_what_is_not_in_flight_frees_nothing() -> None:
    lanes: Lanes[Waiting] = Lanes()
    first, second = Waiting("a", Rank(1)), Waiting("a", Rank(2))
    lanes.offer(first)
    lanes.take(9)
    lanes.offer(second)
    lanes.finish(second)
    assert lanes.take(9) == []
    lanes.finish(first)
    lanes.finish(first)
    assert lanes.take(9) == [second]
