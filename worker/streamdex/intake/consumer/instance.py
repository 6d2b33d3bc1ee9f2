"""One working process for each `kafka.group_instance_id`: of two that have the same one, the newer works.

Kafka gives the id to the process that joined last with it, and fences the older one. But aiokafka sends the id in its
joins alone. The older process therefore learns that it is an unknown member, joins again and takes the id back. The two
would go on like that for ever, and both would read everything. So a process that lost its place checks, before it joins
again, whether another member has the id now, and waits for as long as that is so. A join whose answer was lost leaves a
member that no process stands for; Kafka removes it after a session timeout.

A process that starts cannot check. The listed member may be its own predecessor, dead for a second, and Kafka goes on
listing the client and host of the process that had the id first. So a process that starts takes the id, as one that
replaces another must.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable

from streamdex.config import KafkaSettings
from streamdex.errors import StreamdexError
from streamdex.kafka.client import administered
from streamdex.telemetry import INSTANCE_TAKEN, Health

LOOK_EVERY_S = 2.0
LOOK_LIMIT_S = 5.0
HEALTH_NAME = "group instance"
TAKEN = (
    "another member of the group has this kafka.group_instance_id now, and does the work; "
    "give each replica its own, such as its pod's name, or stop one of the two"
)
_UUID = re.compile(r"-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def has_instance_id(member_id: str, instance_id: str) -> bool:
    """Whether this member id belongs to that instance id: the broker appends a UUID."""
    return member_id.startswith(instance_id) and _UUID.fullmatch(member_id, len(instance_id)) is not None


async def member_ids(settings: KafkaSettings) -> list[str]:
    """The members of the group, as its coordinator lists them. Raises ConfigurationError or ServiceFault."""
    async with administered(settings) as admin:
        (answer,) = await admin.describe_consumer_groups([settings.group_id])
        return [member[0] for group in answer.groups for member in group[5]]


class Instance:
    """Whether one consumer may use its instance id."""

    def __init__(
        self,
        settings: KafkaSettings,
        health: Health,
        own_id: Callable[[], str],
        on_wait: Callable[[], None],
        *,
        members: Callable[[KafkaSettings], Awaitable[Iterable[str]]] = member_ids,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`own_id` returns the consumer's member id. `on_wait` is called each time that it waits on purpose."""
        self._settings = settings
        self._health = health
        self._own_id = own_id
        self._on_wait = on_wait
        self._members = members
        self._sleep = sleep
        self._joined_as: str | None = None

    def joined(self) -> None:
        """The consumer has joined. Its member id is kept here, because aiokafka drops it when the place is lost."""
        self._joined_as = self._own_id()

    async def wait_until_free(self) -> None:
        """Before another join: returns when no other member has our instance id, or when the group cannot be asked."""
        instance_id = self._settings.group_instance_id
        if instance_id is None or self._joined_as is None:
            return
        while await self._is_taken(instance_id):
            self._health.hold(HEALTH_NAME, TAKEN, INSTANCE_TAKEN)
            self._on_wait()
            await self._sleep(LOOK_EVERY_S)
        self._health.release(HEALTH_NAME)

    async def _is_taken(self, instance_id: str) -> bool:
        try:
            async with asyncio.timeout(LOOK_LIMIT_S):  # a rebalance waits for us meanwhile
                members = await self._members(self._settings)
        except (StreamdexError, TimeoutError):
            return False
        return any(has_instance_id(one, instance_id) and one != self._joined_as for one in members)
