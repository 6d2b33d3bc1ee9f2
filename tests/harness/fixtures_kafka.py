"""Fixtures for tests on real Kafka.

`kafka` is one broker for the whole run, `secured` another: use topics and groups of your own. `kafka_node` and
`kafka_cluster` are processes that a test may kill; after each test all of their nodes run again.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import TypeVar

import pytest

from harness import services as real_services
from harness.kafka import Kafka
from harness.kafka_backends import NoKafkaError, any_kafka, own_cluster
from harness.kafka_broker import KafkaBroker, KafkaCluster, KafkaStartError
from harness.kafka_security import SecuredBroker, secured_broker

T = TypeVar("T")

FAILOVER_NODES = 3


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Kafka]:
    """The run's shared broker, with helpers. It must not be stopped: it may be somebody's own."""
    with ExitStack() as stack:
        backend = _entered(stack, any_kafka(tmp_path_factory.mktemp("kafka"), _teller(request)), request)
        real_services.note_used(request.config, "Kafka", backend.tells)
        yield Kafka(backend.bootstrap_servers)


@pytest.fixture
def kafka_node(_one_node: KafkaCluster) -> Iterator[KafkaBroker]:
    """A single broker of our own that the test may kill and restart; `Kafka(node.bootstrap_servers)` has helpers."""
    yield _one_node.nodes[0]
    _one_node.start()


@pytest.fixture
def kafka_cluster(_three_nodes: KafkaCluster) -> Iterator[KafkaCluster]:
    """Three brokers of our own, each of which the test may kill and restart."""
    yield _three_nodes
    _three_nodes.start()


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[SecuredBroker]:
    """A broker of our own with a listener for each way to be secured, that allows nothing to whom it does not know."""
    try:
        with secured_broker(tmp_path_factory.mktemp("secured")) as broker:
            yield broker
    except (OSError, KafkaStartError) as error:
        raise real_services.refusal(request.config, "Kafka", str(error)) from None


@pytest.fixture(scope="session")
def _one_node(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[KafkaCluster]:
    yield from _own(1, tmp_path_factory, request)


@pytest.fixture(scope="session")
def _three_nodes(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[KafkaCluster]:
    yield from _own(FAILOVER_NODES, tmp_path_factory, request)


def _own(nodes: int, paths: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[KafkaCluster]:
    with ExitStack() as stack:
        yield _entered(stack, own_cluster(paths.mktemp("kafka"), nodes, _teller(request)), request)


def _teller(request: pytest.FixtureRequest) -> Callable[[str], object]:
    return real_services.teller(request.config)


def _entered(stack: ExitStack, context: AbstractContextManager[T], request: pytest.FixtureRequest) -> T:
    """What the context gives, until the stack is left; without any Kafka the test is skipped, or fails in CI."""
    try:
        return stack.enter_context(context)
    except NoKafkaError as error:
        raise real_services.refusal(request.config, "Kafka", str(error)) from None
