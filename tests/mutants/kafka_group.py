"""Kafka for the mutants' scenarios, in memory: a topic of two partitions, the group that reads it, the dead letters.

Rebalances are eager, as the worker's are: all members let go, then each is dealt its partitions. Commits are taken as
a broker takes them, from any member and also from one without a generation; `on_commit` judges them.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError

from harness.fake_aiokafka import FakeAIOKafka
from streamdex.kafka.client import ClusterFacts, TopicFacts
from streamdex.model import Partition, Record

TOPIC = "documents"
P, Q = Partition(TOPIC, 0), Partition(TOPIC, 1)
BORN_MS = 1_790_000_000_000
IDLE_S = 0.002


class Group:
    """The log, who owns what of it, what is committed, and the letters."""

    def __init__(self) -> None:
        self.log: dict[Partition, list[Record]] = {P: [], Q: []}
        self.offsets: dict[TopicPartition, list[int]] = {TopicPartition(*partition): [] for partition in self.log}
        self.committed: dict[Partition, int] = {}
        self.commits = 0
        self.polls = 0
        self.members: dict[str, Member] = {}
        self.owner: dict[Partition, Member | None] = dict.fromkeys(self.log)
        self.dead_letters: list[Record] = []
        self.letters_to_refuse = 0
        self.letters_refused = 0
        self.letter_error: type[Exception] | None = TopicAuthorizationFailedError  # None: it is never answered
        self.commit_error: Exception | None = None
        self.on_commit: Callable[[Member, Partition, int], None] = lambda *_: None

    def produce(self, partition: Partition, key: bytes, value: bytes | None, headers: Any = ()) -> None:
        """Append a record."""
        log = self.log[partition]
        log.append(Record(*partition, len(log), BORN_MS + len(log), key, value, headers))
        self.offsets[TopicPartition(*partition)].append(len(log) - 1)

    @property
    def settled(self) -> bool:
        """Whether everything is committed."""
        return all(self.committed.get(partition, 0) >= len(log) for partition, log in self.log.items())

    async def deal(self, dealt: Mapping[str, Iterable[Partition]]) -> None:
        """A rebalance: everybody lets go, and then gets what is dealt to them."""
        members = [member for member in self.members.values() if not member.dead and not member.expelled]
        await asyncio.gather(*(member.drain() for member in members))
        self.owner = dict.fromkeys(self.log)
        for name, partitions in dealt.items():
            self.members[name].take(list(partitions))

    async def survey(self, *_: object) -> ClusterFacts:
        """Stands in for the question what topics there are."""
        return ClusterFacts("cluster", {TOPIC: TopicFacts(len(self.log), 1)})

    async def timestamps(self, _: object, offsets: Mapping[Partition, int]) -> dict[Partition, int]:
        """Stands in for the question when records were written."""
        return {partition: self.log[partition][offset].timestamp_ms for partition, offset in offsets.items()}

    async def no_topics(self, *_: object, **__: object) -> list[object]:
        """Stands in for making the dead-letter topics."""
        return []

    def make_consumer(self, settings: Any, *_: object) -> "Member":
        """A consumer for the worker whose name stands in the brokers' address."""
        name = settings.bootstrap_servers.partition(":")[0]
        member = self.members[name] = Member(self)
        return member

    def make_producer(self, **_: object) -> "Producer":
        """A producer of dead letters."""
        return Producer(self)


class Member(FakeAIOKafka):
    """One consumer of the group."""

    def __init__(self, group: Group) -> None:
        super().__init__(topic=TOPIC)
        self.group = group
        self.logs = group.offsets
        self.positions = dict.fromkeys(group.offsets, 0)
        self.dead = False
        self.expelled = False
        self.fetched = 0  # records, since the last time that partitions came
        tasks = dict.fromkeys(("_coordination_task", "_heartbeat_task", "_commit_refresh_task"))
        self._coordinator = SimpleNamespace(generation=1, member_id="member", **tasks)

    def subscribe(self, _: object, listener: Any) -> None:
        self.listener = listener

    async def start(self) -> None:
        """Nothing to connect."""

    async def stop(self) -> None:
        """Nothing to close."""

    def partitions_for_topic(self, _: str) -> set[int]:
        return {at.partition for at in self.logs}

    async def beginning_offsets(self, asked: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(asked, 0)

    async def end_offsets(self, asked: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {at: len(self.logs[at]) for at in asked}

    async def committed(self, at: TopicPartition) -> int | None:
        return self.group.committed.get(Partition(*at))

    async def getmany(self, *asked: TopicPartition, **options: Any) -> dict[TopicPartition, list[ConsumerRecord]]:
        found = await super().getmany(*asked, **options)
        self.group.polls += 1
        self.fetched += sum(map(len, found.values()))
        if not found:
            await asyncio.sleep(IDLE_S)
        return found

    def record_at(self, at: TopicPartition, offset: int) -> ConsumerRecord:
        record = self.group.log[Partition(*at)][offset]
        place = (record.topic, record.partition, record.offset, record.timestamp_ms)
        return ConsumerRecord(*place, 0, record.key, record.value, None, 1, 1, record.headers)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        await asyncio.sleep(0)
        if self.dead:
            raise KafkaConnectionError
        if self.group.commit_error is not None:
            raise self.group.commit_error
        for at, offset in offsets.items():
            self.group.on_commit(self, Partition(*at), offset)
            self.group.committed[Partition(*at)] = offset
        self.group.commits += 1

    async def drain(self) -> None:
        """A rebalance begins: returns when the worker has let go of everything."""
        await self.listener.on_partitions_revoked([TopicPartition(*one) for one in self.owned])

    @property
    def owned(self) -> list[Partition]:
        """What the group has dealt to it."""
        return [partition for partition, owner in self.group.owner.items() if owner is self]

    def take(self, partitions: list[Partition]) -> None:
        """A rebalance ends."""
        self.fetched = 0
        for partition in partitions:
            self.group.owner[partition] = self
            self.positions[TopicPartition(*partition)] = self.group.committed.get(partition, 0)
        self.listener.on_partitions_assigned([TopicPartition(*partition) for partition in partitions])

    def expel(self) -> None:
        """The group gives up on the member, which is not told: as after a freeze longer than the session."""
        self.expelled = True
        self._coordinator.generation = -1
        for partition in self.owned:
            self.group.owner[partition] = None


class Producer:
    """What the dead letters go out through."""

    def __init__(self, group: Group) -> None:
        self._group = group

    async def start(self) -> None:
        """Nothing to connect."""

    async def stop(self) -> None:
        """Nothing to close."""

    async def partitions_for(self, _: str) -> set[int]:
        return {0, 1}

    async def send(
        self, topic: str, value: bytes | None, key: bytes | None, partition: int, headers: Any
    ) -> "asyncio.Future[None]":
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._group.letters_to_refuse:
            self._group.letters_to_refuse -= 1
            self._group.letters_refused += 1
            if self._group.letter_error is not None:
                acknowledged.set_exception(self._group.letter_error())
        else:
            dead_letters = self._group.dead_letters
            dead_letters.append(Record(topic, partition, len(dead_letters), BORN_MS, key, value, tuple(headers)))
            acknowledged.set_result(None)
        return acknowledged
