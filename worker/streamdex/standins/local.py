"""Sets the stage for one process: whatever the environment does not name is embedded."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from streamdex.config import MEMORY_URL, LimitsPreset, Settings, with_section
from streamdex.standins.broker import EmbeddedBroker
from streamdex.standins.jina import JinaServer, Limits, Options
from streamdex.standins.qdrant import EmbeddedQdrant

# The variables that say that a real service is meant, by the section that they belong to.
REAL = {
    "kafka": ("KAFKA_BOOTSTRAP_SERVERS", "STREAMDEX_KAFKA__BOOTSTRAP_SERVERS"),
    "jina": ("JINA_API_KEY", "JINA_API_KEY_FILE", "STREAMDEX_JINA__API_KEY", "STREAMDEX_JINA__API_KEY_FILE"),
    "qdrant": ("QDRANT_URL", "STREAMDEX_QDRANT__URL"),
}
STAND_IN_KEY = "stand-in"


@dataclass(frozen=True, slots=True)
class LocalServices:
    """Settings that reach every service, and which of them are embedded."""

    settings: Settings
    embedded: Mapping[str, bool]
    jina: JinaServer | None


@asynccontextmanager
async def start_local_services(
    settings: Settings, environment: Mapping[str, str] = os.environ
) -> AsyncIterator[LocalServices]:
    """Start what the environment does not name; stop it at the end."""
    embedded = {section: not any(environment.get(name) for name in names) for section, names in REAL.items()}
    jina = None
    async with AsyncExitStack() as stack:
        if embedded["kafka"]:
            broker = EmbeddedBroker()
            settings = with_section(settings, "kafka", bootstrap_servers=broker.start())
            stack.callback(broker.stop)
        if embedded["jina"]:
            settings = with_section(settings, "jina", limits=LimitsPreset.PREMIUM)  # nobody pays, so nobody waits
            preset = Limits(*settings.jina.effective_limits)
            jina = await stack.enter_async_context(JinaServer(Options(api_key=STAND_IN_KEY, limits=preset)))
            settings = with_section(settings, "jina", base_url=jina.base_url, api_key=SecretStr(STAND_IN_KEY))
        if embedded["qdrant"]:
            settings = with_section(settings, "qdrant", url=MEMORY_URL)
        yield LocalServices(await stack.enter_async_context(qdrant_for(settings)), embedded, jina)


@asynccontextmanager
async def qdrant_for(settings: Settings) -> AsyncIterator[Settings]:
    """The settings as they are; or, for `:memory:`, with an engine of this process in front of them."""
    if settings.qdrant.url != MEMORY_URL:
        yield settings
        return
    async with EmbeddedQdrant() as server:
        yield with_section(settings, "qdrant", url=f"http://{server.host}:{server.port}", grpc_port=server.port)
