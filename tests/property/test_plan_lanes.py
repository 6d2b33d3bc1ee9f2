"""Whatever is offered, taken, finished and withdrawn: no event is lost or in two places, and the highest goes first."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from streamdex.model import Rank
from streamdex.plan import Lanes


@dataclass(eq=False)
class Waiting:
    """A stand-in for an item, of a partition that may leave."""

    document_id: str
    rank: Rank
    partition: int
    coalesced: list["Waiting"] = field(default_factory=list)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.sampled_from("abc"), st.integers(0, 9), st.integers(0, 1)),
        st.tuples(st.just("take"), st.integers(0, 3)),
        st.tuples(st.just("finish"), st.integers(0, 9)),
        st.tuples(st.just("withdraw"), st.integers(0, 1)),
    ),
    max_size=60,
)


@given(steps)
def test_no_event_is_lost_or_doubled(schedule: list[tuple[object, ...]]) -> None:
    lanes: Lanes[Waiting] = Lanes()
    waiting: set[Waiting] = set()
    in_flight: list[Waiting] = []
    for step in schedule:
        match step:
            case ("offer", str(key), int(rank), int(partition)):
                item = Waiting(key, Rank(rank), partition)
                waiting.add(item)
                lanes.offer(item)
            case ("take", int(limit)):
                for item in lanes.take(limit):
                    assert item.document_id not in {other.document_id for other in in_flight}
                    group = {item, *item.coalesced}
                    assert all(other.rank <= item.rank for other in group)
                    assert {other for other in waiting if other.document_id == item.document_id} == group
                    waiting -= group
                    in_flight.append(item)
            case ("finish", int(which)) if in_flight:
                lanes.finish(in_flight.pop(which % len(in_flight)))
            case ("withdraw", int(partition)):
                waiting = {item for item in waiting if item.partition != partition}
                lanes.withdraw(lambda item, leaving=partition: item.partition == leaving)  # type: ignore[misc]  # a default binds the loop's value
    for item in in_flight:
        lanes.finish(item)
    left = lanes.take(1_000)
    assert {one for item in left for one in (item, *item.coalesced)} == waiting
