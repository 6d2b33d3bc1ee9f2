"""The consumer as the rest of the program sees it."""

import asyncio
import time
from collections.abc import Iterable, Mapping

from streamdex.config import KafkaSettings
from streamdex.errors import AccountFault, ConfigurationError, Service, ServiceFault
from streamdex.intake.back_pressure import BackPressure
from streamdex.intake.consumer.membership import Assignments
from streamdex.intake.consumer.poller import Deliver
from streamdex.intake.consumer.session import Session, open_session
from streamdex.intake.consumer.supervisor import Supervisor
from streamdex.intake.consumer.watch import ConsumerRestart
from streamdex.kafka.client import survey_all
from streamdex.kafka.topic_reader import timestamps_at
from streamdex.model import Partition
from streamdex.telemetry import Health, Metrics


class Consumer:
    """Reads the topics as a member of the group, and commits explicit offsets alone.

    `start`, `run` until `stop_fetching`, `close`. A client that is stuck or dead is recreated in between.
    """

    def __init__(self, settings: KafkaSettings, back_pressure: BackPressure, health: Health, metrics: Metrics) -> None:
        self._settings = settings
        self._back_pressure = back_pressure
        self._health = health
        self._metrics = metrics
        self._stopping = asyncio.Event()
        self._session: Session | None = None
        self._partitions = 0
        self._cluster_id = ""
        self._opened_s = time.monotonic()

    @property
    def cluster_id(self) -> str:
        """The id of the Kafka cluster, known after `start`."""
        return self._cluster_id

    @property
    def all_partitions(self) -> int:
        """Partitions of all topics that are read, whoever has them; as known at the moment."""
        return max(self._partitions, self._session.all_partitions if self._session is not None else 0)

    @property
    def moved_s(self) -> float:
        """When Kafka was last polled, well or not, or a connection was begun, by the monotonic clock."""
        return max(self._opened_s, self._session.polled_s if self._session is not None else 0.0)

    def ends(self) -> dict[Partition, int | None]:
        """Where the log of each partition that is read ended at the last fetch; None before the first."""
        return self._session.ends() if self._session is not None else {}

    async def start(self) -> None:
        """Connect and look whether the topics are there; join nothing yet. May be called again after a fault.

        Raises ConfigurationError (missing topic, refused credentials, unusable key files) or ServiceFault.
        """
        facts = await survey_all(self._settings, self._settings.topics)
        self._cluster_id = facts.cluster_id
        self._partitions = sum(topic.partitions for topic in facts.topics.values())
        await self._open()

    async def _open(self) -> Session:
        self._opened_s = time.monotonic()
        self._session = await open_session(
            self._settings, self._partitions, self._back_pressure, self._health, self._metrics
        )
        return self._session

    async def run(self, deliver: Deliver, assignments: Assignments) -> None:
        """Join the group and deliver records until `stop_fetching`; after `start`, once.

        `deliver(partition, records, position)` is called with the records of a partition in order, and with where it is
        read next; without records when a partition was taken up, or markers alone moved the position. The records
        count against the back-pressure once whoever accepts them says so. Raises what `deliver` and the assignments
        raise, and no faults of Kafka's: those are waited out.
        """
        if self._session is None:
            raise RuntimeError("start comes before run")
        await Supervisor(
            self._open, lambda: self._work(deliver, assignments), self._stopping, self._health, self._metrics
        ).run(self._session)

    async def _work(self, deliver: Deliver, assignments: Assignments) -> ConsumerRestart | None:
        if self._session is None:  # closed meanwhile
            return None
        return await self._session.work(assignments, deliver, self._stopping)

    def stop_fetching(self) -> None:
        """Deliver nothing more; `run` ends. Safe twice, and before `start`."""
        self._stopping.set()

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit these offsets of our partitions, within seconds. Raises ServiceFault or AccountFault."""
        await self._connected().commit(offsets)

    async def log_ranges(self, partitions: Iterable[Partition]) -> Mapping[Partition, tuple[int, int]]:
        """(begin, end) offsets of each partition's log. Raises ServiceFault or AccountFault.

        With read_committed the end is that of the last transaction that has ended.
        """
        return await self._connected().log_ranges(partitions)

    async def timestamps(self, offsets: Mapping[Partition, int]) -> Mapping[Partition, int]:
        """The timestamps (ms) of the records at these offsets, where there are records.

        Raises ServiceFault or AccountFault.
        """
        try:
            return await timestamps_at(self._settings, offsets)
        except ConfigurationError as error:
            raise AccountFault(Service.KAFKA, error.what, error.fix) from None

    def _connected(self) -> Session:
        if self._session is None:
            raise ServiceFault(Service.KAFKA, "not connected")
        return self._session

    async def close(self) -> None:
        """Drain, then leave the group. Time-limited; safe twice and before `start`.

        The drain has the time that `revoked` takes, the rest a few seconds.
        """
        self._stopping.set()
        if self._session is not None:
            await self._session.close()  # still connected meanwhile: the drain ends with a commit
            self._session = None
