"""What each model can do, and what is sent for it: `resolve` turns settings into a `Profile`, or refuses them at start.

A field is sent only where the model lists it, since the service refuses fields that it does not know. `late_chunking`
and `truncate` are sent only when they are on: off is every model's default, and several do not list them at all.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from streamdex.config import JinaSettings
from streamdex.errors import ConfigurationError

MAX_INPUTS = 512  # "Each input list can contain at most 512 items"
PASSAGE = "retrieval.passage"
QUERY = "retrieval.query"
CODE_PASSAGE = "nl2code.passage"

Fields = Mapping[str, str | int | bool]


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """One model's capabilities. `smallest` is the shortest vector it can be cut to, None when its length is fixed.

    `context_tokens` of 0 are unknown. `max_request_tokens` bounds a whole request, where the service is reported to.
    """

    name: str
    dimension: int
    smallest: int | None
    context_tokens: int
    tasks: tuple[str, ...] = ()
    normalized: bool = False
    late_chunking: bool = False
    max_request_tokens: int | None = None

    @property
    def document_task(self) -> str | None:
        """The task of documents when none is set: the passage side, or None where the model has no such side."""
        return next((task for task in (PASSAGE, CODE_PASSAGE) if task in self.tasks), None)


_RETRIEVAL = (QUERY, PASSAGE)
_V5_TASKS = (*_RETRIEVAL, "text-matching", "clustering", "classification")
_CODE_TASKS = tuple(
    f"{pair}.{side}"
    for pair in ("nl2code", "qa", "code2code", "code2nl", "code2completion")
    for side in ("query", "passage")
)
_TABLE = (
    EmbeddingModel(
        "jina-embeddings-v3",
        1024,
        smallest=32,
        context_tokens=8192,
        tasks=(*_RETRIEVAL, "text-matching", "classification", "separation"),
        normalized=True,
        late_chunking=True,
    ),
    *(
        EmbeddingModel(f"jina-embeddings-v2-base-{language}", 768, smallest=None, context_tokens=8192, normalized=True)
        for language in ("en", "de", "es", "zh", "code")
    ),
    EmbeddingModel(
        "jina-embeddings-v4",
        2048,
        smallest=128,
        context_tokens=32_768,
        tasks=(*_RETRIEVAL, "text-matching", "code.query", "code.passage"),
        late_chunking=True,
        max_request_tokens=32_768,
    ),
    EmbeddingModel(
        "jina-embeddings-v5-text-nano", 768, smallest=None, context_tokens=8192, tasks=_V5_TASKS, normalized=True
    ),
    EmbeddingModel(
        "jina-embeddings-v5-text-small", 1024, smallest=None, context_tokens=32_768, tasks=_V5_TASKS, normalized=True
    ),
    EmbeddingModel("jina-code-embeddings-0.5b", 896, smallest=None, context_tokens=32_768, tasks=_CODE_TASKS),
    EmbeddingModel("jina-code-embeddings-1.5b", 1536, smallest=None, context_tokens=32_768, tasks=_CODE_TASKS),
    EmbeddingModel("jina-clip-v2", 1024, smallest=64, context_tokens=8192, tasks=(QUERY,), normalized=True),
)
MODELS: Mapping[str, EmbeddingModel] = MappingProxyType({model.name: model for model in _TABLE})


@dataclass(frozen=True, slots=True)
class Profile:
    """Settings that the model can do, and what to send for them.

    `passage_fields` go with documents, `query_fields` with a search: all of the request body but `input`. `fingerprint`
    holds what decides a vector; the collection keeps it.
    """

    model: str
    dimension: int
    max_input_tokens: int | None
    max_inputs: int
    max_request_tokens: int | None
    task: str | None
    query_task: str | None
    late_chunking: bool
    passage_fields: Fields
    query_fields: Fields
    fingerprint: Mapping[str, str | int | bool | None]

    def fields(self, task: str | None = None) -> Fields:
        """What to send with texts embedded for `task`; None: as documents are."""
        return self.passage_fields if task is None or task == self.task else {**self.query_fields, "task": task}


def resolve(settings: JinaSettings) -> Profile:
    """Check the settings against the model. Raises ConfigurationError with the model's own list of what it can do."""
    openai = settings.dialect == "openai"
    model = _openai_model(settings) if openai else _model(settings.model)
    dimension = _dimension(model, settings.dimensions)
    task = _task(model, settings.task)
    if settings.late_chunking and not model.late_chunking:
        able = ", ".join(other.name for other in _TABLE if other.late_chunking)
        raise _refusal("late_chunking", f"{model.name} has no late chunking", f"Turn it off, or use {able}.")
    base64_field = "encoding_format" if openai else "embedding_type"
    fields: dict[str, str | int | bool] = {"model": model.name, base64_field: "base64"}
    if model.smallest is not None:
        fields["dimensions"] = dimension
    if model.normalized:
        fields["normalized"] = True
    if settings.truncate:
        fields["truncate"] = True
    late = {"late_chunking": True} if settings.late_chunking else {}
    query_task = _query_task(model, task)
    return Profile(
        model=model.name,
        dimension=dimension,
        max_input_tokens=model.context_tokens or None,
        max_inputs=MAX_INPUTS,
        max_request_tokens=model.max_request_tokens,
        task=task,
        query_task=query_task,
        late_chunking=settings.late_chunking,
        passage_fields=MappingProxyType(fields | _task_field(task) | late),
        query_fields=MappingProxyType(fields | _task_field(query_task)),
        fingerprint=MappingProxyType(
            {
                "model": settings.model,
                "dimensions": dimension,
                "task": task,
                "normalized": model.normalized or None,
                "truncate": settings.truncate,
                "late_chunking": settings.late_chunking,
            }
        ),
    )


def _openai_model(settings: JinaSettings) -> EmbeddingModel:
    """Any name, and only what OpenAI's request can hold; what the model can do is the server's affair.

    `dimensions` is not sent: servers refuse it for vectors that they cannot cut. Answers' lengths are checked.
    """
    if settings.dimensions is None:
        raise _refusal(
            "dimensions", "the openai dialect needs it", "Set it to the length of the vectors the server's model gives."
        )
    if settings.task is not None:
        raise _refusal("task", "the openai dialect has no tasks", "Leave it unset, or use the jina dialect.")
    for name in ("late_chunking", "truncate"):
        if getattr(settings, name):
            raise _refusal(name, f"the openai dialect has no {name}", "Turn it off, or use the jina dialect.")
    return EmbeddingModel(settings.model, settings.dimensions, smallest=None, context_tokens=0)


def _model(name: str) -> EmbeddingModel:
    model = MODELS.get(name)
    if model is not None:
        return model
    near = difflib.get_close_matches(name, MODELS, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise _refusal(
        "model",
        "there is no such model in the jina dialect",
        f"{hint}Known: {', '.join(MODELS)}. For another server's models set jina.dialect to openai.",
    )


def _dimension(model: EmbeddingModel, wanted: int | None) -> int:
    smallest = model.smallest or model.dimension
    if wanted is None:
        return model.dimension
    if smallest <= wanted <= model.dimension:
        return wanted
    allowed = f"{smallest} to {model.dimension}" if smallest < model.dimension else f"{model.dimension} only"
    raise _refusal("dimensions", f"{model.name} cannot give {wanted} dimensions", f"Allowed: {allowed}.")


def _task(model: EmbeddingModel, wanted: str | None) -> str | None:
    if wanted is None:
        return model.document_task
    if wanted in model.tasks:
        return wanted
    fix = f"Its tasks: {', '.join(model.tasks)}." if model.tasks else "It has no tasks: leave it unset."
    raise _refusal("task", f"{model.name} does not have this task", fix)


def _query_task(model: EmbeddingModel, task: str | None) -> str | None:
    """The task of a search among documents of `task`: the other side where there are two, else the same."""
    if task is None:
        return QUERY if QUERY in model.tasks else None
    asked = task.removesuffix(".passage") + ".query"
    return asked if task.endswith(".passage") and asked in model.tasks else task


def _task_field(task: str | None) -> dict[str, str]:
    return {} if task is None else {"task": task}


def _refusal(setting: str, what: str, fix: str) -> ConfigurationError:
    return ConfigurationError(what, f"jina.{setting}", fix)
