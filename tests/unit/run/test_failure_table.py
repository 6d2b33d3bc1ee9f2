"""Whose fault? Each row of the failure table, shown on a whole worker with its neighbours played.

| fault | what happens | in depth |
|---|---|---|
| record | dead letter, at once | unit/intake, unit/plan, test_index_payload |
| batch | halved until the record is named | test_embed_bisect, test_embed_faults, test_index_batches |
| suspected record | judged by contrast | test_embed_suspects, test_index_adversity, mutants |
| service | back off and pause, no dead letter, readiness says why | test_index_faults, test_embed_faults |
| account, configuration | pause, not ready, reason and mend | test_embed_embedder, test_kafka_client |
| dead-letter topic | the record stays unsettled, its partition pauses | test_deadletter_kafka |
| our own bug | counted, tried again, then a suspect; never fatal or silent | test_failure_table_bugs, mutants |

Every case ends with the log settled and judged: nothing lost, only the poisoned in the dead letters.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import errors as kafka_errors

from harness.bounds import Bound, set_bound
from harness.failures import MARK, POISON, produce, verdicts
from mutants.judge import held
from mutants.kafka_group import P, Q
from mutants.stage import BOUND, Replica, Stage, played
from streamdex.deadletter.headers import ATTEMPTS
from streamdex.errors import Reason
from streamdex.standins.jina import JinaFaultKind
from streamdex.standins.qdrant import FaultKind, QdrantFault

WRITES = frozenset({"Points.UpdateBatch"})


# --- record ---------------------------------------------------------------------------------------------------------

CAPS = {"record_bytes": 4096, "payload_bytes": 2048, "document_tokens": 300, "document_chunks": 4}
OWN_FAULTS = [
    (b"no JSON", "decode", Reason.NOT_JSON),
    (b'{"id": 1.5, "text": "x"}', "decode", Reason.NO_ID),
    (json.dumps({"id": "a", "text": "x" * 5000}).encode(), "decode", Reason.TOO_MANY_BYTES),
    (b'{"id":"a","text":"x","metadata":' + b'{"a":' * 33 + b"1" + b"}" * 34, "decode", Reason.TOO_DEEP),
    (json.dumps({"id": "a", "text": "word " * 400}).encode(), "plan", Reason.TOO_MANY_TOKENS),
    (json.dumps({"id": "a", "text": "one line of words\n\n" * 12}).encode(), "plan", Reason.TOO_MANY_CHUNKS),
    (json.dumps({"id": "a", "text": "x", "metadata": {"b": "c" * 2000}}).encode(), "plan", Reason.PAYLOAD_TOO_LARGE),
]


@pytest.mark.parametrize(("value", "at", "reason"), OWN_FAULTS, ids=lambda value: getattr(value, "value", None))
def test_a_records_own_fault(value: bytes, at: str, reason: Reason) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.start("a", P, Q, others={"caps": CAPS, "chunk": {"max_tokens": 8}})
        stage.produce_poison(P, value)
        produce(stage, "x")
        await stage.until_settled()
        assert verdicts(stage) == {(at, reason.value)}
        assert dict(stage.group.dead_letters[0].headers)[ATTEMPTS] == b"1"
        assert stage.jina.stats.inputs_embedded == 1  # nothing was paid for the other

    played(scenario)()


def test_a_record_without_a_version_in_version_order() -> None:
    async def scenario(stage: Stage) -> None:
        await stage.start("a", P, Q, order="version")
        stage.produce_poison(P, b'{"id": "a", "text": "x"}')
        await stage.until_settled()
        assert verdicts(stage) == {("plan", "no_version")}

    played(scenario)()


# --- batch and suspected record -------------------------------------------------------------------------------------

Inject = Callable[[Stage, Replica], Callable[[], int]]


def jina(kind: JinaFaultKind, argument: str = "") -> Inject:
    """Every request that has the marked text in it."""

    def inject(stage: Stage, _: Replica) -> Callable[[], int]:
        fault = stage.jina.inject(kind, argument, match=MARK)
        return lambda: fault.fired

    return inject


def qdrant_refuses(_: Stage, worker: Replica) -> Callable[[], int]:
    """Every write that has the marked text in it."""
    fault = worker.service.faults.inject(QdrantFault(FaultKind.BAD_POINT, WRITES, marker=MARK))
    return lambda: fault.fired


SUSPECTS = {
    "Jina 400": (jina(JinaFaultKind.STATUS, "400"), "embed", Reason.REFUSED_BY_EMBEDDER),
    "Jina 422": (jina(JinaFaultKind.STATUS, "422"), "embed", Reason.REFUSED_BY_EMBEDDER),
    "Jina 500": (jina(JinaFaultKind.STATUS, "500"), "embed", Reason.REFUSED_BY_EMBEDDER),
    "Jina 503": (jina(JinaFaultKind.STATUS, "503"), "embed", Reason.REFUSED_BY_EMBEDDER),
    "Jina says nothing": (jina(JinaFaultKind.HANG), "embed", Reason.REFUSED_BY_EMBEDDER),
    "Jina hangs up": (jina(JinaFaultKind.RESET), "embed", Reason.REFUSED_BY_EMBEDDER),
    "Jina gives a wrong vector": (jina(JinaFaultKind.NAN), "embed", Reason.WRONG_ANSWER),
    "Jina gives too few": (jina(JinaFaultKind.WRONG_COUNT), "embed", Reason.WRONG_ANSWER),
    "Qdrant refuses": (qdrant_refuses, "index", Reason.REFUSED_BY_INDEX),
}


@pytest.mark.parametrize("case", SUSPECTS)
def test_a_suspect_is_a_dead_letter_when_others_pass(case: str) -> None:
    inject, at, reason = SUSPECTS[case]

    async def scenario(stage: Stage) -> None:
        worker = await stage.start("a", P, Q, others={"jina": {"read_timeout_s": 0.1}})
        fired = inject(stage, worker)
        stage.produce_poison(P, POISON)
        produce(stage, *(f"document {number}" for number in range(20)))
        await stage.until_settled()
        assert fired() >= 2  # it was given a second chance
        assert verdicts(stage) == {(at, reason.value)}
        assert worker.unready_reasons == {}

    played(scenario)()


@pytest.mark.parametrize("case", ["Jina 400", "Qdrant refuses"])
def test_one_record_among_many(case: str) -> None:
    """All are in one batch when it is refused; the others come out of it by halves."""

    async def scenario(stage: Stage) -> None:
        stage.jina_open.clear()
        worker = await stage.start("a", P, Q)
        fired = SUSPECTS[case][0](stage, worker)
        stage.produce(P, "first", "what the others wait behind")
        await stage.until(lambda: stage.jina.in_flight)
        produce(stage, *(f"document {number}" for number in range(15)))
        stage.produce_poison(Q, POISON)
        await stage.until(lambda: worker.member.fetched == 17)
        stage.jina_open.set()
        await stage.until_settled()
        assert 2 <= fired() <= 14  # of 16: about log2 16 until it stands alone, then its trial
        assert len(stage.group.dead_letters) == 1

    played(scenario)()


# --- service, account, configuration --------------------------------------------------------------------------------


def everything(kind: JinaFaultKind, argument: str = "") -> Inject:
    """Every request to the embedding service."""

    def inject(stage: Stage, _: Replica) -> Callable[[], int]:
        fault = stage.jina.inject(kind, argument)
        return lambda: fault.fired

    return inject


def qdrant(kind: FaultKind, **options: Any) -> Inject:
    """Every write of points."""

    def inject(_: Stage, worker: Replica) -> Callable[[], int]:
        fault = worker.service.faults.inject(QdrantFault(kind, WRITES, **options))
        return lambda: fault.fired

    return inject


OUTAGES = {
    "Jina hangs up": (everything(JinaFaultKind.RESET), "jina", "broke the connection"),
    "Jina says nothing": (everything(JinaFaultKind.HANG), "jina", "did not answer in time"),
    "Jina 429": (everything(JinaFaultKind.STATUS, "429"), "jina", "429"),
    "Jina 500": (everything(JinaFaultKind.STATUS, "500"), "jina", "500"),
    "Jina 503": (everything(JinaFaultKind.STATUS, "503"), "jina", "503"),
    "Jina's proxy": (everything(JinaFaultKind.HTML, "502"), "jina", "502"),
    "Qdrant away": (qdrant(FaultKind.UNAVAILABLE), "qdrant", "cannot be reached"),
    "Qdrant says nothing": (qdrant(FaultKind.UNANSWERED), "qdrant", "did not answer in time"),
    "Qdrant's disk full, 1.18": (qdrant(FaultKind.DISK_FULL), "qdrant", "such as a full disk"),
    "Qdrant's disk full, later": (qdrant(FaultKind.INSUFFICIENT_STORAGE), "qdrant", "out of storage"),
    "Qdrant exhausted, with a time": (
        qdrant(FaultKind.RATE_LIMITED, retry_after_s=0),
        "qdrant",
        "rate limit is reached",
    ),
    "Qdrant exhausted, without": (
        qdrant(FaultKind.RATE_LIMITED),
        "qdrant",
        "takes smaller or fewer requests only",
    ),
    "Qdrant has not finished": (qdrant(FaultKind.WAIT_TIMEOUT), "qdrant", "has not finished"),
    "Qdrant refuses everything": (qdrant(FaultKind.BAD_POINT), "qdrant", "every write is refused"),
}
MENDS = {
    "Jina 401": (everything(JinaFaultKind.STATUS, "401"), "jina", "Put a valid key in jina.api_key"),
    "Jina 402": (everything(JinaFaultKind.STATUS, "402"), "jina", "Top up the key's balance"),
    "Jina 403": (everything(JinaFaultKind.STATUS, "403"), "jina", "Top up the key's balance"),
    "Jina's model": (everything(JinaFaultKind.STATUS, "400:INPUT_MODEL_NOT_FOUND"), "jina", "Set jina.model"),
    "Jina's address": (everything(JinaFaultKind.STATUS, "404"), "jina", "jina.base_url"),
    "Jina refuses everything": (everything(JinaFaultKind.STATUS, "400"), "jina", "not even one word passes"),
    "Jina's dimension": (everything(JinaFaultKind.WRONG_DIMENSION), "jina", "Check jina.model, task, dimensions"),
    "Qdrant's key": (qdrant(FaultKind.UNAUTHENTICATED), "qdrant", "qdrant.api_key"),
    "Qdrant's key may not write": (qdrant(FaultKind.PERMISSION_DENIED), "qdrant", "qdrant.api_key"),
}


def waits_out(inject: Inject, name: str, told: str) -> None:
    """Play an outage: nothing settles and nobody is to blame while it lasts, then everything goes on by itself."""

    async def scenario(stage: Stage) -> None:
        limits: dict[str, dict[str, Any]] = {"jina": {"read_timeout_s": 0.1}}
        limits["qdrant"] = {"url": "http://a", "timeout_s": 1.0}
        worker = await stage.start("a", P, Q, others=limits)
        produce(stage, "before")
        await stage.until(lambda: stage.group.settled)
        fired = inject(stage, worker)
        produce(stage, *(f"document {number}" for number in range(6)))
        await stage.until(lambda: told in worker.unready_reasons.get(name, ""))
        await stage.until(lambda: fired() >= 3)
        assert stage.group.dead_letters == []
        assert not stage.group.settled
        assert list(held(stage.engine).manifests) == ["before"]
        stage.jina.faults.clear()
        worker.service.faults.heal()
        await stage.until_settled()
        assert stage.group.dead_letters == []
        await stage.until(lambda: not worker.unready_reasons)

    played(scenario)()


@pytest.mark.parametrize("case", OUTAGES)
def test_a_service_that_does_not_work_is_waited_out(case: str) -> None:
    waits_out(*OUTAGES[case])


@pytest.mark.parametrize("case", MENDS)
def test_a_person_is_told_what_to_mend(case: str) -> None:
    waits_out(*MENDS[case])


def no_read(_: Stage, worker: Replica, error: Exception | None) -> None:
    """Kafka gives no records."""

    def fail(_: object) -> None:
        if error is not None:
            raise error

    worker.member.on_poll = fail


def no_commit(stage: Stage, _: Replica, error: Exception | None) -> None:
    """Kafka takes no commits."""
    stage.group.commit_error = error


KAFKA_REFUSALS = {
    "no right to the topic": (no_read, kafka_errors.TopicAuthorizationFailedError(), "kafka polls", "Grant Read"),
    "no right to the group": (no_read, kafka_errors.GroupAuthorizationFailedError(), "kafka polls", "Grant Read"),
    "no right to commit": (no_commit, kafka_errors.GroupAuthorizationFailedError(), "kafka commits", "Grant Read"),
}


@pytest.mark.parametrize("case", KAFKA_REFUSALS)
def test_a_person_is_told_what_kafka_does_not_allow(case: str) -> None:
    refuse, error, name, told = KAFKA_REFUSALS[case]

    async def scenario(stage: Stage) -> None:
        worker = await stage.start("a", P, Q)
        produce(stage, "before")
        await stage.until(lambda: stage.group.settled)
        refuse(stage, worker, error)
        produce(stage, "x", "y")
        await stage.until(lambda: told in worker.unready_reasons.get(name, ""))
        assert not stage.group.settled
        refuse(stage, worker, None)
        await stage.until_settled()
        await stage.until(lambda: not worker.unready_reasons)

    played(scenario)()


def test_a_service_that_takes_small_requests_only_gets_those() -> None:
    async def scenario(stage: Stage) -> None:
        worker = await stage.start("a", P, Q)
        fault = worker.service.faults.inject(QdrantFault(FaultKind.RATE_CAPACITY, capacity=1))
        stage.jina_open.clear()
        produce(stage, *(f"document {number}" for number in range(12)))
        await stage.until(lambda: worker.member.fetched == 12)
        stage.jina_open.set()
        await stage.until_settled()
        assert fault.fired
        assert stage.group.dead_letters == []

    played(scenario)()


# --- the dead-letter topic itself -----------------------------------------------------------------------------------

REFUSALS = {
    "missing": (kafka_errors.UnknownTopicOrPartitionError, "a topic is not there"),
    "full": (kafka_errors.MessageSizeTooLargeError, "Raise max.message.bytes"),
    "forbidden": (kafka_errors.TopicAuthorizationFailedError, "Write on the dead-letter topics"),
    "without replicas": (kafka_errors.NotEnoughReplicasError, "NotEnoughReplicasError"),
    "silent": (None, "does not acknowledge"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_dead_letter_topic_that_takes_nothing_holds_its_partition(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_bound(monkeypatch, Bound.SEND_LIMIT_S, 0.1)
    error, told = REFUSALS[case]

    async def scenario(stage: Stage) -> None:
        stage.group.letter_error, stage.group.letters_to_refuse = error, 10**9
        worker = await stage.start("a", P, Q)
        stage.produce_poison(P, b"no JSON")
        for number in range(2 * BOUND):
            stage.produce(P, f"behind {number}", f"text {number}")
        stage.produce(Q, "elsewhere", "another text")
        await stage.until(lambda: told in worker.unready_reasons.get("dead letters", ""))
        await stage.until(lambda: stage.group.letters_refused >= 3 and stage.group.committed.get(Q) == 1)
        polls = stage.group.polls
        await stage.until(lambda: stage.group.polls > polls + 30)
        assert stage.group.committed[P] == 0
        assert worker.member.fetched <= BOUND + 1  # of P no more than its bound, and polling goes on
        stage.group.letters_to_refuse = 0
        await stage.until_settled()
        assert verdicts(stage) == {("decode", "not_json")}
        await stage.until(lambda: not worker.unready_reasons)

    played(scenario)()
