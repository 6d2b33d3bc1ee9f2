"""Real Apache Kafka in KRaft mode as child processes: one node, or several as a cluster. No pytest in here.

    with KafkaCluster(directory, nodes=1) as cluster:
        cluster.bootstrap_servers
        cluster.nodes[0].kill9()
        cluster.nodes[0].start()      # same ports, same data

All calls block; from asynchronous code use `asyncio.to_thread`.
"""

import asyncio
import contextlib
import random
import socket
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from harness import guardian, kafka_jars

CLUSTER_ID = "streamdex-tests-000000"  # 22 characters of base64url, as Kafka wants
START_LIMIT_S = 90.0
PORTS = (20_000, 32_768)  # below those that Linux gives out
STOP_LIMIT_S = 20.0
JVM_OPTIONS = ["-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]  # starts soonest, stays small
LOGGING = """\
rootLogger.level=INFO
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %p %m (%c)%n
"""


class KafkaStartError(RuntimeError):
    """A broker did not start; the message ends with the tail of its log."""


def properties(nodes: int) -> dict[str, str]:
    """Settings of a broker in a cluster of `nodes` that suit tests: small, and quick to notice what happens."""
    replicas = str(min(nodes, 3))
    majority = str(min(nodes, 2))
    return {
        "process.roles": "broker,controller",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": majority,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": "3",
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": majority,
        "transaction.state.log.num.partitions": "3",
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": majority,
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "500",
        "broker.session.timeout.ms": "2000",  # a node that was killed may come back after 7 s instead of 15
        "broker.heartbeat.interval.ms": "300",
        "log.cleaner.dedupe.buffer.size": "8388608",
    }


class KafkaBroker:
    """One node: a process with its ports, its data and its log file, which all outlive a kill.

    `voters` maps every node's id to the port of its controller. `extra` overrides any property.
    """

    def __init__(
        self,
        directory: Path,
        node_id: int,
        port: int,
        voters: Mapping[int, int],
        extra: Mapping[str, str] | None = None,
    ) -> None:
        self.node_id = node_id
        self.bootstrap_servers = f"127.0.0.1:{port}"
        self.log_file = directory / "kafka.log"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._properties = properties(len(voters)) | {
            "node.id": str(node_id),
            "controller.quorum.voters": ",".join(f"{node}@127.0.0.1:{number}" for node, number in voters.items()),
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{voters[node_id]}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "log.dirs": str(directory / "data"),
            **(extra or {}),
        }

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of the live process. Raises RuntimeError when there is none."""
        if self._process is None or not self.running:
            raise RuntimeError("this broker does not run")
        return self._process.pid

    def start(self, wait: bool = True) -> None:
        """Start, or start again with the same ports and data, and wait until it answers. Raises KafkaStartError."""
        if self.running:
            return
        if not self._settings.exists():
            self._prepare()
        self._process = self._java("kafka.Kafka", str(self._settings))
        guardian.watch(self._process.pid)
        if wait:
            self.wait_ready()

    def wait_ready(self, brokers: int = 1) -> None:
        """Wait until it answers a metadata request with at least `brokers` live nodes. Raises KafkaStartError."""
        deadline = time.monotonic() + START_LIMIT_S
        while not (_accepts(self.bootstrap_servers) and live_brokers(self.bootstrap_servers) >= brokers):
            if not self.running:
                raise KafkaStartError(f"Kafka ended while starting:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise KafkaStartError(f"Kafka did not answer within {START_LIMIT_S:.0f} s:\n{self.log_tail()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it in order, by SIGTERM; safe twice and before start."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
            self._ended(self._process)

    def kill9(self) -> None:
        """End it at once, as a crash would; its data stays."""
        if self._process is not None:
            self._process.kill()
            self._ended(self._process)

    def restart(self) -> None:
        """Stop in order and start again, with the same ports and data."""
        self.stop()
        self.start()

    def log_tail(self, lines: int = 30) -> str:
        """The last lines it logged."""
        text = self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        guardian.forget(process.pid)

    @property
    def _settings(self) -> Path:
        return self._directory / "server.properties"

    def _prepare(self) -> None:
        """Write the settings and format the data directory, which KRaft wants done once before the first start."""
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / "log4j2.properties").write_text(LOGGING)
        self._settings.write_text("".join(f"{name}={value}\n" for name, value in self._properties.items()))
        tool = self._java("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._settings))
        if tool.wait(START_LIMIT_S) != 0:
            self._settings.unlink()
            raise KafkaStartError(f"Kafka's data directory could not be formatted:\n{self.log_tail()}")

    def _java(self, *arguments: str) -> subprocess.Popen[bytes]:
        jars = ":".join(map(str, kafka_jars.classpath()))
        logging = f"-Dlog4j2.configurationFile={self._directory / 'log4j2.properties'}"
        command = [str(kafka_jars.java()), *JVM_OPTIONS, logging, "-cp", jars, *arguments]
        with self.log_file.open("ab") as log:
            # A session of its own: a Ctrl-C in the terminal must not reach the broker before the tests are done.
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)  # noqa: S603 - our words


class KafkaCluster:
    """`nodes` brokers that know each other, each with a directory below `directory`."""

    def __init__(self, directory: Path, nodes: int = 1, extra: Mapping[str, str] | None = None) -> None:
        ports = free_ports(2 * nodes)
        voters = {number + 1: ports[nodes + number] for number in range(nodes)}
        self.nodes = tuple(
            KafkaBroker(directory / f"node{node}", node, ports[node - 1], voters, extra) for node in voters
        )

    @property
    def bootstrap_servers(self) -> str:
        """Addresses of all nodes."""
        return ",".join(node.bootstrap_servers for node in self.nodes)

    def start(self) -> None:
        """Start the nodes that do not run and wait until all have joined. Raises KafkaStartError."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(lambda node: node.start(wait=False), self.nodes))
        for node in self.nodes:
            node.wait_ready(len(self.nodes))

    def stop(self) -> None:
        """End all nodes; safe twice. A lone survivor cannot hand over to anybody, so all are told at once."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(KafkaBroker.stop, self.nodes))

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listened on just now, and that the system gives to nobody by itself.

    A broker binds its ports seconds later, and anew after it was killed: by then one of the system's own choice may be
    another's.
    """
    rng = random.SystemRandom()
    ports: set[int] = set()
    while len(ports) < count:
        port = rng.randrange(*PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.add(port)
    return list(ports)


def live_brokers(bootstrap_servers: str) -> int:
    """How many brokers a metadata request tells of; 0 when there is no answer."""
    with ThreadPoolExecutor(1) as pool:  # a loop of its own, since the caller's thread may be running one
        return pool.submit(lambda: asyncio.run(_count_brokers(bootstrap_servers))).result()


async def _count_brokers(bootstrap_servers: str) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=5_000)
    try:
        await admin.start()
        return len((await admin.describe_cluster())["brokers"])
    except (KafkaError, OSError):
        return 0
    finally:
        await admin.close()


def _accepts(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True
