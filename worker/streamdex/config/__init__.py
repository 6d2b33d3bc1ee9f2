"""Settings: a TOML file, then `STREAMDEX_…` variables, then flags, in rising precedence.

The usual variables (`JINA_API_KEY`, `KAFKA_BOOTSTRAP_SERVERS`, `QDRANT_URL`, `QDRANT_API_KEY`) stand between file and
`STREAMDEX_…`. Any secret may come from a file instead: the same name with `_FILE`. The variable of a setting is
`STREAMDEX_` + section + `__` + name, in capitals.
"""

from streamdex.config.loading import CONFIG_VARIABLE, USUAL_VARIABLES, load_settings
from streamdex.config.sections import (
    MEMORY_URL,
    MIB,
    PREFIX,
    AdminSettings,
    CapsSettings,
    ChunkSettings,
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
