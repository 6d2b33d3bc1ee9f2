"""Where collections live: one engine shard each, their aliases, and the directory that holds them."""

import json
import shutil
import tempfile
from pathlib import Path
from uuid import uuid4

import grpc
from qdrant_client import grpc as pb
from qdrant_edge import Distance, EdgeConfig, EdgeOptimizersConfig, EdgeShard, EdgeSparseVectorParams, EdgeVectorParams

from streamdex.standins.qdrant.refusals import QdrantRefusal, collection_missing, wrong_input

_DISTANCES = {
    pb.Cosine: Distance.Cosine,
    pb.Euclid: Distance.Euclid,
    pb.Dot: Distance.Dot,
    pb.Manhattan: Distance.Manhattan,
}
_CONFIG_FILE = "collection.pb"
_ALIASES_FILE = "aliases.json"


class Collection:
    """One collection: its shard, and the request that made it with later changes merged in.

    `sizes` are the dimensions of its dense vectors by name; None for a collection without any vectors, whose shard
    has one of one dimension, because the engine insists, and no point ever fills it.
    """

    __slots__ = ("config", "home", "operations", "shard", "sizes")

    def __init__(self, config: pb.CreateCollection, home: Path, shard: EdgeShard) -> None:
        self.config = config
        self.home = home
        self.shard = shard
        sizes = {name: params.size for name, params in _dense_vectors(config).items()}
        self.sizes = sizes if sizes or config.sparse_vectors_config.map else None
        self.operations = 0

    def remember(self) -> None:
        """Writes the configuration beside the shard, for the next start on the same directory."""
        (self.home / _CONFIG_FILE).write_bytes(self.config.SerializeToString())


class Store:
    """Collections and aliases by name.

    Given a directory, everything is still there at the next start, kill -9 included. Without one, a temporary
    directory is used and removed at close, and no write-ahead log is kept.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._durable = directory is not None
        self._root = directory or Path(tempfile.mkdtemp(prefix="qdrant-"))
        self.collections: dict[str, Collection] = {}
        self.aliases: dict[str, str] = {}
        if self._durable:
            self._root.mkdir(parents=True, exist_ok=True)
            self._load()

    def resolve(self, name: str) -> Collection:
        """The collection of that name or alias; refused with NOT_FOUND where there is none."""
        found = self.collections.get(self.aliases.get(name, name))
        if found is None:
            raise collection_missing(name)
        return found

    def create(self, config: pb.CreateCollection) -> Collection:
        """Makes a collection; refused where a collection or an alias of that name exists."""
        name = config.collection_name
        if name in self.collections:
            raise QdrantRefusal(grpc.StatusCode.ALREADY_EXISTS, f"Wrong input: Collection `{name}` already exists!")
        if name in self.aliases:
            raise wrong_input(f"Can't create collection with name {name}. Alias with the same name already exists")
        engine_config = _engine_config(config, wal_enabled=self._durable)
        home = self._root / uuid4().hex
        home.mkdir()
        collection = Collection(config, home, EdgeShard.create(str(home / "shard"), engine_config))
        if self._durable:
            collection.remember()
        self.collections[name] = collection
        return collection

    def delete(self, name: str) -> bool:
        """Removes a collection and its aliases; False where there is none. An alias is not followed."""
        collection = self.collections.pop(name, None)
        if collection is None:
            return False
        self.set_aliases({alias: target for alias, target in self.aliases.items() if target != name})
        collection.shard.close()
        shutil.rmtree(collection.home)
        return True

    def set_aliases(self, aliases: dict[str, str]) -> None:
        """Replaces all aliases at once."""
        self.aliases = aliases
        if self._durable:
            (self._root / _ALIASES_FILE).write_text(json.dumps(aliases))

    def remember(self, collection: Collection) -> None:
        """Notes a changed configuration, where the store outlives the process."""
        if self._durable:
            collection.remember()

    def close(self) -> None:
        """Closes every shard; safe twice."""
        for collection in self.collections.values():
            collection.shard.close()
        self.collections.clear()
        if not self._durable:
            shutil.rmtree(self._root, ignore_errors=True)

    def _load(self) -> None:
        for path in self._root.glob(f"*/{_CONFIG_FILE}"):
            config = pb.CreateCollection.FromString(path.read_bytes())
            shard = EdgeShard.load(str(path.parent / "shard"))
            self.collections[config.collection_name] = Collection(config, path.parent, shard)
        aliases = self._root / _ALIASES_FILE
        if aliases.exists():
            self.aliases = json.loads(aliases.read_text())


def _dense_vectors(config: pb.CreateCollection) -> dict[str, pb.VectorParams]:
    vectors = config.vectors_config
    if vectors.WhichOneof("config") == "params":
        return {"": vectors.params}
    return dict(vectors.params_map.map)


def _engine_config(config: pb.CreateCollection, *, wal_enabled: bool) -> EdgeConfig:
    """Sizes, distances, and when `optimize` builds an index.

    Other index settings, quantization and placement are remembered and reported, without effect.
    """
    dense = {name: _vector_params(params) for name, params in _dense_vectors(config).items()}
    sparse = {name: EdgeSparseVectorParams() for name in config.sparse_vectors_config.map}
    if not dense and not sparse:
        dense = {"": EdgeVectorParams(size=1, distance=Distance.Dot)}
    wanted = config.optimizers_config
    threshold = wanted.indexing_threshold if wanted.HasField("indexing_threshold") else None
    return EdgeConfig(
        vectors=dense or None,
        sparse_vectors=sparse or None,
        optimizers=EdgeOptimizersConfig(indexing_threshold=threshold),
        max_search_threads=1,  # a pool of them is half of what a new shard costs, and calls come one at a time
        wal_enabled=wal_enabled,
    )


def _vector_params(params: pb.VectorParams) -> EdgeVectorParams:
    if not 1 <= params.size <= 65_536 or params.distance not in _DISTANCES:
        raise wrong_input("vectors need a size from 1 to 65536 and a distance")
    return EdgeVectorParams(size=params.size, distance=_DISTANCES[params.distance])
