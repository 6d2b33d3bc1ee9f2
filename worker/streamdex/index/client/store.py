"""Requests to one collection and its manifests, each with what all need: waiting, time limits, consistency."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from qdrant_client import grpc as q

from streamdex.errors import SuspectFault, TooLarge
from streamdex.index.client.connection import Connection
from streamdex.index.client.faults import as_account_fault, refuse_unfinished
from streamdex.index.conditions import add, has_id
from streamdex.index.encoding.requests import with_ids, with_operations, with_points

READ_IDS = 4096  # ids asked for in one request
SCROLL_PAGE = 512


@dataclass(frozen=True, slots=True)
class Names:
    """The physical collections that are written. An alias may be switched while we write; these cannot."""

    points: str
    manifests: str


class CollectionStore:
    """Reads and writes. A `replicated` collection is written in strong order and read by majority."""

    def __init__(self, connection: Connection, names: Names, replicated: bool) -> None:
        self.names = names
        self._connection = connection
        self._replicated = replicated

    async def update(self, collection: str, operations: Sequence[Sequence[bytes]]) -> None:
        """Apply the operations (see `requests.py`) in order; Qdrant stops at the first that fails.

        Raises SuspectFault where the content is refused: the caller knows whether a record can be at fault.
        """
        request = self._written(q.UpdateBatchPoints(), collection)
        response = await self._connection.points("UpdateBatch", with_operations(request, operations))
        refuse_unfinished("UpdateBatch", response.result, expected=len(operations))

    async def upsert(self, collection: str, points: Iterable[bytes], guard: Callable[[q.Filter], None]) -> None:
        """Upsert points (see `requests.py`) under the guard that `guard` fills. Raises SuspectFault if refused."""
        request = self._written(q.UpsertPoints(), collection)
        guard(request.update_filter)
        response = await self._connection.points("Upsert", with_points(request, points))
        refuse_unfinished("Upsert", (response.result,))

    async def delete(self, collection: str, choose: Callable[[q.Filter], None]) -> None:
        """Delete the points that `choose` puts into the filter."""
        request = self._written(q.DeletePoints(), collection)
        choose(request.points.filter)
        await self._delete(request)

    async def delete_ids(self, collection: str, ids: Iterable[str]) -> None:
        """Delete points by their ids."""
        request = self._written(q.DeletePoints(), collection)
        add = request.points.points.ids.add
        for point_id in ids:
            add().uuid = point_id
        await self._delete(request)

    async def _delete(self, request: Any) -> None:
        try:
            response = await self._connection.points("Delete", request)
        except SuspectFault as fault:
            raise as_account_fault(fault) from None
        refuse_unfinished("Delete", (response.result,))

    async def get(self, collection: str, ids: Sequence[str], fields: Sequence[str] = ()) -> dict[str, Any]:
        """By id, the payloads of those points that are there: with these fields, or all of them when none are named.

        No ids, no request.
        """
        found: dict[str, Any] = {}
        for start in range(0, len(ids), READ_IDS):
            found.update(await self._get(collection, ids[start : start + READ_IDS], fields))
        return found

    async def _get(self, collection: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, Any]:
        request = self._read(q.GetPoints(), collection, fields)
        try:
            response = await self._connection.points("Get", with_ids(request, ids))
        except TooLarge:
            if len(ids) == 1:
                raise
            middle = len(ids) // 2
            return {
                **await self._get(collection, ids[:middle], fields),
                **await self._get(collection, ids[middle:], fields),
            }
        except SuspectFault as fault:
            raise as_account_fault(fault) from None
        asked = set(ids)
        return {uuid: point.payload for point in response.result if (uuid := point.id.uuid) in asked}

    async def scroll(
        self, collection: str, choose: Callable[[q.Filter], None] | None = None, page: int = SCROLL_PAGE
    ) -> AsyncIterator[Any]:
        """All points that `choose` puts into the filter, in the order of their ids, page by page, without vectors."""
        request = self._read(q.ScrollPoints(), collection, ())
        request.limit = page
        request.with_vectors.enable = False
        if choose is not None:
            choose(request.filter)
        while True:
            try:
                response = await self._connection.points("Scroll", request)
            except SuspectFault as fault:
                raise as_account_fault(fault) from None
            for point in response.result:
                yield point
            if not response.HasField("next_page_offset"):
                return
            request.offset.CopyFrom(response.next_page_offset)

    async def count(self, collection: str, choose: Callable[[q.Filter], None] | None = None) -> int:
        """About how many points there are that `choose` puts into the filter."""
        request = q.CountPoints(collection_name=collection, exact=False, timeout=self._connection.server_timeout_s)
        if choose is not None:
            choose(request.filter)
        try:
            response = await self._connection.points("Count", request)
        except SuspectFault as fault:
            raise as_account_fault(fault) from None
        return int(response.result.count)

    async def query(self, collection: str, limit: int, fill: Callable[[Any], None]) -> list[Any]:
        """The nearest points to the vector that `fill` puts into the query, best first, with their payload."""
        request = self._read(q.QueryPoints(), collection, ())
        request.limit = limit
        fill(request.query)
        try:
            response = await self._connection.points("Query", request)
        except SuspectFault as fault:
            raise as_account_fault(fault) from None
        return list(response.result)

    def _written(self, request: Any, collection: str) -> Any:
        request.collection_name = collection
        request.wait = True
        request.timeout = self._connection.server_timeout_s
        if self._replicated:
            request.ordering.type = q.Strong
        return request

    def _read(self, request: Any, collection: str, fields: Sequence[str]) -> Any:
        request.collection_name = collection
        request.timeout = self._connection.server_timeout_s
        if fields:
            request.with_payload.include.fields.extend(fields)
        else:
            request.with_payload.enable = True
        if self._replicated:
            request.read_consistency.type = q.Majority
        return request


def by_ids(ids: Iterable[str]) -> Callable[[q.Filter], None]:
    """Chooses the points of these ids."""

    def choose(which: q.Filter) -> None:
        add(which, must=(has_id(ids),))

    return choose


def by_keyword(field: str, *values: str) -> Callable[[q.Filter], None]:
    """Chooses the points whose field holds one of the values."""

    def choose(which: q.Filter) -> None:
        condition = which.must.add().field
        condition.key = field
        condition.match.keywords.strings.extend(values)

    return choose
