"""What every Kafka client of ours needs: how to connect, what the cluster has, and whose fault an error is.

Shared by the packages that read and write Kafka, which do not know each other.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import ConsumerRecord, TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.helpers import create_ssl_context
from aiokafka.protocol.metadata import MetadataRequest

from streamdex.config import KafkaSettings
from streamdex.errors import AccountFault, ConfigurationError, Service, ServiceFault
from streamdex.model import Partition, Record

PROBE_TIMEOUT_MS = 5_000
PROBE_LIMIT_S = 15.0
# A new cluster makes the topic of the groups' offsets at the first question for them, or the coordinator moves.
COORDINATOR_COMES = (
    errors.GroupCoordinatorNotAvailableError,
    errors.GroupLoadInProgressError,
    errors.NotCoordinatorForGroupError,
)
ASK_AGAIN_S = 0.2
ADMIN_TIMEOUT_MS = 15_000
ADMIN_LIMIT_S = 30.0  # the requests' own limits add up over brokers, handshakes and retries
CLOSE_LIMIT_S = 3.0
TOO_SLOW = "the brokers take too long to answer"


class TopicFacts(NamedTuple):
    """What the cluster says of a topic."""

    partitions: int
    replication: int


class ClusterFacts(NamedTuple):
    """The cluster's id, and the topics that this user may see."""

    cluster_id: str
    topics: Mapping[str, TopicFacts]


class _Refusal(NamedTuple):
    """An error that only a person can fix."""

    what: str
    where: str
    fix: str


_CREDENTIALS = _Refusal(
    "Kafka refuses the credentials", "kafka.sasl_username", "Check kafka.sasl_username and kafka.sasl_password."
)
_MECHANISM = _Refusal(
    "the brokers do not offer this SASL mechanism", "kafka.sasl_mechanism", "Set it to one the brokers have enabled."
)
_TOO_LARGE = _Refusal(
    "a record is larger than its topic takes",
    "kafka.dead_letter_topic",
    "Raise max.message.bytes of the dead-letter topic (kafka-configs --alter).",
)

# Every error that means "fix something"; all others are the service's, and they pass with time.
_REFUSALS: Mapping[type[Exception], _Refusal] = {
    errors.AuthenticationFailedError: _CREDENTIALS,
    errors.SaslAuthenticationFailed: _CREDENTIALS,
    errors.AuthenticationMethodNotSupported: _MECHANISM,
    errors.UnsupportedSaslMechanismError: _MECHANISM,
    errors.IllegalSaslStateError: _Refusal(
        "the listener knows no SASL", "kafka.security_protocol", "Set it to what the listener at this port speaks."
    ),
    errors.TopicAuthorizationFailedError: _Refusal(
        "this user may not use the topic", "kafka.topics", "Grant Read on the topics, Write on the dead-letter topics."
    ),
    errors.GroupAuthorizationFailedError: _Refusal(
        "this user may not use the consumer group", "kafka.group_id", "Grant Read on the group."
    ),
    errors.ClusterAuthorizationFailedError: _Refusal(  # asked for by the producer of dead letters, before it writes
        "this user may not write dead letters",
        "kafka.dead_letter_topic",
        "Grant Write on the dead-letter topics; before Kafka 2.8 also IdempotentWrite on the cluster.",
    ),
    errors.InvalidGroupIdError: _Refusal(
        "the brokers refuse the name of the group", "kafka.group_id", "Choose another name."
    ),
    errors.InconsistentGroupProtocolError: _Refusal(
        "other members of the group divide partitions in another way",
        "kafka.group_id",
        "Choose a group that only streamdex uses.",
    ),
    errors.InvalidSessionTimeoutError: _Refusal(
        "the brokers refuse the session timeout",
        "kafka.session_timeout_s",
        "Choose one between the brokers' group.min.session.timeout.ms and group.max.session.timeout.ms.",
    ),
    errors.InvalidTopicError: _Refusal(
        "the brokers refuse the name of a topic",
        "kafka.topics",
        "Use letters, digits, dots, underscores and hyphens, at most 249.",
    ),
    errors.PolicyViolationError: _Refusal(
        "a policy of the cluster forbids that", "kafka", "Ask who runs the cluster, or create the topic yourself."
    ),
    errors.UnsupportedVersionError: _Refusal(
        "the brokers are too old", "kafka.bootstrap_servers", "Use Apache Kafka 2.1 or newer."
    ),
    errors.IncompatibleBrokerVersion: _Refusal(
        "the brokers are too old", "kafka.bootstrap_servers", "Use Apache Kafka 2.1 or newer."
    ),
    errors.MessageSizeTooLargeError: _TOO_LARGE,
    errors.RecordListTooLargeError: _TOO_LARGE,
    errors.UnknownTopicOrPartitionError: _Refusal(
        "a topic is not there (any more)",
        "kafka.topics",
        "Create it, or grant Read on it (Write on a dead-letter topic).",
    ),
}


def as_fault(error: Exception) -> ServiceFault | AccountFault:
    """Whose fault it is, seen while running. Decided by type alone; the error's own words are left out."""
    refusal = _REFUSALS.get(type(error))
    if refusal is not None:
        return AccountFault(Service.KAFKA, refusal.what, f"{refusal.fix} ({refusal.where})")
    return ServiceFault(Service.KAFKA, f"Kafka: {type(error).__name__}")


def at_start(error: Exception) -> ServiceFault | ConfigurationError:
    """Whose fault it is, seen at the start, when a person is there to fix the settings."""
    refusal = _REFUSALS.get(type(error))
    if refusal is not None:
        return ConfigurationError(*refusal)
    return ServiceFault(Service.KAFKA, f"Kafka: {type(error).__name__}")


def as_record(one: ConsumerRecord) -> Record:
    """aiokafka's record as a plain value; bytes are shared, not copied."""
    return Record(one.topic, one.partition, one.offset, one.timestamp, one.key, one.value, one.headers)


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments that all of aiokafka's clients take. Secrets are read again, so a rotated one takes effect.

    Raises ConfigurationError for key files, passwords or addresses that cannot be used.
    """
    _check_addresses(settings.bootstrap_servers)
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "client_id": "streamdex",
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = _ssl_context(settings)
    if settings.security_protocol.startswith("SASL"):
        options |= _sasl(settings)
    return options


def _check_addresses(bootstrap_servers: str) -> None:
    try:
        complete = all(host for host, _, _ in collect_hosts(bootstrap_servers))
    except ValueError:
        complete = False
    if not complete:
        fix = "Write host:port, several with commas."
        raise ConfigurationError("the brokers' addresses cannot be read", "kafka.bootstrap_servers", fix)


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    files = {
        "kafka.ssl_cafile": settings.ssl_cafile,
        "kafka.ssl_certfile": settings.ssl_certfile,
        "kafka.ssl_keyfile": settings.ssl_keyfile,
    }
    for where, file in files.items():
        _check_readable(file, where)
    try:
        context: ssl.SSLContext = create_ssl_context(
            cafile=settings.ssl_cafile,
            certfile=settings.ssl_certfile,
            keyfile=settings.ssl_keyfile,
            password=lambda: "",  # an encrypted key would otherwise make OpenSSL ask on the terminal, and wait
        )
    except ssl.SSLError:
        named = " or ".join(where for where, file in files.items() if file) or "kafka.security_protocol"
        fix = "Give PEM files: the authority, the certificate, and the key that belongs to it, unencrypted."
        raise ConfigurationError("a certificate or key cannot be used", named, fix) from None
    return context


def _check_readable(file: Path | None, where: str) -> None:
    if file is None:
        return
    try:
        file.read_bytes()
    except OSError as error:
        fix = "Give a PEM file that this user may read."
        raise ConfigurationError(f"the file cannot be read: {error.strerror}", where, fix) from None


def _sasl(settings: KafkaSettings) -> dict[str, Any]:
    password = settings.read_password()
    if not settings.sasl_username or not password:
        fix = "Set kafka.sasl_username and kafka.sasl_password (or kafka.sasl_password_file)."
        raise ConfigurationError("SASL needs a user and a password", "kafka.sasl_username", fix)
    return {
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": password,
    }


@asynccontextmanager
async def administered(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client for some short questions to the cluster; all of them together are limited in time.

    What fails inside comes out as ConfigurationError or ServiceFault.
    """
    options = client_options(settings)
    admin = AIOKafkaAdminClient(request_timeout_ms=ADMIN_TIMEOUT_MS, **options)
    try:
        async with asyncio.timeout(ADMIN_LIMIT_S):
            await admin.start()
            yield admin
    except errors.KafkaConnectionError:
        raise await connection_fault(settings) from None
    except TimeoutError:
        raise ServiceFault(Service.KAFKA, TOO_SLOW) from None
    except errors.KafkaError as error:
        raise at_start(error) from None
    finally:
        await finished_in_time(admin.close(), CLOSE_LIMIT_S)


async def survey(settings: KafkaSettings, topics: Iterable[str]) -> ClusterFacts:
    """What the cluster has of these topics; none is created by asking. Raises ConfigurationError or ServiceFault."""
    wanted = frozenset(topics)
    async with administered(settings) as admin:
        # All topics are listed, since asking by name makes a broker create what is missing, if it may.
        found = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics()}
        cluster = await admin.describe_cluster()
    facts = {
        name: TopicFacts(len(partitions), max((len(one["replicas"]) for one in partitions), default=1))
        for name, partitions in found.items()
        if name in wanted and partitions
    }
    return ClusterFacts(cluster["cluster_id"] or "", facts)


async def survey_all(settings: KafkaSettings, topics: Collection[str]) -> ClusterFacts:
    """The same, where none of them may be missing. Raises ConfigurationError or ServiceFault."""
    facts = await survey(settings, topics)
    for topic in sorted(set(topics) - facts.topics.keys()):
        where = "kafka.topics" if topic in settings.topics else "kafka.dead_letter_topic"
        fix = "Check its name; create it (kafka-topics --create), or grant this user Read on it."
        raise ConfigurationError(f"the topic {topic} is not there", where, fix)
    return facts


async def committed_offsets(settings: KafkaSettings, partitions: Iterable[Partition]) -> dict[Partition, int]:
    """What the group has committed of these, where it has, asked with a client of its own.

    Raises ConfigurationError or ServiceFault.
    """
    # By name: asked for all that the group has, the embedded broker answers with nothing that can be read.
    wanted = [TopicPartition(*partition) for partition in partitions]
    if not wanted:
        return {}
    async with administered(settings) as admin:
        found: Mapping[TopicPartition, Any] = {}
        while not found:  # an answer that was refused as a whole tells of none, as while a coordinator loads its groups
            with contextlib.suppress(*COORDINATOR_COMES):
                found = await admin.list_consumer_group_offsets(settings.group_id, partitions=wanted)
            if not found:
                await asyncio.sleep(ASK_AGAIN_S)
    return {Partition(*each): at.offset for each, at in found.items() if at.offset >= 0}


async def connection_fault(settings: KafkaSettings) -> ServiceFault | ConfigurationError:
    """Why no broker could be reached. aiokafka writes that to its log alone, so each broker is tried once more."""
    options = client_options(settings)
    fault: ServiceFault | ConfigurationError = ServiceFault(Service.KAFKA, "no broker answers")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PROBE_LIMIT_S):
            for host, port, _ in collect_hosts(options.pop("bootstrap_servers")):
                try:
                    await _probe(host, port, options)
                except (TimeoutError, OSError, errors.KafkaError) as error:
                    fault = _probe_fault(error, f"{host}:{port}", settings)
                    if isinstance(fault, ConfigurationError):
                        break
                else:
                    return ServiceFault(Service.KAFKA, f"the broker at {host}:{port} has only just come up")
    return fault


async def _probe(host: str, port: int, options: Mapping[str, Any]) -> None:
    """Connect and ask something: a listener may shake hands with whoever comes, and refuse at the first question."""
    connection = await create_conn(host, port, request_timeout_ms=PROBE_TIMEOUT_MS, **options)
    try:
        await connection.send(MetadataRequest([]))
    finally:
        connection.close()


def _probe_fault(error: Exception, address: str, settings: KafkaSettings) -> ServiceFault | ConfigurationError:
    if isinstance(error, ssl.SSLCertVerificationError):
        fix = "Set it to the authority that signed the brokers' certificates, and use the name they stand for."
        return ConfigurationError(f"the certificate of {address} is not trusted", "kafka.ssl_cafile", fix)
    if isinstance(error, ssl.SSLError):
        fix = "Check that this listener speaks TLS, and that it takes this client's certificate."
        return ConfigurationError(f"no TLS with {address}", "kafka.security_protocol", fix)
    if isinstance(error.__cause__, ssl.SSLError):  # after the handshake: in TLS 1.3 the broker judges us last
        fix = "Set it, and kafka.ssl_keyfile, to a certificate that an authority of the brokers' has signed."
        what = "refuses this client's certificate" if settings.ssl_certfile else "wants a client certificate"
        return ConfigurationError(f"the broker at {address} {what}", "kafka.ssl_certfile", fix)
    if type(error) in _REFUSALS:
        return at_start(error)
    if isinstance(error, errors.KafkaError | ConnectionResetError | TimeoutError):
        hint = f"is {settings.security_protocol} (kafka.security_protocol) what this listener speaks?"
        return ServiceFault(Service.KAFKA, f"the broker at {address} connects but does not answer; {hint}")
    return ServiceFault(Service.KAFKA, f"no broker at {address}: {type(error).__name__}")


async def start_client(
    kafka: Any, stop: Callable[[], Awaitable[object]], settings: KafkaSettings, limit_s: float
) -> None:
    """Connect one of aiokafka's clients; one that cannot is stopped. Raises ConfigurationError or ServiceFault."""
    try:
        async with asyncio.timeout(limit_s):
            await kafka.start()
    except BaseException as error:  # a stop while connecting, too
        await stop()
        if isinstance(error, TimeoutError):
            raise ServiceFault(Service.KAFKA, TOO_SLOW) from None
        if isinstance(error, errors.KafkaError):
            fault = at_start(error)
            raise (await connection_fault(settings) if isinstance(fault, ServiceFault) else fault) from None
        raise


async def finished_in_time(action: Awaitable[Any], limit_s: float) -> bool:
    """Whether the action came to its end in time, without an exception; it is cancelled otherwise. Never raises.

    For stopping aiokafka's clients, which hang or raise a bare CancelledError when the broker is down.
    """
    task = asyncio.ensure_future(action)
    done, _ = await asyncio.wait({task}, timeout=limit_s)
    if not done:
        task.cancel()
        await asyncio.wait({task}, timeout=1.0)
        return False
    with contextlib.suppress(asyncio.CancelledError):
        return task.exception() is None
    return False
