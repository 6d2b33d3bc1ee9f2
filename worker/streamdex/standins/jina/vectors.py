"""Lexical vectors: texts that share words, or parts of words, are near each other. No model, no meaning.

Feature hashing: every word and its character n-grams add a signed weight to one place of the vector each, so any
dimension works. Deterministic across processes and machines up to float rounding.
"""

import math
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_WORD = re.compile(r"\w+")
# So frequent that they say nothing; without a corpus there is no better measure of how much a word tells.
_STOP_WORDS = frozenset(
    _WORD.findall(
        "a an and are as at be but by can do does for from has have how i if in into is it its me my not of on or "
        "our that the their then there these this to was we what when where which who will with you your"
    )
)
_GRAM_SHARE = 0.6  # the n-grams of a word together, against 1 for the word itself: "sorting" finds "sorted"
_TASK_SHARE = 0.05  # how far a task moves a vector: visible, but queries still find passages
_CONTEXT_SHARE = 0.3  # how much of its document a late-chunked vector takes in


@dataclass(frozen=True, slots=True)
class Space:
    """Which vectors are comparable: those of one model and dimension. The task moves them only slightly."""

    model: str
    dimension: int
    task: str | None = None


def embed(texts: Sequence[str], space: Space, *, normalized: bool, late_chunking: bool = False) -> Floats:
    """One row per text, never all zero. Without `normalized` the length of a row grows with its text.

    With `late_chunking` the texts are one document, and each takes in something of the others.
    """
    rows = np.stack([_hash_features(text, space) for text in texts])
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units = rows / lengths
    if late_chunking:
        units = units + _CONTEXT_SHARE * _unit(units.sum(axis=0) + _direction("document", space.dimension))
    if space.task is not None:
        units = units + _TASK_SHARE * _direction(space.task, space.dimension)
    units = units / np.linalg.norm(units, axis=1, keepdims=True)
    return np.ascontiguousarray(units if normalized else units * lengths, dtype=np.float32)


def _hash_features(text: str, space: Space) -> npt.NDArray[np.float64]:
    all_counts = Counter(_WORD.findall(text.casefold()))
    counts = {word: count for word, count in all_counts.items() if word not in _STOP_WORDS} or all_counts
    if not counts:
        return _direction("no words", space.dimension)
    features = [_features(word) for word in counts]
    hashes = np.concatenate([hashes for hashes, _ in features])
    weights = np.concatenate([weights for _, weights in features])
    often = np.array([1 + math.log(count) for count in counts.values()])
    weights = weights * np.repeat(often, [len(hashes) for hashes, _ in features])
    mixed = _mix(hashes ^ _seed(space.model))
    signed = np.where(mixed & np.uint64(1), weights, -weights)
    places = ((mixed >> np.uint64(32)) * np.uint64(space.dimension)) >> np.uint64(32)
    row = np.bincount(places.astype(np.int64), weights=signed, minlength=space.dimension).astype(np.float64, copy=False)
    # Weights of opposite sign may meet in one place and cancel out; a zero vector must never come of it.
    return row if np.linalg.norm(row) > 1e-6 else _direction("no words", space.dimension)


@lru_cache(maxsize=32_768)
def _features(word: str) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float64]]:
    """Hashes and weights of a word and its n-grams. Scripts that are dense or write no spaces get pairs."""
    size = 3 if word.isascii() else 2
    padded = f"^{word}$"
    grams = {padded[start : start + size] for start in range(len(padded) - size + 1)}
    hashes = [zlib.crc32(word.encode()), *sorted(zlib.crc32(gram.encode()) | 1 << 32 for gram in grams)]
    weights = [1.0, *[_GRAM_SHARE / math.sqrt(len(grams))] * len(grams)]
    return np.array(hashes, dtype=np.uint64), np.array(weights)


def _mix(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of splitmix64: a CRC alone spreads too evenly over neighbouring inputs."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


@lru_cache(maxsize=64)
def _seed(model: str) -> np.uint64:
    """Vectors of two models are not comparable: each model hashes differently."""
    return np.uint64(zlib.crc32(model.encode()) << 31)


@lru_cache(maxsize=256)
def _direction(name: str, dimension: int) -> npt.NDArray[np.float64]:
    """A fixed unit vector that belongs to a name."""
    start = np.uint64(zlib.crc32(name.encode()) << 31)
    mixed = _mix(np.arange(dimension, dtype=np.uint64) + start)
    return _unit(mixed.astype(np.float64) / 2.0**63 - 1.0)


def _unit(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return vector / np.linalg.norm(vector)
