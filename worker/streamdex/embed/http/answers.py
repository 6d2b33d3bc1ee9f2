"""The bytes of an answer become packed vectors, or a fault. Nothing unchecked leaves this module.

A vector stays as base64 gives it: little-endian float32, 4 bytes a dimension. No Python float is ever made. numpy
checks 64 vectors at a time, which fit into the processor's cache.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
import pybase64

from streamdex.errors import Reason, Service, SuspectFault

Vector = bytes
CHECKED_AT_ONCE = 64


class Quota(NamedTuple):
    """What is left of the key's limits per minute; None where the service does not say."""

    requests: int | None = None
    tokens: int | None = None


class Answer(NamedTuple):
    """The vectors in the order of the inputs, and the tokens billed; None where the service does not say."""

    vectors: list[Vector]
    total_tokens: int | None
    quota: Quota = Quota()

    def __repr__(self) -> str:
        return f"Answer({len(self.vectors)} vectors, {self.total_tokens} tokens)"


def read_answer(body: bytes, count: int, dimension: int) -> Answer:
    """Check and unpack the body of a 200 answer to `count` inputs.

    Raises SuspectFault(WRONG_ANSWER) unless there is exactly one vector for each input, of `dimension` finite numbers
    that are not all zero. Messages say what is wrong, and quote nothing of the body.
    """
    answer = _parsed(body)
    data = answer.get("data")
    if not isinstance(data, list):
        raise _wrong("it has no list of vectors")
    if len(data) != count:
        raise _wrong(f"{len(data)} vectors for {count} inputs")
    vectors = [_unpacked(text, dimension) for text in _in_order(data)]
    for start in range(0, count, CHECKED_AT_ONCE):
        _check_numbers(vectors[start : start + CHECKED_AT_ONCE], dimension)
    return Answer(vectors, _total_tokens(answer))


def read_quota(headers: Mapping[str, str]) -> Quota:
    """The remaining quota, as far as the headers have it. It counts all users of the key together."""
    return Quota(_count(headers, "x-ratelimit-remaining-requests"), _count(headers, "x-ratelimit-remaining-tokens"))


def _count(headers: Mapping[str, str], name: str) -> int | None:
    value = headers.get(name, "")
    return int(value) if value.isdecimal() and len(value) < 16 else None


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _wrong("it is not JSON") from None
    if not isinstance(answer, dict):
        raise _wrong("it is not a JSON object")
    return answer


def _in_order(data: list[Any]) -> list[Any]:
    """The embeddings sorted by `index`: the service promises no order."""
    found: list[Any] = [None] * len(data)
    for item in data:
        if not isinstance(item, dict):
            raise _wrong("a vector is not an object")
        index = item.get("index")
        if type(index) is not int or not 0 <= index < len(data):  # True is an int to isinstance
            raise _wrong("an index is missing or out of range")
        if found[index] is not None:
            raise _wrong("an index comes twice")
        found[index] = item.get("embedding", "")
    return found


def _unpacked(text: object, dimension: int) -> Vector:
    if not isinstance(text, str):
        raise _wrong("a vector is not base64")
    try:
        vector = pybase64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error for the alphabet and padding, ValueError for what is not ASCII
        raise _wrong("a vector is not base64") from None
    if len(vector) != 4 * dimension:
        raise _wrong(f"a vector of {len(vector)} bytes, for {dimension} dimensions")
    return vector


def _check_numbers(vectors: Sequence[Vector], dimension: int) -> None:
    """One pass for both checks: a sum of squares is finite only if all numbers are, and zero only if all are zero."""
    numbers = np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), dimension)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", numbers, numbers)
    if not np.isfinite(squares).all():
        raise _wrong("a vector has a number that is not finite")
    if not squares.all():
        raise _wrong("a vector is all zeros")


def _total_tokens(answer: dict[str, Any]) -> int | None:
    usage = answer.get("usage")
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if type(total) is int and total >= 0 else None


def _wrong(what: str) -> SuspectFault:
    return SuspectFault(Service.JINA, Reason.WRONG_ANSWER, f"the answer is wrong: {what}")
