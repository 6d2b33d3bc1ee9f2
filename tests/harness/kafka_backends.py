"""Where the tests' Kafka comes from: one that is given, a container, or processes of our own. No pytest in here."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from testcontainers.core.container import DockerContainer

from harness.containers import ensure_image
from harness.kafka_broker import START_LIMIT_S, KafkaCluster, KafkaStartError, free_ports, live_brokers, properties
from harness.kafka_jars import KAFKA_VERSION, is_cached

GIVEN = "KAFKA_BOOTSTRAP_SERVERS"
IMAGE = f"apache/kafka:{KAFKA_VERSION}"
Say = Callable[[str], object]


class Backend(NamedTuple):
    """A running broker: where, and in words what it is."""

    bootstrap_servers: str
    tells: str


class NoKafkaError(RuntimeError):
    """None of the ways to a broker works; the message says why, way by way."""


@contextmanager
def any_kafka(directory: Path, say: Say) -> Iterator[Backend]:
    """The first broker that can be had, for as long as the context lasts. Raises NoKafkaError.

    `say` is told before anything that takes seconds.
    """
    refusals: list[str] = []
    with ExitStack() as stack:
        for way in (_given, _container, _processes):
            try:
                backend = stack.enter_context(way(directory, say))
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one way, the next one is tried
                refusals.append(f"{way.__name__.strip('_')}: {error}")
                continue
            yield backend
            return
    raise NoKafkaError("; ".join(refusals))


@contextmanager
def _given(_directory: Path, _say: Say) -> Iterator[Backend]:
    servers = os.environ.get(GIVEN)
    if not servers:
        raise LookupError(f"{GIVEN} is not set")
    yield Backend(servers, f"{GIVEN}={servers}")


@contextmanager
def _container(_directory: Path, say: Say) -> Iterator[Backend]:
    ensure_image(IMAGE, say)
    (port,) = free_ports(1)
    say(f"Starting a container of {IMAGE}")
    with _container_of(port):
        servers = f"127.0.0.1:{port}"
        deadline = time.monotonic() + START_LIMIT_S
        while live_brokers(servers) < 1:
            if time.monotonic() > deadline:
                raise KafkaStartError(f"the container did not answer within {START_LIMIT_S:.0f} s")
            time.sleep(0.2)
        yield Backend(servers, f"container of {IMAGE}")


def _container_of(port: int) -> DockerContainer:
    """The image with the settings of our own brokers: it reads `a.b` from the variable KAFKA_A_B.

    The broker asks itself about transactions, by its address inside the container; so it has a listener of its own.
    """
    settings = properties(nodes=1) | {
        "node.id": "1",
        "controller.quorum.voters": "1@localhost:9093",
        "listeners": "HOST://:9092,ITSELF://localhost:19092,CONTROLLER://localhost:9093",
        "advertised.listeners": f"HOST://127.0.0.1:{port},ITSELF://localhost:19092",
        "listener.security.protocol.map": "HOST:PLAINTEXT,ITSELF:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "ITSELF",
    }
    variables = {f"KAFKA_{name.replace('.', '_').upper()}": value for name, value in settings.items()}
    container = DockerContainer(IMAGE, env=variables)
    ports = cast("dict[str, Any]", container.ports)  # with_bind_ports has no way to say an address; docker itself has
    ports["9092/tcp"] = ("127.0.0.1", port)
    return container


@contextmanager
def _processes(directory: Path, say: Say) -> Iterator[Backend]:
    with own_cluster(directory, 1, say) as cluster:
        yield Backend(cluster.bootstrap_servers, f"Apache Kafka {KAFKA_VERSION}, a process of the run's own")


@contextmanager
def own_cluster(directory: Path, nodes: int, say: Say) -> Iterator[KafkaCluster]:
    """Brokers as processes of our own, which may be killed. Raises NoKafkaError."""
    if not is_cached():
        say("Fetching Apache Kafka's jars, 45 MB, once")
    say(f"Starting Apache Kafka {KAFKA_VERSION}, nodes: {nodes}")
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(KafkaCluster(directory, nodes))
        except (OSError, RuntimeError) as error:
            raise NoKafkaError(f"{type(error).__name__}: {error}") from error
        yield cluster
