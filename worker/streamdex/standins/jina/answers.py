"""What the server says: the answer with the vectors, and errors in the three shapes that the hosted service uses."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import orjson
import pybase64

from streamdex.standins.jina.limits import LimitKind, LimitRefusal
from streamdex.standins.jina.vectors import Floats


class EmbeddingType(StrEnum):
    """How a vector is written: JSON numbers, base64 of little-endian float32, or sign bits as bytes."""

    FLOAT = "float"
    BASE64 = "base64"
    BINARY = "binary"
    UBINARY = "ubinary"


class ErrorShape(StrEnum):
    """Where an error's code stands: beside `detail`, inside it, or (validation) nowhere, with a list of errors."""

    FLAT = "flat"
    NESTED = "nested"
    VALIDATION = "validation"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that failed validation. `input` quotes what was sent, as the hosted service does."""

    field: str
    message: str
    type: str
    input: Any = None


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error before it is given a shape. A validation error has `errors` and no code."""

    status: int
    message: str
    code: str | None = None
    shape: ErrorShape = ErrorShape.FLAT
    errors: tuple[FieldError, ...] = ()

    def body(self, request_id: str) -> bytes:
        """The JSON body."""
        if self.shape is ErrorShape.NESTED:
            inside = {"message": self.message, "request_id": request_id, "code": self.code}
            return orjson.dumps({"detail": inside})
        if self.shape is ErrorShape.VALIDATION:
            errors = [
                {"field": error.field, "message": error.message, "type": error.type, "input": error.input}
                for error in self.errors
            ]
            return orjson.dumps({"detail": f"[RID: {request_id}] {self.message}", "errors": errors})
        if self.code is None:
            return orjson.dumps({"detail": f"[RID: {request_id}] {self.message}"})
        return orjson.dumps({"detail": self.message, "request_id": request_id, "code": self.code})


class Refused(Exception):
    """A request ends here, with this answer."""

    def __init__(self, answer: ErrorAnswer) -> None:
        super().__init__(answer.status)  # not the message: it may quote the input
        self.answer = answer


def validation_error(errors: Sequence[FieldError]) -> ErrorAnswer:
    """The answer to a request whose fields are wrong."""
    plural = "" if len(errors) == 1 else "s"
    message = f"Validation error{plural} in {len(errors)} field{plural}"
    return ErrorAnswer(422, message, shape=ErrorShape.VALIDATION, errors=tuple(errors))


def limit_error(refusal: LimitRefusal) -> ErrorAnswer:
    """The 429 of a limit, worded as the hosted service words it."""
    figures = f"{refusal.used}/{refusal.limit}"
    match refusal.kind:
        case LimitKind.REQUESTS:
            message = f"Request rate limit exceeded: {figures} requests per minute."
        case LimitKind.TOKENS:
            message = f"Token rate limit exceeded: {figures} tokens per minute."
        case LimitKind.CONCURRENCY:
            message = f"Concurrency limit exceeded: {figures} concurrent requests."
    return ErrorAnswer(429, message, refusal.kind.value)


@dataclass(slots=True)
class Row:
    """One vector of an answer and the index it is given; None leaves the field out (a fault)."""

    vector: Floats
    index: int | None


def number(vectors: Floats) -> list[Row]:
    """The rows of a correct answer."""
    return [Row(vector, index) for index, vector in enumerate(vectors)]


def success(
    model: str, rows: Sequence[Row], embedding_type: EmbeddingType, total_tokens: int, *, prompt_tokens: bool = False
) -> bytes:
    """The JSON body with the vectors."""
    usage = {"total_tokens": total_tokens}
    if prompt_tokens:
        usage["prompt_tokens"] = total_tokens
    data = []
    for row in rows:
        index = {} if row.index is None else {"index": row.index}
        data.append({"object": "embedding", **index, "embedding": _encode(row.vector, embedding_type)})
    answer = {"model": model, "object": "list", "usage": usage, "data": data}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _encode(vector: Floats, embedding_type: EmbeddingType) -> object:
    match embedding_type:
        case EmbeddingType.FLOAT:
            return vector  # orjson writes numpy's numbers itself, NaN and infinity as null
        case EmbeddingType.BASE64:
            return pybase64.b64encode_as_string(vector.astype("<f4", copy=False).tobytes())
        case EmbeddingType.UBINARY:
            return np.packbits(vector > 0)
        case EmbeddingType.BINARY:
            return (np.packbits(vector > 0).astype(np.int16) - 128).astype(np.int8)
