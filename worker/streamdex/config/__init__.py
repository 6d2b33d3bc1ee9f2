"""Settings: a TOML file, then variables, then flags, in rising precedence.

The variable of a setting is `STREAMDEX_` + section + `__` + name, in capitals: `STREAMDEX_JINA__MODEL`. It overrides
the usual ones (`JINA_API_KEY`, `KAFKA_BOOTSTRAP_SERVERS`, `QDRANT_URL`, `QDRANT_API_KEY`), which override the file. Any
secret may come from a file instead: the same name with `_FILE`.
"""

from streamdex.config.loading import CONFIG_VARIABLE, USUAL_VARIABLES, load_settings
from streamdex.config.sections import (
    MEMORY_URL,
    MIB,
    PREFIX,
    AdminSettings,
    CapsSettings,
    ChunkSettings,
    EventFormat,
    EventsSettings,
    JinaSettings,
    KafkaSettings,
    LimitsPreset,
    MappingSettings,
    QdrantSettings,
    Settings,
    WorkerSettings,
    with_section,
)

__all__ = [
    "CONFIG_VARIABLE",
    "MEMORY_URL",
    "MIB",
    "PREFIX",
    "USUAL_VARIABLES",
    "AdminSettings",
    "CapsSettings",
    "ChunkSettings",
    "EventFormat",
    "EventsSettings",
    "JinaSettings",
    "KafkaSettings",
    "LimitsPreset",
    "MappingSettings",
    "QdrantSettings",
    "Settings",
    "WorkerSettings",
    "load_settings",
    "with_section",
]
