"""The stage of a storm: real Kafka, the stand-ins for Jina and Qdrant, and slots for workers, all without faults.

It keeps a campaign's run directory, so that the campaign's checker can judge it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos.checker import watch_commits
from chaos.fleet import Fleet, Sampler
from chaos.generator import CANARIES, REFUSED_MARKER, Generator
from chaos.group_offsets import GroupOffsets
from chaos.run_directory import RunDirectory
from chaos.stage import ended
from chaos.stand_ins import JinaStandIn, QdrantStandIn
from chaos.traffic import Traffic
from harness.kafka import Kafka
from harness.kafka_broker import KafkaBroker, free_ports

TOPIC = "documents"
GROUP = "storm"
PARTITIONS = 16  # each of the most members has some
MOST = 8
JINA_KEY = "jina_SECRETCANARY_5f1e"
JINA_LIMITS = (5_000, 50_000_000, 500)  # the premium preset, which the workers are told as well
SESSION_TIMEOUT_S = 6.0  # so long a killed member's partitions stand still
DIMENSIONS = 64


@dataclass(frozen=True, slots=True)
class Stage:
    """What a storm works on."""

    run: RunDirectory
    broker: KafkaBroker
    kafka: Kafka
    fleet: Fleet
    traffic: Traffic
    offsets: GroupOffsets


@asynccontextmanager
async def open_stage(directory: Path, seed: int) -> AsyncIterator[Stage]:
    """Everything but workers, started; everything ended afterwards."""
    run = RunDirectory(directory)
    broker_port, controller_port, jina_port, qdrant_port, control_port = free_ports(5)
    broker = KafkaBroker(directory / "kafka", 1, broker_port, {1: controller_port})
    jina = JinaStandIn(jina_port, run.billing, directory / "jina.log", JINA_LIMITS, JINA_KEY)
    qdrant = QdrantStandIn(qdrant_port, control_port, directory / "qdrant", directory / "qdrant.log", seed)
    async with AsyncExitStack() as opened:
        opened.push_async_callback(asyncio.to_thread, broker.stop)
        for stand_in in (jina, qdrant):
            opened.push_async_callback(stand_in.close)
        await asyncio.gather(asyncio.to_thread(broker.start), jina.start(), qdrant.start())
        await jina.inject({"kind": "refuse", "argument": REFUSED_MARKER})
        kafka = Kafka(broker.bootstrap_servers)
        await kafka.create_topic(TOPIC, PARTITIONS)
        await kafka.committed(GROUP)  # makes Kafka's topic of offsets
        traffic = Traffic(run, broker.bootstrap_servers, TOPIC, Generator(seed, PARTITIONS))
        await traffic.start()
        opened.push_async_callback(traffic.close)
        environment = _environment(broker.bootstrap_servers, jina_port, qdrant_port)
        run.describe(_described(seed, environment))
        fleet = Fleet(run, [environment] * MOST)
        opened.push_async_callback(fleet.kill_all)
        offsets = GroupOffsets(run, broker.bootstrap_servers, GROUP, TOPIC)
        watching = (offsets.follow_for_ever(), Sampler(run, fleet).run(), watch_commits(run.path))
        tasks = [asyncio.create_task(one) for one in watching]
        opened.push_async_callback(ended, *tasks)
        yield Stage(run, broker, kafka, fleet, traffic, offsets)


def _environment(bootstrap_servers: str, jina_port: int, qdrant_port: int) -> dict[str, str]:
    """The settings of the workers, as users give them."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "JINA_API_KEY": JINA_KEY,
        "QDRANT_URL": "http://127.0.0.1",
        "STREAMDEX_KAFKA__TOPICS": TOPIC,
        "STREAMDEX_KAFKA__GROUP_ID": GROUP,
        "STREAMDEX_KAFKA__SESSION_TIMEOUT_S": str(SESSION_TIMEOUT_S),
        "STREAMDEX_JINA__BASE_URL": f"http://127.0.0.1:{jina_port}/v1",
        "STREAMDEX_JINA__LIMITS": "premium",
        "STREAMDEX_JINA__DIMENSIONS": str(DIMENSIONS),
        "STREAMDEX_QDRANT__GRPC_PORT": str(qdrant_port),
        "STREAMDEX_QDRANT__COLLECTION": TOPIC,
        "STREAMDEX_CHUNK__MAX_TOKENS": "32",
        "STREAMDEX_ADMIN__PORT": "0",
        "STREAMDEX_WORKER__LOG_FORMAT": "json",
    }


def _described(seed: int, environment: dict[str, str]) -> dict[str, object]:
    return {
        "seed": seed,
        "order": "offset",
        "topic": TOPIC,
        "dead_letter_topic": f"{TOPIC}.dlq",
        "group": GROUP,
        "kafka": environment["KAFKA_BOOTSTRAP_SERVERS"],
        "qdrant": {"grpc_port": int(environment["STREAMDEX_QDRANT__GRPC_PORT"]), "collection": TOPIC},
        "jina_url": environment["STREAMDEX_JINA__BASE_URL"],
        "canaries": [JINA_KEY, *CANARIES],
        "refused_marker": REFUSED_MARKER,
        "request_horizon_s": 60.0,
        "environment": environment,
    }
