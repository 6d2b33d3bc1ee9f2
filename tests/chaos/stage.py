"""The stage of a campaign: a broker, two stand-ins, a proxy for each link of each worker, and the run's directory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos.fleet import Fleet
from chaos.generator import CANARIES, REFUSED_MARKER, Generator
from chaos.proxy import Link
from chaos.run_directory import RunDirectory
from chaos.schedule import LINKS, MOST
from chaos.stand_ins import JinaStandIn, QdrantStandIn
from chaos.traffic import Traffic
from harness.kafka import Kafka
from harness.kafka_broker import KafkaBroker, free_ports

TOPIC = "documents"
GROUP = "chaos"
COLLECTION = "documents"
PARTITIONS = 6
JINA_KEY = "jina_SECRETCANARY_5f1e"
JINA_LIMITS = (1500, 400_000, 12)  # requests and tokens a minute, concurrent requests: a backlog is felt
SESSION_TIMEOUT_S = 6.0
REQUEST_HORIZON_S = 8.0  # above what delays, frozen neighbours and late landings can add up to


@dataclass(slots=True)
class Stage:
    """What faults can be set on."""

    run: RunDirectory
    broker: KafkaBroker
    kafka: Kafka
    jina: JinaStandIn
    qdrant: QdrantStandIn
    qdrant_port: int
    links: Mapping[tuple[int, str], Link]
    fleet: Fleet
    traffic: Traffic
    broker_busy: bool = False

    @property
    def dead_letter_topic(self) -> str:
        """Where workers send what nobody can index."""
        return f"{TOPIC}.dlq"


@asynccontextmanager
async def open_stage(directory: Path, seed: int, order: str) -> AsyncIterator[Stage]:
    """Everything but workers, started; everything ended afterwards."""
    run = RunDirectory(directory)
    broker_port, controller_port, jina_port, qdrant_port, control_port, *inner_ports = free_ports(5 + MOST)
    links = _links(inner_ports, jina_port, qdrant_port)
    jina = JinaStandIn(jina_port, run.billing, directory / "jina.log", JINA_LIMITS, JINA_KEY)
    qdrant = QdrantStandIn(qdrant_port, control_port, directory / "qdrant", directory / "qdrant.log", seed)
    async with AsyncExitStack() as opened:
        for link in links.values():  # first: each takes a port, which the broker must know
            await opened.enter_async_context(link)
        broker = _broker(directory / "kafka", (broker_port, controller_port), inner_ports, links)
        opened.push_async_callback(asyncio.to_thread, broker.stop)
        for stand_in in (jina, qdrant):
            opened.push_async_callback(stand_in.close)
        await asyncio.gather(asyncio.to_thread(broker.start), jina.start(), qdrant.start())
        await jina.inject({"kind": "refuse", "argument": REFUSED_MARKER})
        kafka = Kafka(broker.bootstrap_servers)
        await kafka.create_topic(TOPIC, PARTITIONS, {"message.timestamp.after.max.ms": "86400000"})
        traffic = Traffic(run, broker.bootstrap_servers, TOPIC, Generator(seed, PARTITIONS, order))
        await traffic.start()
        opened.push_async_callback(traffic.close)
        fleet = Fleet(run, [_environment(slot, links, order) for slot in range(MOST)])
        opened.push_async_callback(fleet.kill_all)
        stage = Stage(run, broker, kafka, jina, qdrant, qdrant_port, links, fleet, traffic)
        run.describe(_described(stage, seed, order, jina_port))
        yield stage


def _links(inner_ports: list[int], jina_port: int, qdrant_port: int) -> dict[tuple[int, str], Link]:
    """A proxy for each worker's slot and each neighbour."""
    links: dict[tuple[int, str], Link] = {}
    for slot in range(MOST):
        upstream = {"kafka": inner_ports[slot], "qdrant": qdrant_port, "jina": jina_port}
        for name in LINKS:
            links[slot, name] = Link(f"{name} of slot {slot}", 0, upstream[name])
    return links


def _broker(
    directory: Path, own_ports: tuple[int, int], inner_ports: list[int], links: Mapping[tuple[int, str], Link]
) -> KafkaBroker:
    """A broker that tells the clients of each slot to come through that slot's proxy."""
    broker_port, controller_port = own_ports
    names = [f"SLOT{slot}" for slot in range(MOST)]
    inner = [f"{name}://127.0.0.1:{port}" for name, port in zip(names, inner_ports, strict=True)]
    outer = [f"{name}://127.0.0.1:{links[slot, 'kafka'].port}" for slot, name in enumerate(names)]
    extra = {
        "listeners": ",".join(
            [f"PLAINTEXT://127.0.0.1:{broker_port}", f"CONTROLLER://127.0.0.1:{controller_port}", *inner]
        ),
        "advertised.listeners": ",".join([f"PLAINTEXT://127.0.0.1:{broker_port}", *outer]),
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in ("PLAINTEXT", "CONTROLLER", *names)),
        "inter.broker.listener.name": "PLAINTEXT",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    }
    return KafkaBroker(directory, 1, broker_port, {1: controller_port}, extra)


def _environment(slot: int, links: Mapping[tuple[int, str], Link], order: str) -> dict[str, str]:
    """The settings of a slot's workers, as users give them."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{links[slot, 'kafka'].port}",
        "JINA_API_KEY": JINA_KEY,
        "QDRANT_URL": "http://127.0.0.1",
        "STREAMDEX_KAFKA__TOPICS": TOPIC,
        "STREAMDEX_KAFKA__GROUP_ID": GROUP,
        "STREAMDEX_KAFKA__SESSION_TIMEOUT_S": str(SESSION_TIMEOUT_S),
        "STREAMDEX_JINA__BASE_URL": f"http://127.0.0.1:{links[slot, 'jina'].port}/v1",
        "STREAMDEX_JINA__DIMENSIONS": "64",
        "STREAMDEX_JINA__REQUESTS_PER_MINUTE": str(JINA_LIMITS[0]),
        "STREAMDEX_JINA__TOKENS_PER_MINUTE": str(JINA_LIMITS[1]),
        "STREAMDEX_JINA__CONCURRENCY": str(JINA_LIMITS[2]),
        "STREAMDEX_JINA__CONNECT_TIMEOUT_S": "2",
        "STREAMDEX_JINA__READ_TIMEOUT_S": "4",
        "STREAMDEX_QDRANT__GRPC_PORT": str(links[slot, "qdrant"].port),
        "STREAMDEX_QDRANT__COLLECTION": COLLECTION,
        "STREAMDEX_QDRANT__TIMEOUT_S": "4",
        "STREAMDEX_CHUNK__MAX_TOKENS": "44",
        "STREAMDEX_ADMIN__PORT": "0",
        "STREAMDEX_WORKER__ORDER": order,
        "STREAMDEX_WORKER__DRAIN_TIMEOUT_S": "4",
        "STREAMDEX_WORKER__REQUEST_HORIZON_S": str(REQUEST_HORIZON_S),
        "STREAMDEX_WORKER__LOG_FORMAT": "json",
    }


def _described(stage: Stage, seed: int, order: str, jina_port: int) -> dict[str, object]:
    return {
        "seed": seed,
        "order": order,
        "topic": TOPIC,
        "dead_letter_topic": stage.dead_letter_topic,
        "group": GROUP,
        "kafka": stage.broker.bootstrap_servers,
        "qdrant": {"grpc_port": stage.qdrant_port, "collection": COLLECTION},
        "jina_url": f"http://127.0.0.1:{jina_port}/v1",
        "canaries": [JINA_KEY, *CANARIES],
        "refused_marker": REFUSED_MARKER,
        "request_horizon_s": REQUEST_HORIZON_S,
        "environment": {
            **_environment(0, stage.links, order),
            "KAFKA_BOOTSTRAP_SERVERS": stage.broker.bootstrap_servers,
            "STREAMDEX_JINA__BASE_URL": f"http://127.0.0.1:{jina_port}/v1",
            "STREAMDEX_QDRANT__GRPC_PORT": str(stage.qdrant_port),
        },
    }


async def ended(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
