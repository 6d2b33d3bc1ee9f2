"""The independent fold: what a collection must hold, from the produced records alone, and what it does hold.

Nothing of the worker is used here. The collection is read with Qdrant's own client, and the stored formats are read as
the README describes them.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from harness.fixtures_qdrant import QdrantAddress

Texts = dict[str, str]


def fold(messages: Iterable[tuple[bytes | None, bytes | None]]) -> Texts:
    """The newest text of each document by its id, from (key, value) pairs in the order of the log."""
    texts: Texts = {}
    for key, value in messages:
        if value is None:
            texts.pop((key or b"").decode(), None)
            continue
        event = json.loads(value)
        if event.get("op") == "delete":
            texts.pop(str(event["id"]), None)
        else:
            texts[str(event["id"])] = event["text"]
    return texts


@dataclass(slots=True)
class Contents:
    """What a collection holds: texts put together from their chunks, and everything that contradicts itself."""

    texts: Texts = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    points: int = 0


async def read_collection(address: QdrantAddress, collection: str, number: int = 1) -> Contents:
    """Read the collection and all its manifests. `number`: which of the alias' collections it must be."""
    client = address.client()
    try:
        aliases = {alias.alias_name: alias.collection_name for alias in (await client.get_aliases()).aliases}
        if aliases.get(collection) != f"{collection}__{number}":
            return Contents(wrong=[f"{collection} leads to {aliases.get(collection)}"])
        points = [point.payload async for point in _scroll(client, collection)]
        manifests = [point.payload async for point in _scroll(client, f"{collection}__{number}__manifests")]
    finally:
        await client.close()
    return _contents(points, [one for one in manifests if "document_id" in one])


async def _scroll(client: Any, collection: str) -> Any:
    offset = None
    while True:
        points, offset = await client.scroll(collection, limit=1_000, offset=offset, with_payload=True)
        for point in points:
            yield point
        if offset is None:
            return


def _contents(points: list[dict[str, Any]], manifests: list[dict[str, Any]]) -> Contents:
    result = Contents(points=len(points))
    by_document: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for point in points:
        by_document[point["document_id"]].append(point)
    known = Counter(manifest["document_id"] for manifest in manifests)
    result.wrong.extend(f"{key} has {count} manifests" for key, count in known.items() if count > 1)
    result.wrong.extend(f"{key} has points and no manifest" for key in by_document.keys() - known.keys())
    for manifest in manifests:
        key = manifest["document_id"]
        chunks = sorted(by_document.get(key, []), key=lambda point: point["chunk"])
        if [chunk["chunk"] for chunk in chunks] != list(range(len(manifest["chunks"]))):
            places = [chunk["chunk"] for chunk in chunks]
            result.wrong.append(f"{key} lists {len(manifest['chunks'])} chunks and has the places {places}")
        if any(chunk["version"] != manifest["version"] or chunk["chunks"] != len(chunks) for chunk in chunks):
            result.wrong.append(f"{key} has chunks of another event than its manifest's")
        if not manifest.get("tombstone_until"):
            result.texts[key] = "".join(chunk["text"] for chunk in chunks)
    return result


def without_blanks(texts: Texts) -> Texts:
    """Without blanks, which the cutting of a text may drop at its breaks."""
    return {key: "".join(text.split()) for key, text in texts.items()}
