"""One working process for each `kafka.group_instance_id`: of two that have the same one, the newer works.

Kafka gives an id to whoever joins last with it, and fences whoever had it before. aiokafka names the id in its joins
alone: so the older process is told that nobody knows it, joins again, and takes the id back, in turns with the newer
one for ever, and both read everything. Therefore a process that lost its place looks before it joins again whether
another member has the id now, and stands aside for as long as that is so. A join whose answer was lost leaves a member
that is nobody; that is gone after a session timeout.

At a start nothing can be told: the member that is listed may be our own predecessor, dead for a second, and Kafka goes
on listing the client and host of whoever had the id first. So a process that starts takes the id, as one that replaces
another must.
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
    """Whether the broker made this member id for that instance id: it appends a UUID."""
    return member_id.startswith(instance_id) and _UUID.fullmatch(member_id, len(instance_id)) is not None


async def member_ids(settings: KafkaSettings) -> list[str]:
    """The members of the group, as its coordinator lists them. Raises ConfigurationError or ServiceFault."""
    async with administered(settings) as admin:
        (answer,) = await admin.describe_consumer_groups([settings.group_id])
        return [member[0] for group in answer.groups for member in group[5]]


class Instance:
    """The right of one consumer to its instance id."""

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
        """`own_id` tells the consumer's member id; `on_wait` hears each time that the wait is on purpose."""
        self._settings = settings
        self._health = health
        self._own_id = own_id
        self._on_wait = on_wait
        self._members = members
        self._sleep = sleep
        self._joined_as: str | None = None

    def joined(self) -> None:
        """The consumer has joined. By the time it has lost its place, it no longer knows as whom."""
        self._joined_as = self._own_id()

    async def wait_until_free(self) -> None:
        """Before another join: returns when no other member has our instance id, or when nobody can tell."""
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
