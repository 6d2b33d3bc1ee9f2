"""Texts become vectors, within the key's limits.

`Embedder.embed` ends with one checked vector for each text of a job, or with a fault that is proven to be the job's
own. Every other failure is waited out, for as long as it takes. Vectors are packed little-endian float32. No other
package talks HTTP to the embedding service.

- `embedder` sends what waits in `queue`, as soon as `circuit_breaker`, `budget` and `pacing/` allow it.
- `jobs` are documents' texts, and the requests that carry them; `suspects` decides whose fault a failed request is.
- `models` says what each model can do; `http/` is the client; `report` writes metrics, log and health.
"""

from streamdex.embed.embedder import Embedder
from streamdex.embed.http.answers import Vector
from streamdex.embed.jobs import EmbedJob
from streamdex.embed.models import MODELS, Profile, resolve
from streamdex.embed.pacing.batch_size import bounds_of, requests_for
from streamdex.embed.pacing.rate import KeyLimits
from streamdex.embed.pacing.share import Share, ShareStatistics

__all__ = [
    "MODELS",
    "EmbedJob",
    "Embedder",
    "KeyLimits",
    "Profile",
    "Share",
    "ShareStatistics",
    "Vector",
    "bounds_of",
    "requests_for",
    "resolve",
]
