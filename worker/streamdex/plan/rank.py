"""The rank of an event: a pure function of the event and the deployment, never of what the store happens to hold.

So two workers that handle the same event write the same rank, and whichever write has the higher one wins.
"""

from collections.abc import Mapping

from streamdex.errors import Reason, RecordFault, Stage
from streamdex.model import GENERATIONS, Event, Order, Rank

# (topic, partition, epoch) to the number that its offsets are added to
Bases = Mapping[tuple[str, int, int], int]


class Ranking:
    """Turns positions into ranks, by what one deployment orders events by. Bases grow as partitions are assigned."""

    def __init__(self, order: Order, epoch: int, generation: int) -> None:
        self.order = order
        self.epoch = epoch
        self.generation = generation
        self._bases: dict[tuple[str, int, int], int] = {}

    def add_bases(self, bases: Bases) -> None:
        """Learn the bases of more logs."""
        self._bases.update(bases)

    def rank_of(self, event: Event) -> Rank:
        """The rank of an event.

        Raises RecordFault when `version` order meets an event without a version, or when the base of its position is
        not known (a replayed dead letter of a topic that this deployment does not read).
        """
        position = event.position
        base = self._bases.get((position.topic, position.partition, position.epoch))
        if base is None:
            raise RecordFault(
                Stage.PLAN,
                Reason.UNDECODABLE,
                "the position headers name a topic or an epoch that this collection has not seen",
            )
        sequence = (base + position.offset) * GENERATIONS + self.generation
        if self.order is Order.OFFSET:
            return Rank(sequence)
        if event.version is None:
            raise RecordFault(
                Stage.PLAN, Reason.NO_VERSION, "worker.order is version, and the event has none (field or header)"
            )
        return Rank(event.version, sequence)
