"""Bugs in the worker around the write protocol: settlement, commits, back-pressure, drains, shares, verdicts."""

import contextlib
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any

import orjson

import streamdex.deadletter.producer as producer_module
import streamdex.embed.http.answers as answers_module
import streamdex.index.client.store as store_module
import streamdex.intake.consumer.session as session_module
import streamdex.run.partitions as partitions_module
import streamdex.run.suspects as suspects_module
from mutants import scenarios
from mutants.mutant import Mutant, Plant, Planting, Wrong
from mutants.stage import Stage, played
from streamdex import errors
from streamdex.deadletter.client import enqueue
from streamdex.embed.pacing.share import Share
from streamdex.embed.queue import Backlog
from streamdex.embed.suspects import InputSuspects, Step
from streamdex.errors import AccountFault, RecordFault, ServiceFault, SuspectFault
from streamdex.index import WriteQueue, Writer
from streamdex.intake.back_pressure import BackPressure
from streamdex.intake.consumer.membership import Membership
from streamdex.model import Manifest, Outcome, Partition, Position, Record
from streamdex.run.dead_letters import DeadLetterSender
from streamdex.run.dispatch import Dispatcher
from streamdex.run.document import Document
from streamdex.run.suspects import RecordSuspects, Suspicion
from streamdex.settle import Ledger, Mark, Tracker


def commit_the_position(plant: Planting) -> None:
    """The commit is where the partition is read next, whatever is open below."""
    plant.setattr(Tracker, "committable", lambda tracker: tracker._position)


def settle_before_the_write(plant: Planting) -> None:
    """The event settles when its way begins, not when its write is acknowledged."""
    shipped = Dispatcher._handle

    async def handle(self: Dispatcher, document: Document, manifest: Manifest | None) -> None:
        self._settle_ticket(document.ticket, Outcome.INDEXED)
        await shipped(self, document, manifest)

    plant.setattr(Dispatcher, "_handle", handle)


def accepted_is_completed(plant: Planting) -> None:
    """Any success status of Qdrant counts, also "not applied yet"."""
    plant.setattr(store_module, "refuse_unfinished", lambda *_, **__: None)


def drop_a_write_that_fails(plant: Planting) -> None:
    """A write that meets a fault of the service is not tried again."""

    async def write(self: WriteQueue, batch: list[Any]) -> None:
        try:
            results = await self.writer.write([entry.job for entry in batch])
        except (ServiceFault, AccountFault):
            return
        for entry, result in zip(batch, results, strict=True):
            entry.written.set_result(result)

    plant.setattr(WriteQueue, "_write", write)


def drop_what_is_put_back(plant: Planting) -> None:
    """A request that is refused because a limit is reached does not go back into the queue."""
    plant.setattr(Backlog, "put_back", lambda *_: None)


def blame_the_input(plant: Planting) -> None:
    """A request that fails is its inputs' fault, whatever the others do."""
    plant.setattr(InputSuspects, "step", lambda _, request: Step.DEAD_LETTER if request.alone else Step.BISECT)


def blame_the_document(plant: Planting) -> None:
    """What Qdrant refuses is the document's fault: the canary is not asked."""

    async def passes(_: Writer) -> bool:
        return True

    plant.setattr(Writer, "canary", passes)


def believe_one_refusal(plant: Planting) -> None:
    """One refusal and one canary suffice, although the outage may have ended in between."""

    async def judge(self: RecordSuspects, _: Suspicion, fault: SuspectFault) -> RecordFault | float:
        if await self._writer.canary():
            return RecordFault(errors.Stage.INDEX, fault.reason, fault.message)
        return 0.01

    plant.setattr(RecordSuspects, "_judge_refusal", judge)


def blame_the_record_for_our_bug(plant: Planting) -> None:
    """An exception of ours is the record's fault, though all the others meet it as well."""
    plant.setattr(suspects_module, "_stands_out", lambda *_: True)


def as_they_come(plant: Planting) -> None:
    """The vectors of an answer are taken in the order they come in."""

    def in_order(data: list[Mapping[str, Any]]) -> list[Any]:
        return [item["embedding"] for item in data]

    plant.setattr(answers_module, "_in_order", in_order)


def keep_dead_trackers(plant: Planting) -> None:
    """A partition that leaves stays in the ledger, and is committed with the others."""
    plant.setattr(Ledger, "revoke", lambda *_: None)


def commit_for_dead_trackers(plant: Planting) -> None:
    """What a partition had settled when it left is committed again and again, and nobody asks whose it is."""
    shipped_revoke, shipped_marks = Ledger.revoke, Ledger.marks
    dead: dict[Ledger, dict[Partition, Tracker]] = {}

    def revoke(self: Ledger, partitions: Collection[Partition]) -> None:
        kept = {partition: tracker for partition in partitions if (tracker := self.tracker(partition)) is not None}
        dead.setdefault(self, {}).update(kept)
        shipped_revoke(self, partitions)

    def marks(self: Ledger) -> dict[Partition, Mark]:
        left = {
            partition: Mark(tracker, tracker.committable, None) for partition, tracker in dead.get(self, {}).items()
        }
        return left | shipped_marks(self)

    plant.setattr(Ledger, "revoke", revoke)
    plant.setattr(Ledger, "marks", marks)
    plant.setattr(Ledger, "living", lambda _, marks: {mark.tracker.partition: mark for mark in marks})
    plant.setattr(Membership, "may_commit", lambda *_: True)


def commit_without_a_generation(plant: Planting) -> None:
    """Whether the group still knows us is not asked before a commit."""
    plant.setattr(session_module, "is_member", lambda *_: True)


def forget_the_gate(plant: Planting) -> None:
    """A partition that comes back is read without bound, as with a pause that a rebalance has lifted."""
    shipped_revoked, shipped_paused = BackPressure.revoked, BackPressure.paused
    lifted: set[Partition] = set()

    def revoked(self: BackPressure, partition: Partition) -> None:
        lifted.add(partition)
        shipped_revoked(self, partition)

    plant.setattr(BackPressure, "revoked", revoked)
    plant.setattr(
        BackPressure, "paused", lambda self, partition: partition not in lifted and shipped_paused(self, partition)
    )


def skip_the_drain(plant: Planting) -> None:
    """A revocation does not wait for what is paid for."""

    async def drain(self: Dispatcher, partitions: Sequence[Partition], *_: object) -> int:
        return sum(len(records) for tracker, records in self._open.items() if tracker.partition in partitions)

    plant.setattr(Dispatcher, "drain", drain)


def go_on_after_a_cut_drain(plant: Planting) -> None:
    """What a drain has not finished is sent again and again."""

    async def nothing(*_: object) -> None:
        return

    plant.setattr(Dispatcher, "_cancel_embedding", nothing)


def keep_the_share(plant: Planting) -> None:
    """The share of the key's limits is not lowered when the partitions leave."""
    plant.setattr(Share, "revoked", lambda *_: None)


def settle_unsent_dead_letters(plant: Planting) -> None:
    """A dead letter that its topic refuses counts as sent."""

    async def send(
        self: DeadLetterSender, record: Record, position: Position, fault: RecordFault, failed_at_ms: int
    ) -> None:
        with contextlib.suppress(ServiceFault, AccountFault):
            await self._dead_letters.send(record, fault, position, failed_at_ms)

    plant.setattr(DeadLetterSender, "_send", send)


def rewrite_dead_letters(plant: Planting) -> None:
    """A dead letter carries the record's JSON as we would write it."""

    async def rewrite(producer: Any, topic: str, record: Record, headers: Any) -> Any:
        rewritten = record._replace(value=orjson.dumps(orjson.loads(record.value or b"null")))
        return await enqueue(producer, topic, rewritten, headers)

    plant.setattr(producer_module, "enqueue", rewrite)


def supersede_what_poison_coalesced(plant: Planting) -> None:
    """Events that a dead letter had coalesced are superseded with it."""
    shipped = Dispatcher._settle

    def settle(self: Dispatcher, document: Document, outcome: Outcome) -> None:
        coalesced, document.coalesced = document.coalesced, []
        for one in coalesced:
            self._settle_ticket(one.ticket, Outcome.SUPERSEDED)
        shipped(self, document, outcome)

    plant.setattr(Dispatcher, "_settle", settle)


def start_at_the_commit(plant: Planting) -> None:
    """A partition starts where the group stands, whatever the collection knows."""
    plant.setattr(partitions_module, "start_offset", lambda committed, *_, **__: committed or 0)


def _mutant(
    name: str, plant: Plant, scenario: Callable[[Stage], Coroutine[Any, Any, None]], wrong: Wrong, told: str = ""
) -> Mutant:
    return Mutant(name, plant, scenario.__name__, played(scenario), wrong, told)


MUTANTS = [
    _mutant("commit past an unsettled record", commit_the_position, scenarios.a_slow_record_in_front, Wrong.UNSETTLED),
    _mutant(
        "settle before the write is acknowledged",
        settle_before_the_write,
        scenarios.a_write_that_hangs,
        Wrong.UNSETTLED,
    ),
    _mutant(
        "accepted counts as completed", accepted_is_completed, scenarios.a_write_that_is_only_accepted, Wrong.UNSETTLED
    ),
    _mutant("a retry that drops: writes", drop_a_write_that_fails, scenarios.a_store_that_is_away, Wrong.STUCK),
    _mutant("a retry that drops: texts", drop_what_is_put_back, scenarios.an_embedder_that_is_busy, Wrong.STUCK),
    _mutant("an outage is dead-lettered: Jina", blame_the_input, scenarios.an_embedder_that_is_away, Wrong.INNOCENT),
    _mutant(
        "an outage is dead-lettered: Qdrant",
        blame_the_document,
        scenarios.a_store_that_refuses_everything,
        Wrong.INNOCENT,
    ),
    _mutant(
        "an outage that ends is dead-lettered",
        believe_one_refusal,
        scenarios.a_store_whose_refusals_end,
        Wrong.INNOCENT,
    ),
    _mutant(
        "our own bug is dead-lettered",
        blame_the_record_for_our_bug,
        scenarios.a_bug_that_every_record_meets,
        Wrong.INNOCENT,
    ),
    _mutant(
        "answers not sorted by index",
        as_they_come,
        scenarios.answers_in_another_order,
        Wrong.COLLECTION,
        "the vector of something else",
    ),
    _mutant("a dead tracker that stays", keep_dead_trackers, scenarios.a_partition_that_moves, Wrong.SHARES),
    _mutant("a dead tracker that commits", commit_for_dead_trackers, scenarios.a_partition_that_moves, Wrong.FOREIGN),
    _mutant(
        "a commit without a generation",
        commit_without_a_generation,
        scenarios.a_member_that_is_expelled,
        Wrong.UNPROVEN,
    ),
    _mutant(
        "the pause is not applied again", forget_the_gate, scenarios.a_rebalance_while_nothing_moves, Wrong.UNBOUNDED
    ),
    _mutant(
        "the drain is skipped", skip_the_drain, scenarios.a_partition_that_leaves_while_it_is_paid_for, Wrong.PAID_TWICE
    ),
    _mutant("a drain that was cut goes on", go_on_after_a_cut_drain, scenarios.a_drain_that_is_cut, Wrong.PAID_TWICE),
    _mutant("the share is not lowered on revoke", keep_the_share, scenarios.a_member_that_becomes_idle, Wrong.SHARES),
    _mutant(
        "a refused dead letter settles", settle_unsent_dead_letters, scenarios.letters_that_are_refused, Wrong.UNSETTLED
    ),
    _mutant("a dead letter is written again", rewrite_dead_letters, scenarios.letters_that_are_refused, Wrong.LETTER),
    _mutant(
        "what poison coalesced is superseded",
        supersede_what_poison_coalesced,
        scenarios.a_poisoned_event_that_swallowed_a_good_one,
        Wrong.UNSETTLED,
    ),
    _mutant("a start at the commit alone", start_at_the_commit, scenarios.a_collection_that_is_new, Wrong.UNSETTLED),
]
