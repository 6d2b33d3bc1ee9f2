"""Any interleaving of open, settle, advance, revoke, assign, gaps and stale tickets keeps the ledger's promise.

The model is a plain list of every record and its state, without queue or cleverness.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from streamdex.model import Outcome, Partition
from streamdex.settle import Ledger, Mark, Ticket

PARTITIONS = [Partition("documents", number) for number in range(3)]
OUTCOMES = st.sampled_from(list(Outcome))


class _Assignment:
    """The model of one partition during one assignment: every offset ever opened, and which are still open."""

    def __init__(self, start: int) -> None:
        self.position = start
        self.open: set[int] = set()
        self.timestamps: dict[int, int] = {}
        self.committed = -1

    @property
    def committable(self) -> int:
        return min(self.open, default=self.position)

    @property
    def timestamp_below(self) -> int | None:
        below = [offset for offset in self.timestamps if offset < self.committable]
        return self.timestamps[max(below)] if below else None


class SettlementMachine(RuleBasedStateMachine):
    tickets: Bundle[tuple[Ticket, _Assignment]] = Bundle("tickets")
    settled: Bundle[tuple[Ticket, _Assignment]] = Bundle("settled")
    marks: Bundle[tuple[list[Mark], dict[Partition, _Assignment]]] = Bundle("marks")

    def __init__(self) -> None:
        super().__init__()
        self.twice = 0
        self.twice_told = 0
        self.ledger = Ledger(self._told)
        self.model: dict[Partition, _Assignment] = {}
        self.log_start = dict.fromkeys(PARTITIONS, 0)

    def _told(self, _ticket: Ticket, _outcome: Outcome) -> None:
        self.twice_told += 1

    @initialize()
    def begin(self) -> None:
        self.assign(PARTITIONS[0], 0)

    @rule(partition=st.sampled_from(PARTITIONS), gap=st.integers(0, 3))
    def assign(self, partition: Partition, gap: int) -> None:
        """Also over a living assignment, as after a restart of the consumer that nobody announced."""
        start = self.log_start[partition] + gap
        self.ledger.assign(partition, start)
        self.model[partition] = _Assignment(start)

    @rule(partition=st.sampled_from(PARTITIONS))
    def revoke(self, partition: Partition) -> None:
        self.ledger.revoke([partition])
        gone = self.model.pop(partition, None)
        if gone:
            self.log_start[partition] = max(gone.committed, self.log_start[partition])

    @rule(target=tickets, partition=st.sampled_from(PARTITIONS), gap=st.integers(0, 5), timestamp_ms=st.integers(0, 99))
    def accept(self, partition: Partition, gap: int, timestamp_ms: int) -> tuple[Ticket, _Assignment]:
        tracker, model = self.ledger.tracker(partition), self.model.get(partition)
        if tracker is None or model is None:
            assert tracker is None
            assert model is None
            return multiple()  # type: ignore[return-value]  # hypothesis: this rule adds nothing to the bundle
        offset = model.position + gap
        ticket = tracker.open(offset, 1, timestamp_ms)
        model.open.add(offset)
        model.timestamps[offset] = timestamp_ms
        model.position = offset + 1
        return ticket, model

    @rule(partition=st.sampled_from(PARTITIONS), by=st.integers(-3, 5))
    def advance(self, partition: Partition, by: int) -> None:
        tracker, model = self.ledger.tracker(partition), self.model.get(partition)
        if tracker and model:
            tracker.advance(model.position + by)
            model.position = max(model.position, model.position + by)

    @rule(target=settled, pair=consumes(tickets), outcome=OUTCOMES)
    def settle(self, pair: tuple[Ticket, _Assignment], outcome: Outcome) -> tuple[Ticket, _Assignment]:
        ticket, model = pair
        alive = self.model.get(ticket.partition) is model
        assert ticket.alive == alive
        assert ticket.settle(outcome) == alive
        assert ticket.outcome is outcome
        model.open.discard(ticket.offset)
        return pair

    @rule(pair=settled, outcome=OUTCOMES)
    def settle_again(self, pair: tuple[Ticket, _Assignment], outcome: Outcome) -> None:
        ticket, _ = pair
        first = ticket.outcome
        assert not ticket.settle(outcome)
        assert ticket.outcome is first
        self.twice += 1

    @rule(target=marks)
    def begin_commit(self) -> tuple[list[Mark], dict[Partition, _Assignment]]:
        return list(self.ledger.marks().values()), dict(self.model)

    @rule(begun=consumes(marks))
    def end_commit(self, begun: tuple[list[Mark], dict[Partition, _Assignment]]) -> None:
        """Whatever happened since it began: only the living are committed, and never above an unsettled offset."""
        taken, models = begun
        living = self.ledger.living(taken)
        for partition, mark in living.items():
            model = self.model[partition]
            assert models[partition] is model, "a dead tracker commits"
            assert mark.offset <= model.committable
            model.committed = max(model.committed, mark.offset)
        self.ledger.noted(taken)

    @invariant()
    def marks_are_the_models(self) -> None:
        marks = self.ledger.marks()
        assert set(marks) == set(self.model)
        for partition, mark in marks.items():
            model = self.model[partition]
            assert mark.offset == model.committable
            assert mark.timestamp_ms == model.timestamp_below
            assert mark.offset >= model.committed, "commits go back within an assignment"
            assert all(offset >= mark.offset for offset in model.open)

    @invariant()
    def what_moved_is_what_is_not_noted(self) -> None:
        moved = {p: mark.offset for p, mark in self.ledger.moved().items()}
        assert moved == {p: m.committable for p, m in self.model.items() if m.committable > m.committed}

    @invariant()
    def counts_are_the_models(self) -> None:
        assert self.twice == self.twice_told
        statistics = self.ledger.statistics(now_ms=100)
        assert statistics.open_records == sum(len(m.open) for m in self.model.values())
        assert statistics.open_bytes == statistics.open_records
        for partition, model in self.model.items():
            tracker = self.ledger.tracker(partition)
            assert tracker is not None
            assert tracker.span == sum(offset >= model.committable for offset in model.timestamps)


SettlementMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
TestSettlement = SettlementMachine.TestCase
