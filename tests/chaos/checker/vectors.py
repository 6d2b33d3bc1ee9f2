"""Whether each vector is that of its text: the stand-in for Jina is asked anew, a private one without limits or faults.

Answers put in the wrong order would otherwise pass unseen: all texts would be there, and all vectors.
"""

import asyncio
import json
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np  # qdrant-client needs it as well
from qdrant_client import AsyncQdrantClient

from chaos.checker.report import Report

PAGE = 256
ALIKE = 0.9999  # cosine; the texts of a campaign share most words, their vectors lie around 0.9
START_LIMIT_S = 30.0

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


async def check_vectors(client: AsyncQdrantClient, collection: str, fingerprint: Mapping[str, Any]) -> Report:
    """Every point's vector against its text. `fingerprint`: how the collection says that its vectors were made."""
    report = Report()
    count = 0
    least = 1.0
    async with _embedder() as url:
        offset = None
        while True:
            points, offset = await client.scroll(
                collection, limit=PAGE, offset=offset, with_payload=True, with_vectors=True
            )
            texts = [str((point.payload or {}).get("text")) for point in points]
            wanted = await asyncio.to_thread(_embed, url, texts, fingerprint)
            found = _unit(np.array([point.vector for point in points], dtype=np.float64))
            for point, cosine in zip(points, np.sum(wanted * found, axis=1), strict=True):
                least = min(least, float(cosine))
                if not cosine >= ALIKE:  # NaN is not
                    report.violate("I2", "a vector is not that of its text", point=str(point.id), cosine=float(cosine))
            count += len(points)
            if offset is None:
                break
    report.figures = {"vectors": count, "least cosine": round(least, 6)}
    return report


def _embed(url: str, texts: Sequence[str], fingerprint: Mapping[str, Any]) -> Any:
    if not texts:
        return np.zeros((0, 1))
    fields = {name: fingerprint[name] for name in ("model", "dimensions", "task") if fingerprint.get(name) is not None}
    body = json.dumps({**fields, "input": texts, "embedding_type": "float"}).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer checker"}
    request = urllib.request.Request(f"{url}/v1/embeddings", body, headers)  # noqa: S310  # loopback, of our making
    with _DIRECT.open(request, timeout=60) as answer:
        data = json.load(answer)["data"]
    rows = sorted(data, key=lambda row: int(row["index"]))
    return _unit(np.array([row["embedding"] for row in rows], dtype=np.float64))


def _unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True) if len(rows) else rows


@asynccontextmanager
async def _embedder() -> AsyncIterator[str]:
    """A stand-in of our own; its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    arguments = ["-m", "streamdex.cli", "serve-embeddings", "--port", str(port)]
    arguments += ["--requests-per-minute", "0", "--tokens-per-minute", "0", "--concurrency", "0"]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(START_LIMIT_S):
            while not await asyncio.to_thread(_answers, port):
                await asyncio.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


def _answers(port: int) -> bool:
    try:
        with _DIRECT.open(f"http://127.0.0.1:{port}/", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False
