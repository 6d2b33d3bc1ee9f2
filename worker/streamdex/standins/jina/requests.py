"""What a client asks for: a body read, checked against what its model offers, and counted in tokens. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from streamdex.standins.jina import tokens
from streamdex.standins.jina.answers import (
    EmbeddingType,
    ErrorAnswer,
    ErrorShape,
    FieldError,
    Refused,
    validation_error,
)
from streamdex.standins.jina.models import MODELS, SPECIAL_TOKENS, Model

MAX_INPUTS = 512
ALIASES = {
    "task_type": "task",
    "encoding_format": "embedding_type",
    "output_dimensionality": "dimensions",
    "truncation": "truncate",
}
OPTIONS = frozenset().union(*(model.fields for model in MODELS.values())) - {"model", "input"}


class FieldMode(StrEnum):
    """What happens to fields that are not a model's own.

    `strict`: refused, as the service did in 2025. `aliases`: other services' names of our fields are understood, as
    since August 2026, and a known field that this model does not offer is ignored; unknown ones are refused still.
    """

    STRICT = "strict"
    ALIASES = "aliases"


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """A request that may be carried out. `tokens` is what it is billed, `texts` are cut already where that was asked.

    `sent` are the options as they came (by the field's own name), for statistics.
    """

    model: Model
    texts: tuple[str, ...]
    tokens: int
    dimension: int
    task: str | None
    late_chunking: bool
    normalized: bool
    embedding_type: EmbeddingType
    sent: Mapping[str, Any]

    def __repr__(self) -> str:
        """Without the texts: they belong to the user."""
        return f"EmbeddingRequest({self.model.name}, {len(self.texts)} inputs, {self.tokens} tokens)"


def parse(body: bytes, mode: FieldMode = FieldMode.STRICT) -> EmbeddingRequest:
    """Read and check a body. Raises Refused with the answer of the hosted service."""
    payload = _load(body)
    model = _find_model(payload)
    if isinstance(payload.get("embedding_type"), list):
        # Documented as possible, answered like this.
        raise Refused(ErrorAnswer(500, "Internal server error", "INTERNAL_ERROR"))
    given, errors = _own_fields(payload, model, mode)
    errors += [error for name, value in given.items() if (error := _check(name, value, model))]
    texts = _texts(payload.get("input"))
    if isinstance(texts, FieldError):
        errors.append(_placed(texts, model))
    if errors or isinstance(texts, FieldError):
        raise Refused(validation_error(errors))
    late_chunking = bool(given.get("late_chunking"))
    texts, billed = _measure(texts, model, truncate=bool(given.get("truncate")), together=late_chunking)
    return EmbeddingRequest(
        model=model,
        texts=texts,
        tokens=billed,
        dimension=given.get("dimensions") or model.dimension,
        task=given.get("task") or model.default_task,
        late_chunking=late_chunking,
        # The default is documented both ways; raw vectors show a client that it relies on one of them.
        normalized=model.always_normalized or bool(given.get("normalized")),
        embedding_type=EmbeddingType(given.get("embedding_type") or EmbeddingType.FLOAT),
        sent=given,
    )


def peek(body: bytes) -> tuple[str | None, int, Mapping[str, Any]]:
    """(model, inputs, options) of a body that may be wrong, for statistics. Values of unknown fields are left out."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None, 0, {}
    if not isinstance(payload, dict):
        return None, 0, {}
    given = payload.get("input")
    model = payload.get("model")
    options = {
        name: value if name in OPTIONS or name in ALIASES else None
        for name, value in payload.items()
        if name not in ("model", "input")
    }
    return model if model in MODELS else None, len(given) if isinstance(given, list) else 1, options


def _load(body: bytes) -> dict[str, Any]:
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refused(validation_error([FieldError("body", "JSON decode error", "json_invalid")])) from None
    if not isinstance(payload, dict):
        message = "Input should be a valid dictionary"
        raise Refused(validation_error([FieldError("body", message, "model_attributes_type")]))
    return payload


def _find_model(payload: dict[str, Any]) -> Model:
    if "model" not in payload:
        raise Refused(validation_error([FieldError("body -> model", "Field required", "missing")]))
    name = payload["model"]
    model = MODELS.get(name) if isinstance(name, str) else None
    if model is None:
        raise Refused(ErrorAnswer(400, f"Model {name} not found", "INPUT_MODEL_NOT_FOUND"))
    return model


def _own_fields(payload: dict[str, Any], model: Model, mode: FieldMode) -> tuple[dict[str, Any], list[FieldError]]:
    """The options under the service's own names, and those that the model does not take."""
    given: dict[str, Any] = {}
    errors: list[FieldError] = []
    for sent, value in payload.items():
        name = ALIASES.get(sent, sent) if mode is FieldMode.ALIASES else sent
        if name in ("model", "input"):
            continue
        if name in model.fields:
            given[name] = value
        elif mode is FieldMode.STRICT or name not in OPTIONS:
            errors.append(_error(model, sent, "Extra inputs are not permitted", "extra_forbidden", value))
    return given, errors


def _check(name: str, value: Any, model: Model) -> FieldError | None:
    """What is wrong with an option's value, if anything. A null is as good as none."""
    return None if value is None else _CHECKS[name](name, value, model)


def _check_flag(name: str, value: Any, model: Model) -> FieldError | None:
    if isinstance(value, bool):
        return None
    return _error(model, name, "Input should be a valid boolean", "bool_type", value)


def _check_multivector(name: str, value: Any, model: Model) -> FieldError | None:
    if value is True:
        return _error(model, name, "This stand-in has no multi-vectors", "value_error", value)
    return _check_flag(name, value, model)


def _check_task(name: str, value: Any, model: Model) -> FieldError | None:
    if value in model.tasks:
        return None
    offered = ", ".join(f"'{task}'" for task in model.tasks)
    return _error(model, name, f"Input should be one of {offered}", "enum", value)


def _check_embedding_type(name: str, value: Any, model: Model) -> FieldError | None:
    if value in list(EmbeddingType):
        return None
    offered = ", ".join(f"'{kind}'" for kind in EmbeddingType)
    return _error(model, name, f"Input should be one of {offered}", "enum", value)


def _check_dimensions(name: str, value: Any, model: Model) -> FieldError | None:
    smallest = model.smallest or model.dimension
    if isinstance(value, bool) or not isinstance(value, int):
        return _error(model, name, "Input should be a valid integer", "int_type", value)
    if value < smallest:
        return _error(model, name, f"Input should be greater than or equal to {smallest}", "greater_than_equal", value)
    if value > model.dimension:
        return _error(model, name, f"Input should be less than or equal to {model.dimension}", "less_than_equal", value)
    return None


_CHECKS: dict[str, Callable[[str, Any, Model], FieldError | None]] = {
    "task": _check_task,
    "dimensions": _check_dimensions,
    "late_chunking": _check_flag,
    "truncate": _check_flag,
    "normalized": _check_flag,
    "return_multivector": _check_multivector,
    "embedding_type": _check_embedding_type,
}


def _error(model: Model, name: str, message: str, kind: str, value: Any) -> FieldError:
    return FieldError(f"body -> {model.name} -> {name}", message, kind, value)


def _placed(error: FieldError, model: Model) -> FieldError:
    return FieldError(f"body -> {model.name} -> {error.field}", error.message, error.type, error.input)


def _texts(given: Any) -> tuple[str, ...] | FieldError:
    """The inputs: a string, `{"text": …}`, or a list of these."""
    if given is None:
        return FieldError("input", "Field required", "missing")
    inputs = given if isinstance(given, list) else [given]
    if not inputs:
        return FieldError("input", "List should have at least 1 item after validation, not 0", "too_short")
    if len(inputs) > MAX_INPUTS:
        return FieldError("input", f"Each input list can contain at most {MAX_INPUTS} items", "value_error")
    texts: list[str] = []
    for place, one in enumerate(inputs):
        text = one.get("text") if isinstance(one, dict) and len(one) == 1 else one
        if not isinstance(text, str):
            return FieldError(f"input -> {place}", "Input should be a valid string", "string_type", one)
        texts.append(text)
    return tuple(texts)


def _measure(texts: tuple[str, ...], model: Model, *, truncate: bool, together: bool) -> tuple[tuple[str, ...], int]:
    """The texts, cut where they are too long and that was asked, and their tokens. Raises Refused.

    `together` (late chunking): the texts are one document, and the model's limit holds for all of them.
    """
    free = model.context_tokens
    fitting: list[str] = []
    counts: list[int] = []
    for text in texts:
        count = tokens.count_tokens(text)
        if count > free and not truncate:
            raise Refused(_too_long(model))
        counts.append(min(count, free))
        fitting.append(text if count <= free else tokens.cut(text, free))
        if together:
            free -= counts[-1]
    sequences = 1 if together else len(texts)
    return tuple(fitting), sum(counts) + SPECIAL_TOKENS * sequences


def _too_long(model: Model) -> ErrorAnswer:
    message = (
        f"Input text exceeds the model's maximum of {model.max_tokens} tokens. "
        "Shorten the text, or set truncate to true."
    )
    return ErrorAnswer(400, message, "INPUT_TOKEN_LIMIT_EXCEEDED", ErrorShape.NESTED)
