"""What each model offers, as the service documents it: the stand-in's own table.

It is kept apart from the client's table on purpose: two tables written from the documentation separately check each
other, one shared table would only agree with itself.
"""

from dataclasses import dataclass
from functools import cached_property

SPECIAL_TOKENS = 2  # a sequence begins and ends with one; the service's limit includes them
EVERY_MODEL_TAKES = frozenset({"model", "input", "embedding_type", "truncate"})

_RETRIEVAL = ("retrieval.query", "retrieval.passage")
_CODE = tuple(
    f"{task}.{side}"
    for task in ("nl2code", "qa", "code2code", "code2nl", "code2completion")
    for side in ("query", "passage")
)


@dataclass(frozen=True)
class Model:
    """One embedding model. `smallest` is the shortest vector it can be cut to; None when its length is fixed.

    `extras` are the request fields it takes besides those that every model takes, `task` and `dimensions`.
    `prompt_tokens` tells whether its answers carry that field beside `total_tokens`.
    """

    name: str
    dimension: int
    smallest: int | None = None
    context_tokens: int = 8192
    tasks: tuple[str, ...] = ()
    default_task: str | None = None
    extras: frozenset[str] = frozenset()
    prompt_tokens: bool = False

    @property
    def max_tokens(self) -> int:
        """Longest input, special tokens included."""
        return self.context_tokens + SPECIAL_TOKENS

    @cached_property
    def fields(self) -> frozenset[str]:
        """The request fields this model takes."""
        by_ability = {"task": bool(self.tasks), "dimensions": self.smallest is not None}
        return EVERY_MODEL_TAKES | self.extras | {name for name, offered in by_ability.items() if offered}

    @property
    def always_normalized(self) -> bool:
        """A model without the field `normalized` gives unit vectors."""
        return "normalized" not in self.extras


def _v2(name: str) -> Model:
    return Model(name, 768, extras=frozenset({"normalized"}), prompt_tokens=True)


_V5_TASKS = (*_RETRIEVAL, "text-matching", "clustering", "classification")
_MODELS = (
    _v2("jina-embeddings-v2-base-en"),
    _v2("jina-embeddings-v2-base-de"),
    _v2("jina-embeddings-v2-base-es"),
    _v2("jina-embeddings-v2-base-zh"),
    _v2("jina-embeddings-v2-base-code"),
    Model(
        "jina-embeddings-v3",
        1024,
        smallest=32,
        tasks=(*_RETRIEVAL, "text-matching", "classification", "separation"),
        extras=frozenset({"normalized", "late_chunking"}),
    ),
    Model(
        "jina-embeddings-v4",
        2048,
        smallest=128,
        context_tokens=32_768,
        tasks=("text-matching", *_RETRIEVAL, "code.query", "code.passage"),
        default_task="text-matching",
        extras=frozenset({"late_chunking", "return_multivector"}),
        prompt_tokens=True,
    ),
    Model(
        "jina-embeddings-v5-text-nano",
        768,
        tasks=_V5_TASKS,
        default_task="text-matching",
        extras=frozenset({"normalized"}),
    ),
    Model(
        "jina-embeddings-v5-text-small",
        1024,
        context_tokens=32_768,
        tasks=_V5_TASKS,
        default_task="text-matching",
        extras=frozenset({"normalized"}),
    ),
    Model("jina-code-embeddings-0.5b", 896, context_tokens=32_768, tasks=_CODE),
    Model("jina-code-embeddings-1.5b", 1536, context_tokens=32_768, tasks=_CODE),
    Model("jina-clip-v2", 1024, smallest=64, tasks=("retrieval.query",), extras=frozenset({"normalized"})),
)
MODELS = {model.name: model for model in _MODELS}
