"""What this user may do on Kafka, as the brokers say: a missing right is found before it is needed.

The right to write dead letters would otherwise be missed at the first of them, perhaps after months. Nothing is written
or read to find out: since Kafka 2.3 brokers list the allowed operations (KIP-430), and confluent-kafka asks for them.
Where a broker does not say, nothing is held against the user.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Collection
from concurrent.futures import Future
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient

from streamdex.config import KafkaSettings
from streamdex.errors import ConfigurationError, Service, ServiceFault
from streamdex.kafka.client import (
    ADMIN_LIMIT_S,
    ASK_AGAIN_S,
    COORDINATOR_COMES,
    TOO_SLOW,
    administered,
    at_start,
    client_options,
    connection_fault,
)

REQUEST_LIMIT_S = 10.0
UNSUPPORTED = -165  # librdkafka's code where a broker does not know the question


class Right(StrEnum):
    """Operations that a broker allows or not, as messages name them; their names are those of `AclOperation`."""

    READ = "read"
    WRITE = "write to"


async def check_topics(settings: KafkaSettings, topics: Collection[str]) -> None:
    """Check that this user may read these topics. Raises ConfigurationError where not, or ServiceFault."""
    async with administered(settings) as admin:
        await refuse_without(admin, settings, Right.READ, topics)


async def check_group(settings: KafkaSettings) -> None:
    """Check that this user may join the group. Raises ConfigurationError where not, or ServiceFault."""
    async with administered(settings) as admin, _asking(admin, settings) as librdkafka:
        if librdkafka is not None and await _is_closed(librdkafka, settings):
            what = f"this user may not use the consumer group {settings.group_id}"
            raise ConfigurationError(what, "kafka.group_id", "Grant Read on the group.")


async def refuse_without(
    admin: AIOKafkaAdminClient, settings: KafkaSettings, right: Right, topics: Collection[str]
) -> None:
    """Raises ConfigurationError for the first of these topics for which a right is missing, or ServiceFault."""
    for topic in await topics_without(admin, settings, right, topics):
        where = "kafka.topics" if topic in settings.topics else "kafka.dead_letter_topic"
        what = f"this user may not {right.value} the topic {topic}"
        raise ConfigurationError(what, where, f"Grant {right.name.title()} on it.")


async def topics_without(
    admin: AIOKafkaAdminClient, settings: KafkaSettings, right: Right, topics: Collection[str]
) -> list[str]:
    """Those of these topics for which a right is missing, as far as brokers say. None is created by asking.

    Raises ConfigurationError or ServiceFault.
    """
    async with _asking(admin, settings) as librdkafka:
        if librdkafka is None or not topics:
            return []
        from confluent_kafka import TopicCollection  # noqa: PLC0415  # see `_asking`

        answers = librdkafka.describe_topics(
            TopicCollection(sorted(topics)), include_authorized_operations=True, request_timeout=REQUEST_LIMIT_S
        )
        found = {name: await _answer(future, settings) for name, future in answers.items()}
    return [name for name, described in found.items() if is_missing(right, described)]


def is_missing(right: Right, described: Any) -> bool:
    """Whether the allowed operations, where a broker names them, leave this right out.

    What is described may be described, so a set without that says nothing.
    """
    names = {operation.name for operation in getattr(described, "authorized_operations", None) or ()}
    return "DESCRIBE" in names and right.name not in names


async def _is_closed(librdkafka: Any, settings: KafkaSettings) -> bool:
    while True:
        (future,) = librdkafka.describe_consumer_groups(
            [settings.group_id], include_authorized_operations=True, request_timeout=REQUEST_LIMIT_S
        ).values()
        described = await _answer(future, settings)
        if not isinstance(described, int):
            return is_missing(Right.READ, described)
        fault = errors.for_code(described)
        if not issubclass(fault, COORDINATOR_COMES):
            raise at_start(fault())
        await asyncio.sleep(ASK_AGAIN_S)


async def _answer(future: "Future[Any]", settings: KafkaSettings) -> Any:
    """What was described; Kafka's error code where it refused; None where the broker does not know the question."""
    from confluent_kafka import KafkaException  # noqa: PLC0415  # see `_asking`

    try:
        return await asyncio.wrap_future(future)
    except KafkaException as error:
        code = int(error.args[0].code())
        if code == UNSUPPORTED:
            return None
        if code < 0:  # librdkafka's own: no broker can be reached, which it does not explain
            raise await connection_fault(settings) from None
        return code


@asynccontextmanager
async def _asking(admin: AIOKafkaAdminClient, settings: KafkaSettings) -> AsyncIterator[Any]:
    """confluent-kafka's AdminClient for as long as a check takes, or None where it would wait in vain.

    librdkafka waits for the controller, and its own mock cluster names one that is not there.
    """
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415  # 8 MiB of a worker's memory, needed once

    cluster = await admin.describe_cluster()
    controller = cluster["controller_id"]
    if controller >= 0 and controller not in {broker["node_id"] for broker in cluster["brokers"]}:
        yield None
        return
    client = await asyncio.to_thread(AdminClient, _librdkafka_options(settings), logger=logging.getLogger("librdkafka"))
    try:
        async with asyncio.timeout(ADMIN_LIMIT_S):
            yield client
    except TimeoutError:
        raise ServiceFault(Service.KAFKA, TOO_SLOW) from None
    finally:
        await asyncio.to_thread(client.__exit__, None, None, None)


def _librdkafka_options(settings: KafkaSettings) -> dict[str, str | int | float | bool]:
    """Our settings as librdkafka names them. Raises ConfigurationError as `client_options` does."""
    options = client_options(settings)
    found: dict[str, str | int | float | bool] = {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": options["client_id"],
        "security.protocol": settings.security_protocol,
        "log_level": 0,
    }
    if "sasl_mechanism" in options:
        found["sasl.mechanism"] = settings.sasl_mechanism
        found["sasl.username"] = options["sasl_plain_username"]
        found["sasl.password"] = options["sasl_plain_password"]
    if settings.security_protocol.endswith("SSL"):
        usual = ssl.get_default_verify_paths()  # as Python finds them; librdkafka knows no SSL_CERT_FILE
        files = {
            "ssl.ca.location": settings.ssl_cafile or usual.cafile or usual.capath,
            "ssl.certificate.location": settings.ssl_certfile,
            "ssl.key.location": settings.ssl_certfile and (settings.ssl_keyfile or settings.ssl_certfile),
        }
        found |= {name: str(file) for name, file in files.items() if file}
    return found
