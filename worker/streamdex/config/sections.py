"""The settings by section, with their defaults, bounds and purposes."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from streamdex.config.secrets import read_secret, refuse_both, refuse_credentials, usable_key
from streamdex.model import Order

MIB = 1024 * 1024
PREFIX = "STREAMDEX_"
MEMORY_URL = ":memory:"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


Address = Annotated[str, AfterValidator(refuse_credentials)]


class KafkaSettings(_Section):
    """Where the events come from."""

    bootstrap_servers: str = Field("localhost:9092", description="host:port of one or more brokers, with commas")
    topics: Annotated[tuple[str, ...], NoDecode] = Field(("documents",), description="topics to read, with commas")
    group_id: str = Field("streamdex", description="consumer group; workers of one group share the partitions")
    auto_offset_reset: Literal["earliest", "latest"] = Field(
        "earliest", description="where a partition without progress starts; latest skips what is there already"
    )
    epoch: int = Field(
        0, ge=0, description="raise it by one after a topic was deleted and recreated, so that its offsets rank higher"
    )
    isolation_level: Literal["read_committed", "read_uncommitted"] = Field(
        "read_committed", description="read_committed leaves out what aborted transactions wrote"
    )
    group_instance_id: str | None = Field(
        None, description="static membership: unique per replica, such as a StatefulSet's pod name"
    )
    dead_letter_topic: str = Field("{topic}.dlq", description="where failures go; {topic} is the source topic")
    session_timeout_s: float = Field(10.0, gt=0, description="a member silent for this long loses its partitions")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="the protocol that the brokers expect"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="used with the SASL protocols"
    )
    sasl_username: str | None = Field(None, description="SASL user")
    sasl_password: SecretStr | None = Field(None, description="SASL password")
    sasl_password_file: Path | None = Field(None, description="file that holds the SASL password")
    ssl_cafile: Path | None = Field(None, description="PEM file of the authority that signed the brokers' certificates")
    ssl_certfile: Path | None = Field(None, description="PEM file of this client's certificate (mTLS)")
    ssl_keyfile: Path | None = Field(None, description="PEM file of this client's key (mTLS)")

    @field_validator("topics", mode="before")
    @classmethod
    def _split_topics(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("topics")
    @classmethod
    def _some_topic(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one topic")
        return value

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        refuse_both(self.sasl_password, self.sasl_password_file, "sasl_password")
        return self

    def read_password(self) -> str | None:
        """The SASL password, read now. Raises ConfigurationError when its file cannot be read."""
        return read_secret(self.sasl_password, self.sasl_password_file, "kafka.sasl_password_file")

    def dead_letter_topic_of(self, topic: str) -> str:
        """The dead-letter topic that belongs to a source topic."""
        return self.dead_letter_topic.replace("{topic}", topic)


class LimitsPreset(StrEnum):
    """Named limits of a key, from Jina's rate-limit page."""

    FREE = "free"
    PAID = "paid"
    PREMIUM = "premium"


# requests per minute, tokens per minute, concurrent requests
_PRESETS = {
    LimitsPreset.FREE: (100, 100_000, 2),
    LimitsPreset.PAID: (500, 2_000_000, 50),
    LimitsPreset.PREMIUM: (5_000, 50_000_000, 500),
}


class JinaSettings(_Section):
    """How texts become vectors."""

    api_key: SecretStr | None = Field(None, description="the key of the embedding service")
    api_key_file: Path | None = Field(None, description="file that holds the key; read again when the key is refused")
    base_url: Address = Field("https://api.jina.ai/v1", description="another server that speaks the same API")
    dialect: Literal["jina", "openai"] = Field(
        "jina", description="openai for text-embeddings-inference and vLLM: sends model and input alone"
    )
    model: str = Field("jina-embeddings-v3", description="the embedding model")
    task: str | None = Field(
        None, description="what the vectors are for; retrieval.passage where the model has it, else the model's own"
    )
    dimensions: int | None = Field(None, ge=1, description="length of a vector; the model's own when not set")
    late_chunking: bool = Field(False, description="embed the chunks of a document in each other's context")
    truncate: bool = Field(False, description="let the service cut over-long inputs instead of refusing them")
    limits: LimitsPreset = Field(
        LimitsPreset.PAID, description="the plan of the key: requests are paced to use its limits and not exceed them"
    )
    requests_per_minute: int | None = Field(
        None, ge=1, description="for a key whose limit is not its plan's; lower it where others use the key too"
    )
    tokens_per_minute: int | None = Field(
        None, ge=1, description="for a key whose limit is not its plan's; lower it where others use the key too"
    )
    concurrency: int | None = Field(
        None, ge=1, description="concurrent requests, for a key whose limit is not its plan's"
    )
    tokens_per_day: int | None = Field(
        None, ge=1, description="budget of this replica per day of UTC; past it embedding pauses, and nothing is lost"
    )
    tokens_per_run: int | None = Field(
        None, ge=1, description="budget of this replica from start to stop; past it embedding pauses"
    )
    price_per_million_tokens: float | None = Field(
        None, ge=0, description="what a million tokens cost, in your currency; for streamdex estimate"
    )
    connect_timeout_s: float = Field(5.0, gt=0, description="limit for opening a connection; raise it on slow routes")
    read_timeout_s: float = Field(
        60.0, gt=0, description="limit for waiting on an answer; batches are kept small enough to take a third of it"
    )
    ca_file: Path | None = Field(None, description="PEM file of your own authority, for a proxy or your own server")

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        refuse_both(self.api_key, self.api_key_file, "api_key")
        return self

    def read_api_key(self) -> str | None:
        """The key, read now. Raises ConfigurationError when its file cannot be read, or does not hold a key."""
        key = read_secret(self.api_key, self.api_key_file, "jina.api_key_file")
        return usable_key(key, "jina.api_key")

    @property
    def effective_limits(self) -> tuple[int, int, int]:
        """(requests per minute, tokens per minute, concurrent requests): the preset and what overrides it."""
        requests, tokens, concurrency = _PRESETS[self.limits]
        return (self.requests_per_minute or requests, self.tokens_per_minute or tokens, self.concurrency or concurrency)


class QdrantSettings(_Section):
    """Where the vectors go."""

    url: Address = Field("http://localhost:6333", description='the server, or ":memory:" for an engine in this process')
    api_key: SecretStr | None = Field(None, description="the server's key")
    api_key_file: Path | None = Field(None, description="file that holds the key; read again when the key is refused")
    grpc_port: int = Field(6334, ge=1, le=65535, description="the worker speaks gRPC only")
    collection: str = Field("documents", min_length=1, description="alias that searches use")
    distance: Literal["cosine", "dot", "euclid", "manhattan"] = Field("cosine", description="how vectors are compared")
    text_key: str = Field("text", min_length=1, description="payload key of a chunk's text; page_content for LangChain")
    metadata_key: str = Field("metadata", min_length=1, description="payload key of the event's metadata")
    timeout_s: float = Field(30.0, gt=0, description="limit for one request")
    on_disk: bool = Field(False, description="keep vectors on disk")
    quantization: Literal["none", "scalar", "binary"] = Field("none", description="smaller vectors for the search")
    hnsw_m: int | None = Field(None, ge=0, description="links per point of the index; the server's own when not set")
    hnsw_ef_construct: int | None = Field(None, ge=4, description="effort of building the index")
    shard_number: int | None = Field(None, ge=1, description="shards of the collection")
    replication_factor: int | None = Field(None, ge=1, description="copies of each shard")
    write_consistency_factor: int | None = Field(None, ge=1, description="copies that must confirm a write")
    tenant_key: str | None = Field(None, description="metadata field that separates tenants; gets a tenant index")
    payload_indexes: dict[str, Literal["keyword", "integer", "float", "bool", "datetime", "text"]] = Field(
        default_factory=dict, description="further payload indexes: payload path to its kind"
    )

    def read_api_key(self) -> str | None:
        """The key, read now. Raises ConfigurationError when its file cannot be read, or does not hold a key."""
        key = read_secret(self.api_key, self.api_key_file, "qdrant.api_key_file")
        return usable_key(key, "qdrant.api_key")

    @model_validator(mode="after")
    def _keys_do_not_collide(self) -> Self:
        refuse_both(self.api_key, self.api_key_file, "api_key")
        bookkeeping = {"document_id", "version", "sequence", "chunk", "chunks", "source", "indexed_at"}
        if self.text_key == self.metadata_key:
            raise ValueError("text_key and metadata_key must differ")
        for key in (self.text_key, self.metadata_key):
            if key in bookkeeping:
                raise ValueError(f"{key} is a payload key of our own; choose another name for text_key or metadata_key")
        return self


class ChunkSettings(_Section):
    """How a text is cut."""

    max_tokens: int = Field(512, ge=8, le=32_768, description="longest chunk")
    overlap_tokens: int = Field(0, ge=0, description="how much of a chunk the next one repeats; part of max_tokens")
    mode: Literal["auto", "prose", "markdown", "code"] = Field(
        "auto", description="where to cut; auto looks at the text"
    )
    tokenizer: str = Field(
        "estimate", description="estimate counts by script; or a tokenizer.json file, or a name on the hub"
    )

    @model_validator(mode="after")
    def _overlap_is_smaller(self) -> Self:
        if self.overlap_tokens * 2 > self.max_tokens:
            raise ValueError("overlap_tokens must be at most half of max_tokens")
        return self


class EventFormat(StrEnum):
    """What the records of a topic look like."""

    AUTO = "auto"
    ENVELOPE = "envelope"
    JSON = "json"
    TEXT = "text"
    DEBEZIUM = "debezium"
    DEBEZIUM_MONGODB = "debezium-mongodb"
    MAXWELL = "maxwell"
    CANAL = "canal"
    DMS = "dms"
    CLOUDEVENTS = "cloudevents"
    MONGODB = "mongodb"


class EventsSettings(_Section):
    """What the records are."""

    format: EventFormat = Field(
        EventFormat.AUTO,
        description="of the records; auto: the envelope, or with mapping.* what cannot be mistaken, else json",
    )
    by_topic: Annotated[dict[str, EventFormat], NoDecode] = Field(
        {}, description="formats of single topics, such as orders=debezium,notes=text"
    )

    @field_validator("by_topic", mode="before")
    @classmethod
    def _split_formats(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        return {topic.strip(): name.strip() for topic, _, name in pairs}

    def of_topic(self, topic: str) -> EventFormat:
        """The format of a topic's records."""
        return self.by_topic.get(topic, self.format)


class MappingSettings(_Section):
    """Where a document's parts stand in a row: names with dots, or JMESPath; for the text also a template."""

    id: str | None = Field(None, description="the document's id, such as author.id; several with commas are joined")
    text: str | None = Field(None, description="the text, or a template such as {title}\\n\\n{summary?}")
    metadata: str | None = Field(None, description="an object, or fields with commas: name, a.b, new: old, *, -secret")
    version: str | None = Field(None, description="the document's own version, an integer")
    deleted: str | None = Field(None, description="a value that says true or false, or the time of the delete")
    deleted_when: str | None = Field(None, description="condition for a delete, such as op == 'd'")
    ignore_when: str | None = Field(None, description="condition for records that are no documents")

    @property
    def in_use(self) -> bool:
        """Whether any mapping is set; without one the events are our own envelope."""
        return any(self.model_dump().values())


class CapsSettings(_Section):
    """Bounds per document; a document above one becomes a dead letter with that bound as its reason."""

    record_bytes: int = Field(4 * MIB, ge=1024, description="largest record value")
    payload_depth: int = Field(32, ge=2, le=32, description="deepest payload; Qdrant breaks on deep ones")
    payload_bytes: int = Field(1 * MIB, ge=1024, description="largest payload of a point")
    document_tokens: int = Field(1_000_000, ge=1, description="longest text, by estimate")
    document_chunks: int = Field(2_000, ge=1, description="most chunks of a document")


class AdminSettings(_Section):
    """Health and metrics over HTTP."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="0 picks a free one and logs it")


class WorkerSettings(_Section):
    """The worker itself."""

    order: Order = Field(Order.OFFSET, description="what orders a document's events: offset, or their own version")
    drain_timeout_s: float = Field(18.0, gt=0, le=25, description="how long a stop waits for what is already paid for")
    request_horizon_s: float = Field(60.0, gt=0, description="how long an unanswered request may still take effect")
    tombstone_version: Literal["header", "timestamp"] = Field(
        "header", description="version of a null value without the version header: none, or the record's time in ms"
    )
    tombstone_ttl_s: float = Field(14 * 86_400.0, gt=0, description="how long a delete is remembered")
    intake_bytes: int = Field(64 * MIB, ge=1 * MIB, description="records held in memory; past it the intake pauses")
    open_records: int = Field(4096, ge=64, description="records open per partition; past it the partition pauses")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal, else json")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe level to log")


class Settings(BaseSettings):
    """All settings, by section."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    kafka: KafkaSettings = KafkaSettings()
    jina: JinaSettings = JinaSettings()
    qdrant: QdrantSettings = QdrantSettings()
    chunk: ChunkSettings = ChunkSettings()
    events: EventsSettings = EventsSettings()
    mapping: MappingSettings = MappingSettings()
    caps: CapsSettings = CapsSettings()
    admin: AdminSettings = AdminSettings()
    worker: WorkerSettings = WorkerSettings()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: object, **__: object
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags first; `load_settings` adds the rest, since only it knows the file."""
        return (init_settings,)


def with_section(settings: Settings, section: str, **changes: Any) -> Settings:
    """The settings with some names of one section changed."""
    part: BaseModel = getattr(settings, section)
    return settings.model_copy(update={section: part.model_copy(update=changes)})
