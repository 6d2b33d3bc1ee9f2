"""Stopping a worker: at any time, however often, whoever does not answer. What is left undone is done again later."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import httpx
import pytest

from harness.deployment import LIMIT_S, Deployment, message, until
from harness.fixtures_qdrant import QdrantAddress, address_of
from harness.kafka import Kafka, Message
from harness.kafka_broker import KafkaBroker
from harness.processes import WorkerProcess
from streamdex.standins.jina import JinaFaultKind, JinaServer
from streamdex.standins.qdrant import EmbeddedQdrant, FaultKind, QdrantFault

STOP_LIMIT_S = 25.0  # promised; orchestrators are told to grant 30
MACHINE_S = 5.0  # what a busy machine may add
DOCUMENTS = 20


class Deploy(Protocol):
    """Makes a deployment whose collection, and all else of it, has this name."""

    async def __call__(self, kafka: Kafka, name: str, qdrant: QdrantAddress | None = None) -> Deployment: ...


@pytest.fixture
async def deploy(jina: JinaServer, qdrant_server: EmbeddedQdrant, tmp_path: Path) -> Deploy:
    """Deployments that share the stand-ins, unless they bring a Qdrant of their own."""

    async def make(kafka: Kafka, name: str, qdrant: QdrantAddress | None = None) -> Deployment:
        topic, address = await kafka.create_topic(partitions=2), qdrant or address_of(qdrant_server)
        return Deployment(kafka, jina, address, name, topic, kafka.unique_group(), tmp_path)

    return make


def documents(name: str, what: str) -> list[Message]:
    return [message(f"{name}-{number}", f"{what} {number} of {name}") for number in range(DOCUMENTS)]


async def taken_in(worker: WorkerProcess, records: int) -> None:
    """Wait until so many records are open in the worker."""
    async with httpx.AsyncClient(base_url=await worker.admin_url(), trust_env=False) as client:
        async with asyncio.timeout(LIMIT_S):
            while (await client.get("/status")).json()["open"]["records"] < records:
                await asyncio.sleep(0.1)


async def stopped(worker: WorkerProcess) -> int:
    """Its exit code, after one SIGTERM and within the time that is promised."""
    began_s = time.monotonic()
    code = await worker.stop()
    assert time.monotonic() - began_s < STOP_LIMIT_S + MACHINE_S
    assert worker.events("worker.stopped")
    return code


async def done_again(deployment: Deployment, name: str) -> None:
    """With everyone back, the next worker leaves nothing out, and no letter was written."""
    await deployment.work_it_off(name)
    assert await deployment.equals_the_fold(), deployment.wrong
    assert await deployment.kafka.read_all(f"{deployment.topic}.dlq") == []


@pytest.mark.timeout(240)  # three stops in a row without Kafka's help, each with a worker of its own
async def test_no_neighbour_holds_a_stop(kafka: Kafka, kafka_node: KafkaBroker, deploy: Deploy) -> None:
    node = Kafka(kafka_node.bootstrap_servers)
    async with EmbeddedQdrant() as silent, asyncio.TaskGroup() as group:
        group.create_task(jina_silent(await deploy(kafka, "jina-silent")))
        group.create_task(qdrant_silent(await deploy(kafka, "qdrant-silent", address_of(silent)), silent))
        group.create_task(kafka_silent_and_gone(await deploy(node, "kafka-gone"), kafka_node))


async def jina_silent(deployment: Deployment) -> None:
    hanging = deployment.jina.inject(JinaFaultKind.HANG, match="of jina-silent")
    async with deployment.worker("jina-silent") as worker:
        await deployment.produce(documents("jina-silent", "text"))
        await until(lambda: hanging.fired > 0)
        assert await stopped(worker) == 3
        assert worker.events("drain.incomplete")
    deployment.jina.faults.clear(hanging)
    await done_again(deployment, "jina-back")


async def qdrant_silent(deployment: Deployment, server: EmbeddedQdrant) -> None:
    await deployment.produce(documents("qdrant-silent", "first text"))
    async with deployment.worker("qdrant-silent") as worker:
        await deployment.settled()
        silence = server.faults.inject(QdrantFault(FaultKind.SLOW, delay_s=300.0))
        await deployment.produce(documents("qdrant-silent", "second text"))
        await taken_in(worker, DOCUMENTS)
        await until(lambda: silence.fired > 0)
        assert await stopped(worker) == 3
    server.faults.heal()
    await done_again(deployment, "qdrant-back")


async def kafka_silent_and_gone(deployment: Deployment, node: KafkaBroker) -> None:
    """What is settled while Kafka cannot be told is read again: work is left, though all of it is written."""
    with frozen_by(node) as freeze:
        await settle_without(deployment, freeze, "frozen")
    await settle_without(deployment, node.kill9, "killed")
    await asyncio.to_thread(node.start)
    await done_again(deployment, "kafka-back")


@contextmanager
def frozen_by(node: KafkaBroker) -> Iterator[Callable[[], None]]:
    """Gives what stops the broker's process in the middle of whatever it does; it goes on afterwards."""
    try:
        yield lambda: os.kill(node.pid, signal.SIGSTOP)
    finally:
        os.kill(node.pid, signal.SIGCONT)


async def settle_without(deployment: Deployment, end: Callable[[], None], how: str) -> None:
    """Kafka goes while the documents' texts are at Jina; the worker writes them all, and is stopped."""
    held = deployment.jina.inject(JinaFaultKind.HANG, "3", match=f"{how} ")
    async with deployment.worker(f"kafka-{how}") as worker:
        if deployment.produced:  # what an earlier worker could not commit is not counted with these
            await deployment.settled()
        await deployment.produce(documents("kafka-gone", how))
        await until(lambda: held.fired > 0)
        await taken_in(worker, DOCUMENTS)
        await asyncio.to_thread(end)
        deployment.jina.faults.clear(held)
        assert await stopped(worker) == 3
        (left,) = worker.events("drain.incomplete")
        assert left["uncommitted"] == DOCUMENTS


async def test_a_stop_before_the_start_has_come_to_its_end(kafka: Kafka, deploy: Deploy) -> None:
    """Someone listens and says nothing; a second signal finds nothing to hurry."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        deployment = await deploy(kafka, "mute")
        silent = QdrantAddress("127.0.0.1", mute.getsockname()[1], None, "mute")
        other = await deploy(kafka, "mute-store", silent)
        async with (
            deployment.worker("mute-kafka", KAFKA_BOOTSTRAP_SERVERS=address) as one,
            other.worker("mute-qdrant") as two,
        ):
            for worker in (one, two):
                await worker.admin_url()
                os.kill(worker.pid, signal.SIGTERM)
                os.kill(worker.pid, signal.SIGTERM)
            for worker in (one, two):
                assert await worker.wait() == 0
                assert len(worker.events("worker.stopping")) == 1
                assert worker.events("worker.stopped")
                assert not worker.events("worker.started")


async def test_a_stop_during_a_rebalance(kafka: Kafka, deploy: Deploy) -> None:
    """The one that joins leaves at once; the one that drains for it finishes that, or does not when told twice."""
    deployment = await deploy(kafka, "rebalance")
    hanging = deployment.jina.inject(JinaFaultKind.HANG)
    await deployment.produce(documents("rebalance", "text"))
    async with deployment.worker("draining") as draining:
        await until(lambda: hanging.fired > 0)
        async with deployment.worker("joining") as joining:
            await until(lambda: len(joining.events("worker.started")) > 0)
            await until_rebalancing(kafka, deployment.group)
            began_s = time.monotonic()
            assert await stopped(joining) == 0
            assert time.monotonic() - began_s < 10  # the other one drains for 18 s
        os.kill(draining.pid, signal.SIGTERM)
        await until(lambda: len(draining.events("worker.stopping")) > 0)
        os.kill(draining.pid, signal.SIGTERM)
        assert await draining.wait() == 3


async def until_rebalancing(kafka: Kafka, group: str) -> None:
    """Wait until the group waits for its members to join anew."""
    async with asyncio.timeout(LIMIT_S):
        while await kafka.group_state(group) != "PreparingRebalance":
            await asyncio.sleep(0.1)


CRASHING = """
from streamdex.run.dispatch import Dispatcher

def accept(self, partition, records, position):
    if records:
        raise ZeroDivisionError("canary-in-the-words")

Dispatcher.accept = accept
from streamdex.cli import main
main()
"""


async def test_a_crash_is_told_and_commits_nothing(kafka: Kafka, deploy: Deploy) -> None:
    deployment = await deploy(kafka, "crash")
    await deployment.produce(documents("crash", "text"))
    worker = deployment.worker("crash")
    worker.program = ("-c", CRASHING, "run")
    async with worker:
        assert await worker.wait() == 1
    assert "Internal error" in worker.log
    assert "ZeroDivisionError" in worker.log
    assert "canary-in-the-words" not in worker.log
    assert not any((await kafka.committed(deployment.group)).values())


async def test_what_a_person_must_mend_is_told_at_the_start(kafka: Kafka, deploy: Deploy) -> None:
    deployment = await deploy(kafka, "configuration")
    missing = kafka.unique_topic("missing")
    async with deployment.worker("missing", STREAMDEX_KAFKA__TOPICS=missing) as worker:
        assert await worker.wait() == 2
    assert f"the topic {missing} is not there" in worker.log
    assert "kafka.topics" in worker.log
    assert "fix:" in worker.log
