"""Requests about collections and their aliases."""

from qdrant_client import grpc as pb
from qdrant_edge import PayloadSchemaType

from streamdex.standins.qdrant.refusals import QdrantRefusal, collection_missing, wrong_input
from streamdex.standins.qdrant.store import Collection, Store

_SCHEMA_TYPES = {
    PayloadSchemaType.Keyword: pb.PayloadSchemaType.Keyword,
    PayloadSchemaType.Integer: pb.PayloadSchemaType.Integer,
    PayloadSchemaType.Float: pb.PayloadSchemaType.Float,
    PayloadSchemaType.Geo: pb.PayloadSchemaType.Geo,
    PayloadSchemaType.Text: pb.PayloadSchemaType.Text,
    PayloadSchemaType.Bool: pb.PayloadSchemaType.Bool,
    PayloadSchemaType.Datetime: pb.PayloadSchemaType.Datetime,
    PayloadSchemaType.Uuid: pb.PayloadSchemaType.Uuid,
}


def info(collection: Collection) -> pb.CollectionInfo:
    """State, settings and payload indexes of a collection."""
    shard = collection.shard.info()
    schema = {
        field: pb.PayloadSchemaInfo(data_type=_SCHEMA_TYPES[index.data_type], points=index.points)
        for field, index in shard.payload_schema.items()
    }
    return pb.CollectionInfo(
        status=pb.Green,
        optimizer_status=pb.OptimizerStatus(ok=True),
        segments_count=shard.segments_count,
        points_count=shard.points_count,
        indexed_vectors_count=shard.indexed_vectors_count,
        payload_schema=schema,
        config=_config(collection.config),
    )


def _config(request: pb.CreateCollection) -> pb.CollectionConfig:
    """What was asked for, over the server's defaults."""
    config = pb.CollectionConfig(
        params=pb.CollectionParams(
            shard_number=request.shard_number or 1,
            on_disk_payload=request.on_disk_payload if request.HasField("on_disk_payload") else True,
            replication_factor=request.replication_factor or 1,
            write_consistency_factor=request.write_consistency_factor or 1,
        ),
        hnsw_config=pb.HnswConfigDiff(m=16, ef_construct=100, full_scan_threshold=10_000, max_indexing_threads=0),
        optimizer_config=pb.OptimizersConfigDiff(
            deleted_threshold=0.2,
            vacuum_min_vector_number=1000,
            default_segment_number=0,
            indexing_threshold=10_000,
            flush_interval_sec=5,
        ),
        wal_config=pb.WalConfigDiff(wal_capacity_mb=32, wal_segments_ahead=0),
        metadata=request.metadata,
    )
    config.hnsw_config.MergeFrom(request.hnsw_config)
    config.optimizer_config.MergeFrom(request.optimizers_config)
    if request.HasField("vectors_config"):
        config.params.vectors_config.CopyFrom(request.vectors_config)
    if request.HasField("sparse_vectors_config"):
        config.params.sparse_vectors_config.CopyFrom(request.sparse_vectors_config)
    if request.HasField("quantization_config"):
        config.quantization_config.CopyFrom(request.quantization_config)
    if request.HasField("strict_mode_config"):
        config.strict_mode_config.CopyFrom(request.strict_mode_config)
    return config


def update(store: Store, request: pb.UpdateCollection) -> None:
    """Merges changed settings into the collection's; they are reported, without other effect."""
    collection = store.resolve(request.collection_name)
    config = collection.config
    config.optimizers_config.MergeFrom(request.optimizers_config)
    config.hnsw_config.MergeFrom(request.hnsw_config)
    for field, value in request.params.ListFields():
        if field.name in ("replication_factor", "write_consistency_factor", "on_disk_payload"):
            setattr(config, field.name, value)
    for key, value in request.metadata.items():
        config.metadata[key].CopyFrom(value)
    store.remember(collection)


def exists(store: Store, name: str) -> bool:
    """Whether a collection or an alias has this name."""
    return name in store.collections or name in store.aliases


def change_aliases(store: Store, request: pb.ChangeAliases) -> None:
    """Carries out alias actions in their order.

    As on the real server, those before a refused one stay: a request of several actions is not atomic.
    """
    for action in request.actions:
        store.set_aliases(_changed(store, action))


def _changed(store: Store, action: pb.AliasOperations) -> dict[str, str]:
    aliases = dict(store.aliases)
    match action.WhichOneof("action"):
        case "create_alias":
            wanted = action.create_alias
            if wanted.collection_name not in store.collections:
                raise collection_missing(wanted.collection_name)
            if wanted.alias_name in store.collections:
                raise wrong_input(f"Collection `{wanted.alias_name}` already exists!")
            aliases[wanted.alias_name] = wanted.collection_name  # an existing alias is replaced in one step
        case "rename_alias":
            target = aliases.pop(action.rename_alias.old_alias_name, None)
            if target is None:
                raise _alias_missing(action.rename_alias.old_alias_name)
            aliases[action.rename_alias.new_alias_name] = target
        case "delete_alias":
            aliases.pop(action.delete_alias.alias_name, None)
        case _:
            raise wrong_input("Malformed alias action")
    return aliases


def _alias_missing(name: str) -> QdrantRefusal:
    return QdrantRefusal(collection_missing(name).code, f"Not found: Alias {name} does not exist!")


def describe_aliases(store: Store, collection_name: str | None = None) -> pb.ListAliasesResponse:
    """All aliases, or those of one collection."""
    return pb.ListAliasesResponse(
        aliases=[
            pb.AliasDescription(alias_name=alias, collection_name=target)
            for alias, target in sorted(store.aliases.items())
            if collection_name in (None, target)
        ]
    )
