"""Traps of Kafka for the whole worker: a process that slept, a log that was cut, a topic made anew, transactions."""

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest

from harness.deployment import LIMIT_S, Deployment, message, stream, until
from harness.fixtures_qdrant import address_of
from harness.kafka import Kafka
from oracle.fold import read_collection
from streamdex.model import Partition
from streamdex.standins.jina import JinaServer
from streamdex.standins.qdrant import EmbeddedQdrant


@pytest.fixture
async def deployment(kafka: Kafka, jina: JinaServer, qdrant_server: EmbeddedQdrant, tmp_path: Path) -> Deployment:
    topic = await kafka.create_topic()
    return Deployment(kafka, jina, address_of(qdrant_server), "documents", topic, kafka.unique_group(), tmp_path)


async def until_state(kafka: Kafka, group: str, state: str) -> None:
    async with asyncio.timeout(LIMIT_S):
        while await kafka.group_state(group) != state:
            await asyncio.sleep(0.1)


async def test_a_worker_that_slept_past_its_session_commits_nothing_when_it_wakes(deployment: Deployment) -> None:
    """Its group is empty by then, and a broker takes a commit without a generation from anyone."""
    kafka, at = deployment.kafka, Partition(deployment.topic, 0)
    moved = {f"{deployment.topic}-0": 5}
    await deployment.produce([message(f"doc-{number}", f"text {number}") for number in range(20)])
    async with deployment.worker(STREAMDEX_KAFKA__SESSION_TIMEOUT_S="2") as worker:
        await deployment.settled()
        os.kill(worker.pid, signal.SIGSTOP)
        try:
            await until_state(kafka, deployment.group, "Empty")
            await kafka.move_group(deployment.group, {at: 5})  # as an operator does, who wants the rest done again
        finally:
            os.kill(worker.pid, signal.SIGCONT)
        # Not counted: a busy machine may cost it its membership before the sleep, too. Had it committed 20 once more,
        # nothing would ever start at 5.
        await until(lambda: any(told["starts"] == moved for told in worker.events("partitions.assigned")))
        await deployment.settled()
        assert await worker.stop() == 0
    assert await deployment.equals_the_fold()
    assert deployment.jina.stats.inputs_embedded == 20


async def test_a_log_that_was_cut_while_nobody_read_is_told_with_what_is_gone(deployment: Deployment) -> None:
    await deployment.produce([message(f"doc-{number}", f"text {number}") for number in range(10)])
    await deployment.work_it_off("first")
    await deployment.produce([message(f"doc-{number}", f"text {number}") for number in range(10, 30)])
    await deployment.kafka.delete_records(Partition(deployment.topic, 0), 25)
    async with deployment.worker("second") as worker:
        await deployment.settled()
        assert await worker.stop() == 0
    (told,) = worker.events("kafka.offset_out_of_range")
    assert (told["level"], told["offset"], told["begin"], told["end"], told["start"]) == ("error", 10, 25, 30, 25)
    found = await read_collection(deployment.qdrant, deployment.collection)
    assert set(found.texts) == {f"doc-{number}" for number in (*range(10), *range(25, 30))}


async def test_a_topic_made_anew_under_a_running_worker_waits_for_the_epoch(deployment: Deployment) -> None:
    """Between two looks at the topics, so that nobody notices it is gone; the new one outgrows the old one."""
    kafka = deployment.kafka
    await deployment.produce(stream(30, random.Random(1)))
    async with deployment.worker("before") as worker:
        await deployment.settled()
        await kafka.make_topic_anew(deployment.topic)
        deployment.produced.clear()
        await until(lambda: len(worker.events("topic.recreated")) > 0)
        embedded = deployment.jina.stats.inputs_embedded
        await deployment.produce(stream(80, random.Random(2)))
        assert await worker.stop() == 0
    async with deployment.worker("again") as worker:  # it meets a log in which its progress would have a place
        await until(lambda: len(worker.events("topic.recreated")) > 0)
        assert await worker.stop() == 0
    assert deployment.jina.stats.inputs_embedded == embedded
    assert await deployment.work_it_off("after", STREAMDEX_KAFKA__EPOCH="1") > 0
    assert await deployment.equals_the_fold(), deployment.wrong


async def test_aborted_records_are_never_indexed_and_leave_no_lag(deployment: Deployment) -> None:
    kafka, topic = deployment.kafka, deployment.topic
    await deployment.produce([message("doc-0", "written without a transaction")])
    for number, commit in enumerate((True, False, True, False)):
        texts = {f"doc-{number}-{each}": f"text {each}" for each in range(5)} | {"doc-0": f"transaction {number}"}
        messages = [message(document, text) for document, text in texts.items()]
        await kafka.produce_transaction(topic, messages, commit=commit)
        if commit:
            deployment.produced += [(one.key, one.value) for one in messages]
    await deployment.work_it_off()
    assert await kafka.committed(deployment.group) == await kafka.end_offsets(topic) == {Partition(topic, 0): 29}
    assert await deployment.equals_the_fold(), deployment.wrong
