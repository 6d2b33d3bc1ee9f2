"""What was billed, request by request, as lines of JSON: for proving that nothing was paid for twice.

Holds digests of texts, never texts. A line: `began` and `at` (epoch seconds: when the request was there and when it was
answered), `worker` (the request's User-Agent, by which a deployment may tell its replicas apart), `answered` (the
answer was handed over whole to a connection that stood), `fault` (the kind of the fault that the request met, or null),
`tokens` (of the request), `inputs` ([digest, tokens] of each text).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.types import Scope

from streamdex.standins.jina.requests import EmbeddingRequest
from streamdex.standins.jina.stats import digest
from streamdex.standins.jina.tokens import count_tokens


class BillingLog:
    """Appends to a file. `wall_clock_s` gives epoch seconds, `connected` whether the connection of a scope stands."""

    def __init__(self, path: Path, wall_clock_s: Callable[[], float], connected: Callable[[Scope], bool]) -> None:
        self._file = path.open("ab", buffering=0)  # each line is there at once, also when this process is killed
        self._wall_clock_s = wall_clock_s
        self._connected = connected

    def now(self) -> float:
        """The time, as it stands in the lines."""
        return self._wall_clock_s()

    def note(self, scope: Scope, request: EmbeddingRequest, began: float, *, whole: bool, fault: str | None) -> None:
        """One request was billed. `whole`: the answer was not cut short on purpose."""
        line: dict[str, Any] = {
            "began": began,
            "at": self._wall_clock_s(),
            "worker": Request(scope).headers.get("user-agent", ""),
            "answered": whole and self._connected(scope),
            "fault": fault,
            "tokens": request.tokens,
            "inputs": [[digest(text), count_tokens(text)] for text in request.texts],
        }
        self._file.write(orjson.dumps(line) + b"\n")

    def close(self) -> None:
        """Write no more; safe twice."""
        self._file.close()
