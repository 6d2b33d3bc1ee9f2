"""How a stand-in behaves: its options, all with defaults that stand in nobody's way."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from streamdex.standins.jina.answers import ErrorShape
from streamdex.standins.jina.limits import Limits
from streamdex.standins.jina.requests import FieldMode


class QuotaHeaders(StrEnum):
    """Whether answers carry `X-RateLimit-Remaining-…`, and 429s `Retry-After` in which form."""

    ABSENT = "absent"
    SECONDS = "seconds"
    DATE = "date"
    ABSURD = "absurd"


@dataclass(frozen=True, slots=True)
class Latency:
    """How long an answer takes: a base, and more for each 1,000 tokens."""

    base_ms: float = 0.0
    per_1k_tokens_ms: float = 0.0

    def seconds(self, tokens: int) -> float:
        """How long a request of so many tokens takes."""
        return (self.base_ms + self.per_1k_tokens_ms * tokens / 1000) / 1000


@dataclass(frozen=True, slots=True)
class Options:
    """How a stand-in behaves. `api_key`: the only key accepted; None accepts any, but asks for one.

    `billing_log`: a file that gets a line for each request that was billed (see `billing`).
    `error_shape` forces flat or nested errors; None uses each where the hosted service does.
    """

    host: str = "127.0.0.1"
    port: int = 0
    api_key: str | None = field(default=None, repr=False)
    fields: FieldMode = FieldMode.STRICT
    limits: Limits = field(default_factory=Limits)
    latency: Latency = field(default_factory=Latency)
    quota_headers: QuotaHeaders = QuotaHeaders.ABSENT
    error_shape: ErrorShape | None = None
    max_body_bytes: int = 64 * 1024 * 1024
    billing_log: Path | None = None
