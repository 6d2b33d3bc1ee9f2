"""Texts become vectors, within the key's limits.

Promises: a job ends with one checked vector for each of its texts, or with a fault proven to be its own; whatever else
goes wrong is waited out. Vectors are packed little-endian float32. This is the only room that talks HTTP to the
embedding service.
"""

from worker.embed.answers import Vector
from worker.embed.batches import bounds_of, requests_for
from worker.embed.embedder import Embedder
from worker.embed.jobs import EmbedJob
from worker.embed.limiter import Limits
from worker.embed.models import MODELS, Profile, resolve
from worker.embed.statistics import Statistics

__all__ = [
    "MODELS",
    "EmbedJob",
    "Embedder",
    "Limits",
    "Profile",
    "Statistics",
    "Vector",
    "bounds_of",
    "requests_for",
    "resolve",
]
