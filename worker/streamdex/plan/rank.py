"""The rank of an event: a pure function of the event and the deployment, never of what the store happens to hold.

So two workers that handle the same event write the same rank, and whichever write has the higher one wins.
"""

from collections.abc import Mapping

from streamdex.errors import Reason, RecordFault, Stage
from streamdex.model import Event, Order, Position, Rank

GENERATIONS = 64
SEQUENCE_BOUND = 2**53 // GENERATIONS  # Qdrant compares numbers as doubles: exact below 2^53

# (topic, partition, epoch) to the number that its offsets are added to
Bases = Mapping[tuple[str, int, int], int]


def base_key(position: Position) -> tuple[str, int, int]:
    """What a base belongs to, within one cluster."""
    return position.topic, position.partition, position.epoch


def rank_of(event: Event, order: Order, bases: Bases, generation: int) -> Rank:
    """The rank of an event.

    Raises RecordFault when `version` order meets an event without a version, or when the base of its position is not
    known (a replayed dead letter of a topic that this deployment does not read).
    """
    position = event.position
    base = bases.get(base_key(position))
    if base is None:
        raise RecordFault(
            Stage.PLAN,
            Reason.UNDECODABLE,
            "the position headers name a topic or an epoch that this collection has not seen",
        )
    sequence = (base + position.offset) * GENERATIONS + generation
    if order is Order.OFFSET:
        return Rank(sequence)
    if event.version is None:
        raise RecordFault(
            Stage.PLAN, Reason.NO_VERSION, "worker.order is version, and the event has none (field or header)"
        )
    return Rank(event.version, sequence)
