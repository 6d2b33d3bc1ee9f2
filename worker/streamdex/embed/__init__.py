"""Texts become vectors, within the key's limits.

Promises: a job ends with one checked vector for each of its texts, or with a fault proven to be its own; whatever else
goes wrong is waited out. Vectors are packed little-endian float32. This is the only room that talks HTTP to the
embedding service.
"""

from streamdex.embed.embedder import Embedder
from streamdex.embed.http.answers import Vector
from streamdex.embed.jobs import EmbedJob
from streamdex.embed.models import MODELS, Profile, resolve
from streamdex.embed.pacing.batch_size import bounds_of, requests_for
from streamdex.embed.pacing.rate import Limits
from streamdex.embed.pacing.share import Share, ShareStatistics
from streamdex.embed.statistics import Statistics

__all__ = [
    "MODELS",
    "EmbedJob",
    "Embedder",
    "Limits",
    "Profile",
    "Share",
    "ShareStatistics",
    "Statistics",
    "Vector",
    "bounds_of",
    "requests_for",
    "resolve",
]
