"""What a collection remembers of its writers, in manifests of our own (schema 2).

| kind | name of its id | holds |
|---|---|---|
| schema | `schema` | order, and the fingerprint of its vectors |
| generation | `generation:N` | number N and the digest of the cutting that has it |
| base | `base:TOPIC/PARTITION/EPOCH/CLUSTER` | the number that a log's offsets are added to |
| progress | `progress:` and the same | the settled offset of a log, and the timestamp of the record below it |

All but progress are inserted once and then read back: whoever comes second takes what the first one wrote. So two
workers that start at the same moment agree. A generation has a manifest of its own, not a place in one list, because a
list could only be appended to by comparing and swapping.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from types import NoneType
from typing import Any, NamedTuple

import orjson
from qdrant_client import grpc as q

from streamdex.errors import AccountFault, ConfigurationError, Service
from streamdex.index.bisect import send_all
from streamdex.index.client.store import CollectionStore, by_keyword
from streamdex.index.collection import REFILL, REFILL_SAME
from streamdex.index.conditions import Comparison, add, group, has_id
from streamdex.index.encoding.requests import NO_VECTORS, as_point
from streamdex.index.encoding.values import entry, get_all
from streamdex.index.schema.keys import bookkeeping_id
from streamdex.index.schema.manifests import KIND, SCHEMA, SCHEMA_ENTRY, refuse_other_schema
from streamdex.model import GENERATIONS, JsonObject, Order, Partition

_Fields = dict[str, tuple[type, ...]]

_LOG: _Fields = {"cluster": (str,), "topic": (str,), "partition": (int,), "epoch": (int,)}
_FIELDS: Mapping[str, _Fields] = {
    "schema": {"order": (str,), "fingerprint": (dict,)},
    "generation": {"number": (int,), "cutting": (str,)},
    "base": {**_LOG, "base": (int,)},
    "progress": {**_LOG, "offset": (int,), "timestamp": (int, NoneType)},
}

BaseKey = tuple[str, int, int]  # topic, partition, epoch


class LogId(NamedTuple):
    """One partition of one topic of one cluster, between two times that the topic was recreated."""

    cluster_id: str
    topic: str
    partition: int
    epoch: int


class Progress(NamedTuple):
    """A partition is settled below `offset`; `timestamp_ms` is of the record just below it, None where not known."""

    offset: int
    timestamp_ms: int | None


class Bookkeeping:
    """Reads and writes the manifests of the bookkeeping. `clock_ms` gives the time in epoch milliseconds."""

    def __init__(self, store: CollectionStore, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._clock_ms = clock_ms

    async def agree(self, order: Order, fingerprint: Mapping[str, Any]) -> None:
        """Remember order and fingerprint, or refuse when the collection remembers others. Raises ConfigurationError."""
        if not await self.check(order, fingerprint):
            mine = {"order": order.value, "fingerprint": _as_json(fingerprint)}
            await self._insert({bookkeeping_id("schema"): {KIND: "schema", **mine}})
            await self.check(order, fingerprint)

    async def check(self, order: Order, fingerprint: Mapping[str, Any]) -> bool:
        """Whether the collection remembers this order and fingerprint; False when it remembers none.

        Raises ConfigurationError when it remembers others.
        """
        try:
            found = await self._get(["schema"])
        except AccountFault as fault:  # a newer schema: at the start a person must fix it before anything runs
            raise ConfigurationError(fault.message, "qdrant.collection", fault.fix) from None
        for stored in found:
            _refuse_other_order(order, stored)
            _refuse_other_fingerprint(_as_json(fingerprint), stored)
        return bool(found)

    async def known_generation(self, cutting: str) -> int | None:
        """The number of a cutting's digest, None where the collection has never seen it. Writes nothing."""
        for item in await self._get(_generation_names()):
            if item["cutting"] == cutting:
                return int(item["number"])
        return None

    async def generation(self, cutting: str) -> int:
        """The number of a cutting's digest, in the order the collection first saw them.

        Raises ConfigurationError when all 64 are taken.
        """
        while True:
            known = {item["cutting"]: item["number"] for item in await self._get(_generation_names())}
            if cutting in known:
                return int(known[cutting])
            number = len(known)
            if number >= GENERATIONS:
                raise ConfigurationError(
                    f"the collection has seen {GENERATIONS} ways of cutting texts",
                    "chunk, mapping, qdrant.text_key, qdrant.metadata_key",
                    f"Go back to earlier settings, or {REFILL_SAME}.",
                )
            item = {KIND: "generation", "number": number, "cutting": cutting}
            await self._insert({bookkeeping_id(f"generation:{number}"): item})

    async def bases(
        self, cluster_id: str, epoch: int, ends: Mapping[Partition, int], *, keep: bool = True
    ) -> dict[BaseKey, int]:
        """All bases of a cluster's logs, older epochs included; those of `ends` are made where there is none yet.

        `ends` are the partitions' end offsets now: a new base lies above all sequences given out so far. Without `keep`
        the new ones are answered but not written: good for comparing, not for writing documents.
        """
        bases, settled = await self._logs()
        seen = {LogId(cluster_id, *partition, epoch): end for partition, end in ends.items()}
        reach = {log: max(seen.get(log, 0), settled.get(log, 0)) for log in bases.keys() | seen.keys()}
        new = sorted(seen.keys() - bases.keys())
        for log in new:
            bases[log] = next_base(bases, reach, self._clock_ms())
        if new and keep:
            await self._insert({_log_id("base", log): _log_item("base", log, base=bases[log]) for log in new})
            bases, _ = await self._logs()
        return {
            (log.topic, log.partition, log.epoch): base for log, base in bases.items() if log.cluster_id == cluster_id
        }

    async def _logs(self) -> tuple[dict[LogId, int], dict[LogId, int]]:
        """All bases, and all settled offsets."""
        bases: dict[LogId, int] = {}
        settled: dict[LogId, int] = {}
        async for found in self._store.scroll(self._store.names.manifests, by_keyword(KIND, "base", "progress")):
            item = _read(found.payload)
            if item[KIND] == "base":
                bases[_log_of(item)] = item["base"]
            elif item[KIND] == "progress":
                settled[_log_of(item)] = item["offset"]
        return bases, settled

    async def progress(
        self, cluster_id: str, epoch: int, partitions: Collection[Partition]
    ) -> dict[Partition, Progress]:
        """How far the collection has each partition; those it knows nothing of are left out."""
        names = [_log_name("progress", LogId(cluster_id, *partition, epoch)) for partition in partitions]
        found = await self._get(names)
        return {
            Partition(item["topic"], item["partition"]): Progress(item["offset"], item.get("timestamp"))
            for item in found
        }

    async def write_progress(self, cluster_id: str, epoch: int, progress: Mapping[Partition, Progress]) -> None:
        """Remember how far partitions are settled; a smaller offset than the one remembered changes nothing."""
        marks = [(LogId(cluster_id, *partition, epoch), mark) for partition, mark in progress.items()]
        await send_all(marks, self._send_progress)

    async def _send_progress(self, marks: Sequence[tuple[LogId, Progress]]) -> None:
        def keep_larger(guard: q.Filter) -> None:
            beyond = Comparison("offset", "gt")
            larger = [(has_id((_log_id("progress", log),)), beyond.with_(offset)) for log, (offset, _) in marks]
            add(guard, must_not=[group(must=both) for both in larger])

        points = [_point(_log_id("progress", log), _progress_item(log, mark)) for log, mark in marks]
        await self._store.upsert(self._store.names.manifests, points, keep_larger)

    async def _get(self, names: Sequence[str]) -> list[JsonObject]:
        ids = [bookkeeping_id(name) for name in names]
        found = await self._store.get(self._store.names.manifests, ids)
        return [_read(payload) for payload in found.values()]

    async def _insert(self, items: Mapping[str, JsonObject]) -> None:
        """Insert those that are not there yet; nothing that is there changes."""
        await send_all(list(items.items()), self._send_inserts)

    async def _send_inserts(self, items: Sequence[tuple[str, JsonObject]]) -> None:
        def insert_only(guard: q.Filter) -> None:
            # Every manifest has a schema, so no existing one passes. From 1.17 on `insert_only` would say the same.
            guard.must.add().is_empty.key = SCHEMA

        points = [_point(point_id, item) for point_id, item in items]
        await self._store.upsert(self._store.names.manifests, points, insert_only)


def next_base(bases: Mapping[LogId, int], reach: Mapping[LogId, int], now_ms: int) -> int:
    """A base above every sequence given out: above each base plus its log's reach, and above the clock."""
    return max([now_ms, *(base + reach.get(log, 0) for log, base in bases.items())]) + 1


def _as_json(fingerprint: Mapping[str, Any]) -> JsonObject:
    """As it comes back from the store: enumerations as their values, tuples as lists."""
    return dict(orjson.loads(orjson.dumps(dict(fingerprint))))


def _refuse_other_order(mine: Order, stored: JsonObject) -> None:
    if stored["order"] != mine.value:
        raise ConfigurationError(
            f"the collection was written in {stored['order']} order, not in {mine.value} order",
            "worker.order",
            f"Set worker.order={stored['order']}, or {REFILL}.",
        )


def _refuse_other_fingerprint(mine: JsonObject, stored: JsonObject) -> None:
    theirs = stored["fingerprint"]
    differing = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
    if differing:
        changes = ", ".join(f"{name} {theirs.get(name)} there, {mine.get(name)} here" for name in differing)
        raise ConfigurationError(
            f"the collection's vectors were made in another way: {changes}",
            "jina",
            f"Go back to the settings that it was made with, or {REFILL}.",
        )


def _generation_names() -> list[str]:
    return [f"generation:{number}" for number in range(GENERATIONS)]


def _log_name(kind: str, log: LogId) -> str:
    # A topic's name holds no slash, so that no two logs run into each other; the cluster's id comes last.
    return f"{kind}:{log.topic}/{log.partition}/{log.epoch}/{log.cluster_id}"


def _log_id(kind: str, log: LogId) -> str:
    return bookkeeping_id(_log_name(kind, log))


def _log_item(kind: str, log: LogId, **values: int) -> JsonObject:
    place = {"cluster": log.cluster_id, "topic": log.topic, "partition": log.partition, "epoch": log.epoch}
    return {KIND: kind, **place, **values}


def _progress_item(log: LogId, mark: Progress) -> JsonObject:
    timestamp = {} if mark.timestamp_ms is None else {"timestamp": mark.timestamp_ms}
    return _log_item("progress", log, offset=mark.offset, **timestamp)


def _log_of(item: JsonObject) -> LogId:
    return LogId(item["cluster"], item["topic"], item["partition"], item["epoch"])


def _point(point_id: str, item: JsonObject) -> bytes:
    return as_point(point_id, [SCHEMA_ENTRY, *[entry(*each) for each in item.items()]], NO_VECTORS)


def _read(payload: Any) -> JsonObject:
    """Raises AccountFault for one that another schema wrote, or that somebody has damaged: its kind says what it holds.

    Nothing may be assumed in its place: ranks and starts are derived from these.
    """
    refuse_other_schema(payload)
    item = get_all(payload)
    fields = _FIELDS.get(str(item.get(KIND)))
    if fields is None or any(type(item.get(name)) not in kinds for name, kinds in fields.items()):
        raise AccountFault(
            Service.QDRANT,
            "a manifest of what the collection remembers is damaged",
            f"Restore the collection and its manifests, or {REFILL_SAME}.",
        )
    return item
