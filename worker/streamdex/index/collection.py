"""Set-up: the collection, its manifests, alias and payload indexes are made where they are missing, else checked.

`qdrant.collection` is an alias for `<name>__1`, so that a new collection can be built beside it and switched to; a
plain collection of that name is used as it is. Every step may be done by two workers at once: whoever comes second
finds it done.
"""

from typing import Any, NamedTuple

from qdrant_client import grpc as q

from streamdex.config import QdrantSettings
from streamdex.errors import ConfigurationError, SuspectFault
from streamdex.index.client.connection import Connection
from streamdex.index.client.faults import as_account_fault, refuse_unfinished
from streamdex.index.client.store import Names
from streamdex.index.encoding.values import name_of
from streamdex.index.guards import DOCUMENT_ID, Guards
from streamdex.index.schema.manifests import KIND, TOMBSTONE_UNTIL
from streamdex.telemetry import COLLECTION_CREATED, COLLECTION_DIFFERS, emit

MANIFESTS_SUFFIX = "__manifests"
FIRST_SUFFIX = "__1"
OTHER_NAME = "Set it to a name that is not in use: the worker makes the collection."
# The way to a collection that is made otherwise than the one in use.
_FILLS = "which fills a new collection from the log and switches to it"
REFILL = f"run streamdex reindex, {_FILLS}"
REFILL_SAME = f"run streamdex reindex --from-scratch, {_FILLS}"  # where the settings are those of the one in use

_DISTANCES = {"cosine": q.Cosine, "dot": q.Dot, "euclid": q.Euclid, "manhattan": q.Manhattan}
_FIELD_TYPES = {
    "keyword": (q.FieldTypeKeyword, q.Keyword),
    "integer": (q.FieldTypeInteger, q.Integer),
    "float": (q.FieldTypeFloat, q.Float),
    "bool": (q.FieldTypeBool, q.Bool),
    "datetime": (q.FieldTypeDatetime, q.Datetime),
    "text": (q.FieldTypeText, q.Text),
}
_FLOATS = (q.Default, q.Float32, q.Float16)


class CollectionMissing(ConfigurationError):
    """The collection is not there yet. Whoever only reads cannot go on; a worker that starts makes it."""


class Prepared(NamedTuple):
    """A collection that is ready: its physical names, and whether its shards have copies."""

    names: Names
    replicated: bool


class Setup:
    """Makes or checks one collection."""

    def __init__(self, connection: Connection, settings: QdrantSettings, dimension: int, guards: Guards) -> None:
        self._connection = connection
        self._settings = settings
        self._dimension = dimension
        self._guards = guards

    async def prepare(self, create: bool) -> Prepared:
        """Make what is missing, or with `create` false require that it is there.

        Raises ConfigurationError, and CollectionMissing (one of its kind) when it is required and not there.
        """
        name = self._settings.collection
        found = await self._named()
        if found is None and not create:
            raise CollectionMissing(
                f"there is no collection {name}", "qdrant.collection", "Start the worker first: it makes it."
            )
        points = found or name + FIRST_SUFFIX
        names = names_of(points)
        if create:
            await self.make(names)
        if found is None:
            # Last, so that whoever finds the alias finds all; and only where there is none: it may have been switched.
            await lead_alias(self._connection, name, names.points)
        info = await self._info(names.points)
        refuse_differences(info, self._settings, self._dimension)
        if not create and not await self._exists(names.manifests):
            raise CollectionMissing(
                f"the collection {name} has no manifests: no worker has written to it",
                "qdrant.collection",
                "Start the worker first: it makes them.",
            )
        self._warn_of_differences(names.points, info)
        if create:
            await self._create_indexes(names.points, info, self._point_indexes())
            await self._create_indexes(names.manifests, await self._info(names.manifests), self._manifest_indexes())
        return Prepared(names, info.config.params.replication_factor > 1)

    async def make(self, names: Names) -> None:
        """Make what is missing of these two, without an alias. Raises ConfigurationError when Qdrant refuses."""
        await self._create(names.manifests, _manifests_creation())
        await self._create(names.points, creation(self._settings, self._dimension))

    async def _named(self) -> str | None:
        """The plain collection of that name, or where the alias leads.

        Not by CollectionExists, which follows an alias that another worker has made a moment ago.
        """
        name = self._settings.collection
        if name in await plain_collections(self._connection):
            return name
        return (await aliases(self._connection)).get(name)

    async def _exists(self, name: str) -> bool:
        request = q.CollectionExistsRequest(collection_name=name)
        return bool((await self._connection.collections("CollectionExists", request)).result.exists)

    async def _create(self, name: str, request: Any) -> None:
        if await self._exists(name):
            return
        request.collection_name = name
        request.timeout = self._connection.server_timeout_s
        try:
            await self._connection.collections("Create", request)
        except SuspectFault as fault:
            if await self._exists(name):
                return  # another worker was faster
            raise ConfigurationError(
                f"Qdrant refuses to make the collection {name}: {fault.message}",
                "qdrant",
                "See the server's log; the settings of section qdrant decide what is asked for.",
            ) from None
        emit(COLLECTION_CREATED, collection=name)

    async def _info(self, name: str) -> Any:
        request = q.GetCollectionInfoRequest(collection_name=name)
        return (await self._connection.collections("Get", request)).result

    def _warn_of_differences(self, name: str, info: Any) -> None:
        differences = harmless_differences(info, self._settings)
        if differences:
            emit(COLLECTION_DIFFERS, collection=name, differences=differences)

    def _point_indexes(self) -> dict[str, str]:
        ours = {DOCUMENT_ID: "keyword"} | dict.fromkeys(self._guards.rank_fields, "integer")
        return dict(self._settings.payload_indexes) | ours

    def _manifest_indexes(self) -> dict[str, str]:
        """For our own filters: a server in strict mode refuses fields without an index."""
        return {KIND: "keyword", TOMBSTONE_UNTIL: "integer"} | dict.fromkeys(self._guards.rank_fields, "integer")

    async def _create_indexes(self, name: str, info: Any, wanted: dict[str, str]) -> None:
        """Create missing payload indexes; creating one that is there changes nothing."""
        there = info.payload_schema
        for field, kind in wanted.items():
            if field not in there:
                await self._create_index(name, field, kind)
            elif there[field].data_type != _FIELD_TYPES[kind][1]:
                found = name_of(q.PayloadSchemaType, there[field].data_type).lower()
                emit(COLLECTION_DIFFERS, collection=name, differences=[f"{field} is indexed as {found}, not as {kind}"])
        tenant = self._settings.tenant_key
        if tenant and KIND not in wanted and self._tenant_field(tenant) not in there:
            await self._create_index(name, self._tenant_field(tenant), "keyword", is_tenant=True)

    def _tenant_field(self, tenant_key: str) -> str:
        return f"{self._settings.metadata_key}.{tenant_key}"

    async def _create_index(self, name: str, field: str, kind: str, *, is_tenant: bool = False) -> None:
        request = q.CreateFieldIndexCollection(
            collection_name=name,
            wait=True,
            field_name=field,
            field_type=_FIELD_TYPES[kind][0],
            timeout=self._connection.server_timeout_s,
        )
        if is_tenant:
            request.field_index_params.keyword_index_params.is_tenant = True
        try:
            response = await self._connection.points("CreateFieldIndex", request)
        except SuspectFault as fault:
            raise ConfigurationError(
                f"Qdrant refuses the payload index on {field}: {fault.message}",
                "qdrant.payload_indexes",
                "Name a payload path and its kind.",
            ) from None
        refuse_unfinished("CreateFieldIndex", (response.result,))


def names_of(points: str) -> Names:
    """The collection of points with that of its manifests."""
    return Names(points, points + MANIFESTS_SUFFIX)


def _manifests_creation() -> Any:
    """The request that makes the collection without vectors."""
    return q.CreateCollection(vectors_config=q.VectorsConfig(params_map=q.VectorParamsMap()))


def creation(settings: QdrantSettings, dimension: int) -> Any:
    """The request that makes the points' collection; what no setting names is left to the server."""
    request = q.CreateCollection()
    vectors = request.vectors_config.params
    vectors.size = dimension
    vectors.distance = _DISTANCES[settings.distance]
    if settings.on_disk:
        vectors.on_disk = True
    if settings.quantization == "scalar":
        request.quantization_config.scalar.type = q.Int8
        request.quantization_config.scalar.always_ram = True
    elif settings.quantization == "binary":
        request.quantization_config.binary.always_ram = True
    if settings.hnsw_m is not None:
        request.hnsw_config.m = settings.hnsw_m
    if settings.hnsw_ef_construct is not None:
        request.hnsw_config.ef_construct = settings.hnsw_ef_construct
    for name in ("shard_number", "replication_factor", "write_consistency_factor"):
        if (value := getattr(settings, name)) is not None:
            setattr(request, name, value)
    return request


def refuse_differences(info: Any, settings: QdrantSettings, dimension: int) -> None:
    """Refuse a collection whose vectors are of another kind, length or distance. Raises ConfigurationError."""
    vectors = info.config.params.vectors_config
    where = "qdrant.collection"
    if vectors.WhichOneof("config") != "params" or vectors.params.HasField("multivector_config"):
        raise ConfigurationError(
            "the collection has named, sparse or multiple vectors, not one plain vector", where, OTHER_NAME
        )
    params = vectors.params
    if params.datatype not in _FLOATS:
        raise ConfigurationError("the collection stores vectors as integers", where, OTHER_NAME)
    if params.size != dimension:
        raise ConfigurationError(
            f"the collection holds vectors of {params.size} dimensions, the model makes {dimension}",
            "jina.dimensions",
            f"Set jina.dimensions={params.size} if the model can do that, or {REFILL}.",
        )
    if params.distance != _DISTANCES[settings.distance]:
        found = name_of(q.Distance, params.distance).lower()
        raise ConfigurationError(
            f"the collection compares by {found}, not by {settings.distance}",
            "qdrant.distance",
            f"Set qdrant.distance={found}, or {REFILL}.",
        )


def harmless_differences(info: Any, settings: QdrantSettings) -> list[str]:
    """What the settings ask for and the collection has otherwise; it works all the same."""
    config = info.config
    vectors = config.params.vectors_config.params
    quantized = config.quantization_config.WhichOneof("quantization") or "none"
    pairs = [
        ("on_disk", settings.on_disk or None, vectors.on_disk or vectors.memory == q.Cold),
        ("quantization", None if settings.quantization == "none" else settings.quantization, quantized),
        ("hnsw_m", settings.hnsw_m, config.hnsw_config.m),
        ("hnsw_ef_construct", settings.hnsw_ef_construct, config.hnsw_config.ef_construct),
        ("shard_number", settings.shard_number, config.params.shard_number),
        ("replication_factor", settings.replication_factor, config.params.replication_factor),
        ("write_consistency_factor", settings.write_consistency_factor, config.params.write_consistency_factor),
    ]
    return [
        f"{name} is {there}, not {wanted}" for name, wanted, there in pairs if wanted is not None and wanted != there
    ]


async def plain_collections(connection: Connection) -> frozenset[str]:
    """The names of the collections themselves, without aliases."""
    answer = await connection.collections("List", q.ListCollectionsRequest())
    return frozenset(str(collection.name) for collection in answer.collections)


async def aliases(connection: Connection) -> dict[str, str]:
    """Which collection each alias leads to."""
    answer = await connection.collections("ListAliases", q.ListAliasesRequest())
    return {str(each.alias_name): str(each.collection_name) for each in answer.aliases}


async def lead_alias(connection: Connection, alias: str, points: str) -> None:
    """Let an alias lead to a collection, from wherever it leads now, in one step.

    One action replaces an alias that is there, so a search finds either the old collection or the new one; deleting and
    creating it would be two, between which there is none. Two workers may do so at once: they name the same collection.
    """
    request = q.ChangeAliases(timeout=connection.server_timeout_s)
    request.actions.add().create_alias.CopyFrom(q.CreateAlias(collection_name=points, alias_name=alias))
    try:
        await connection.collections("UpdateAliases", request)
    except SuspectFault as fault:
        raise as_account_fault(fault) from None
