"""A stand-in for the embedding service that costs next to nothing: its vectors are made once, before it is asked.

    python -m bench.stubs.embeddings [--latency-ms N]

Prints its port as one JSON line. `POST /v1/embeddings` answers floats or base64 as asked, `POST /long/v1/embeddings`
floats with all digits of a double, `GET /stats` what was asked.
"""

import argparse
import asyncio
import base64
from enum import Enum, auto
from functools import cache

import numpy as np
import orjson

from bench.stubs.http import NOT_FOUND, Request, Response, json_response, port_of, serve_http

LONG_FLOATS = "/long"  # what a path begins with where floats are wanted so
MODEL_DIMENSION = 1024
DISTINCT_VECTORS = 64  # enough that no two inputs of a usual request get the same
CHARACTERS_PER_TOKEN = 3.5


class Encoding(Enum):
    """How a vector stands in an answer. Floats: the shortest decimals that give the float32 back (about 8 digits), or
    those of the double that some servers make of it first (17).
    """

    BASE64 = auto()
    SHORT = auto()
    LONG = auto()


class Embeddings:
    """Answers and counts."""

    def __init__(self) -> None:
        self.requests = 0
        self.inputs = 0

    def answer(self, request: Request) -> Response:
        """The response to a request."""
        if request.path == "/stats":
            return json_response({"requests": self.requests, "inputs": self.inputs})
        if request.method != "POST" or not request.path.endswith("/embeddings"):
            return NOT_FOUND
        asked = orjson.loads(request.body)
        texts = asked["input"]
        self.requests += 1
        self.inputs += len(texts)
        tokens = round(sum(map(len, texts)) / CHARACTERS_PER_TOKEN)
        usage = b'{"object":"list","usage":{"total_tokens":%d,"prompt_tokens":%d},"data":[' % (tokens, tokens)
        floats = Encoding.LONG if request.path.startswith(LONG_FLOATS) else Encoding.SHORT
        encoding = Encoding.BASE64 if asked.get("embedding_type") == "base64" else floats
        return Response((usage, _data(len(texts), asked.get("dimensions", MODEL_DIMENSION), encoding)))


@cache
def _data(count: int, dimension: int, encoding: Encoding) -> bytes:
    """The end of an answer to `count` inputs."""
    vectors = _vectors(dimension, encoding)
    items = [
        b'{"object":"embedding","index":%d,"embedding":%s}' % (index, vectors[index % DISTINCT_VECTORS])
        for index in range(count)
    ]
    return b",".join(items) + b"]}"


@cache
def _vectors(dimension: int, encoding: Encoding) -> list[bytes]:
    """Normalized vectors as they stand in an answer."""
    rows = np.random.default_rng(0).standard_normal((DISTINCT_VECTORS, dimension)).astype("<f4")
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    match encoding:
        case Encoding.BASE64:
            return [b'"%s"' % base64.b64encode(row.tobytes()) for row in rows]
        case Encoding.SHORT:
            return [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in rows]
        case Encoding.LONG:
            return [orjson.dumps(row.tolist()) for row in rows]


async def _serve(latency_s: float) -> None:
    server = await serve_http(Embeddings().answer, latency_s)
    print(orjson.dumps({"port": port_of(server)}).decode(), flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--latency-ms", type=float, default=0.0)
    options = arguments.parse_args()
    asyncio.run(_serve(options.latency_ms / 1000))
