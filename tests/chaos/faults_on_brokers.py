"""Faults of Kafka: the broker ends and comes back, it refuses dead letters, and producers whose clocks are off."""

import asyncio
from collections.abc import Callable
from typing import Any

import confluent_kafka.admin

from chaos.stage import Stage
from chaos.traffic import Traffic

admin: Any = confluent_kafka.admin  # its types do not say what it exports
ALTER_LIMIT_S = 5.0
# What makes the topic refuse a record, by the setting that is changed for a while.
REFUSING = {"max.message.bytes": "64", "min.insync.replicas": "2"}


class _BrokerAway:
    """The broker ends, and is started again at the end."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._ours = False
        self._hits = 0

    async def start(self) -> bool:
        """End it; False while another fault has it."""
        if self._stage.broker_busy:
            return False
        self._stage.broker_busy = self._ours = True
        await asyncio.to_thread(self._end_it())
        self._hits = int(not self._stage.broker.running)
        return True

    def _end_it(self) -> Callable[[], None]:
        raise NotImplementedError

    async def hits(self) -> int:
        """Whether it was gone."""
        return self._hits

    async def end(self) -> None:
        """Start it again, and wait until it answers."""
        if self._ours:
            await asyncio.to_thread(self._stage.broker.start)
            self._stage.broker_busy = self._ours = False


class BrokerKilled(_BrokerAway):
    """By SIGKILL."""

    def _end_it(self) -> Callable[[], None]:
        return self._stage.broker.kill9


class BrokerRestarted(_BrokerAway):
    """In order, by SIGTERM."""

    def _end_it(self) -> Callable[[], None]:
        return self._stage.broker.stop


class DeadLettersRefused:
    """The dead-letter topic takes nothing, by a setting of it. What fired is what workers have complained of."""

    def __init__(self, stage: Stage, setting: str) -> None:
        self._stage = stage
        self._setting = setting
        self._said_before = 0
        self._set = False

    async def start(self) -> bool:
        """Change the setting; False while the broker is away."""
        if self._stage.broker_busy:
            return False
        self._said_before = self._complaints()
        self._set = True
        try:
            await self._alter(admin.AlterConfigOpType.SET)
        except confluent_kafka.KafkaException:
            return False
        return True

    async def hits(self) -> int:
        """How often workers told that the topic did not take a record."""
        return self._complaints() - self._said_before

    async def end(self) -> None:
        """Change it back, however often the broker is away meanwhile."""
        while self._set:
            try:
                await self._alter(admin.AlterConfigOpType.DELETE)
                self._set = False
            except confluent_kafka.KafkaException:
                await asyncio.sleep(0.5)

    def _complaints(self) -> int:
        logs = self._stage.run.workers.glob("*.log")
        return sum(log.read_bytes().count(b'"event":"dead_letter.refused"') for log in logs)

    async def _alter(self, operation: Any) -> None:
        entry = admin.ConfigEntry(self._setting, REFUSING[self._setting], incremental_operation=operation)
        topic = admin.ConfigResource(
            admin.ConfigResource.Type.TOPIC, self._stage.dead_letter_topic, incremental_configs=[entry]
        )
        await asyncio.to_thread(_altered, self._stage.broker.bootstrap_servers, topic)


def _altered(bootstrap_servers: str, topic: Any) -> None:
    # log_level 0: librdkafka would write to stderr that the broker is away, which it is on purpose
    client = admin.AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    for future in client.incremental_alter_configs([topic], request_timeout=ALTER_LIMIT_S).values():
        future.result()


class TimestampsOff:
    """A producer whose clock is wrong."""

    def __init__(self, traffic: Traffic, shift_s: int) -> None:
        self._traffic = traffic
        self._shift_ms = shift_s * 1000
        self._before = 0
        self._set = False

    async def start(self) -> bool:
        """Shift; False while it is shifted already."""
        if self._traffic.shift_ms:
            return False
        self._before = self._traffic.shifted
        self._traffic.shift_ms = self._shift_ms
        self._set = True
        return True

    async def hits(self) -> int:
        """How many records have a timestamp that is off."""
        return self._traffic.shifted - self._before

    async def end(self) -> None:
        """Shift no more."""
        if self._set:
            self._traffic.shift_ms = 0
            self._set = False
