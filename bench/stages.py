"""Samples of the worker's stacks, sorted by stage, beside the budget of the hot path."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import orjson

from bench.neighbours import ROOT


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the work: its budget in µs per document, and what its stacks hold.

    A stack belongs to the first stage of which it holds a mark: a part of a frame's `path:line:function`.
    """

    name: str
    budget_us: float
    marks: tuple[str, ...]


# From the narrow to the wide: code that several stages call is reached only through them.
STAGES = (
    Stage(
        "decode and validate",
        5,
        ("worker/streamdex/intake/decoder.py", "worker/streamdex/intake/formats/", ":Dispatcher._decode"),
    ),
    Stage("hash, ids, order", 7, ("worker/streamdex/plan/", ":check_payload")),
    Stage("base64 and checks", 5, ("worker/streamdex/embed/http/answers.py",)),
    Stage("HTTP", 11, ("worker/streamdex/embed/http/client.py", "/aiohttp/", "/httpx/", "/httpx_aiohttp/")),
    Stage("batch and request", 5, ("worker/streamdex/embed/", ":DocumentPath._embed_job")),
    Stage("manifest read", 10, (":Reader.manifests", ":Writer.delete_overtaken")),
    Stage("guarded upsert", 35, ("worker/streamdex/index/points.py",)),
    Stage("manifest write, read-back", 25, ("worker/streamdex/index/writer.py",)),
    Stage(
        "settle, commit, metrics",
        6,
        ("worker/streamdex/settle/", ":Dispatcher._settle"),
    ),
    Stage("Kafka", 10, ("worker/streamdex/intake/", "/aiokafka/", ":Dispatcher.accept")),
    Stage("gRPC calls", 0, ("/grpc/", "/qdrant_client/")),
    Stage("documents", 0, ("worker/streamdex/run/", "worker/streamdex/index/write_queue.py")),
    Stage("event loop, sockets", 10, ("/asyncio/", "/selectors.py")),
    Stage("other", 0, ("",)),
)


@dataclass(frozen=True, slots=True)
class StageShare:
    """What a stage took."""

    name: str
    budget_us: float
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Profile:
    """The samples of one pass, scaled to µs per document of the unsampled worker.

    `functions` are the dearest places by their own time, as `file:line function`.
    """

    stages: tuple[StageShare, ...]
    functions: tuple[tuple[str, float], ...]


def read_samples(samples: bytes, cpu_us: float, functions: int = 30) -> Profile:
    """Sort what the sampler wrote. `cpu_us` is what a document costs the worker when nobody samples."""
    content: dict[str, Any] = orjson.loads(samples)
    by_stage: defaultdict[str, float] = defaultdict(float)
    by_function: defaultdict[str, float] = defaultdict(float)
    for stack, seconds in content["stacks"]:
        by_stage[_stage(stack).name] += seconds
        by_function[_place(stack)] += seconds
    apart = {"garbage collection": content["collected_s"], "threads of gRPC and others": content["other_threads_s"]}
    total_s = sum(by_stage.values()) + sum(apart.values())
    scale = cpu_us / total_s
    shares = [StageShare(stage.name, stage.budget_us, by_stage[stage.name] * scale) for stage in STAGES]
    shares += [StageShare(name, 0, seconds * scale) for name, seconds in apart.items()]
    dearest = sorted(((place, seconds * scale) for place, seconds in by_function.items()), key=lambda pair: -pair[1])
    return Profile(tuple(shares), tuple(dearest[:functions]))


def _stage(stack: list[str]) -> Stage:
    return next(stage for stage in STAGES if any(mark in frame for mark in stage.marks for frame in stack))


def _place(stack: list[str]) -> str:
    """The innermost frame; where it is a library's, also the innermost of ours."""
    inner = _short(stack[0])
    ours = next((frame for frame in stack if "/worker/" in frame), None)
    return inner if ours is None or ours == stack[0] else f"{inner} < {_short(ours)}"


def _short(frame: str) -> str:
    path, line, function = frame.rsplit(":", 2)
    for root in (f"{ROOT}/", "/site-packages/", "/lib/"):
        path = path.rpartition(root)[2]
    return f"{path}:{line} {function}"
