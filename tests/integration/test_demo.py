"""`streamdex demo` as a newcomer runs it: a process with nothing around it, and everything embedded."""

import os
import subprocess
import sys
from typing import Any

import orjson
import pytest

DOCUMENTS = 300
# What story.py plays after the first reading, in which each document is indexed once.
UPDATES, DELETES, POISONED = 100, 50, 4
OUTCOMES = {"indexed", "unchanged", "deleted", "superseded", "ignored", "dead_lettered"}


@pytest.fixture(scope="module")
def printed() -> dict[str, Any]:
    """What `--json` prints; nothing else may be printed."""
    surroundings = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    command = (sys.executable, "-m", "streamdex.cli", "demo", "--json", "--documents", str(DOCUMENTS))
    done = subprocess.run(command, env=surroundings, capture_output=True, check=False, timeout=110)  # noqa: S603 - ours
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


def test_it_prints_one_object_of_the_shape_that_scripts_rely_on(printed: dict[str, Any]) -> None:
    assert set(printed) == {"documents", "outcomes", "points", "fold_equal", "search", "embedded"}
    assert set(printed["outcomes"]) == OUTCOMES
    assert all(type(count) is int for count in printed["outcomes"].values())
    assert set(printed["search"]) == {"query", "hits"}
    for hit in printed["search"]["hits"]:
        assert {name: type(value) for name, value in hit.items()} == {"document_id": str, "score": float, "text": str}
    assert printed["embedded"] == {"kafka": True, "jina": True, "qdrant": True}


def test_every_record_has_one_outcome(printed: dict[str, Any]) -> None:
    """The first worker settles the documents; a second group then reads these again, and what came after them."""
    outcomes = printed["outcomes"]
    assert printed["documents"] == DOCUMENTS
    assert sum(outcomes.values()) == DOCUMENTS + DOCUMENTS + UPDATES + DELETES + POISONED
    assert outcomes["dead_lettered"] == POISONED
    assert outcomes["deleted"] == DELETES
    assert outcomes["indexed"] == DOCUMENTS + UPDATES
    # What is delivered again is unchanged; what a newer event has overtaken in its lane by then is superseded.
    assert outcomes["unchanged"] + outcomes["superseded"] == DOCUMENTS


def test_the_collection_equals_the_fold_and_answers_the_question(printed: dict[str, Any]) -> None:
    assert printed["fold_equal"] is True
    assert printed["points"] >= DOCUMENTS - DELETES
    hits = printed["search"]["hits"]
    assert hits
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    assert all(hit["text"] for hit in hits)
    assert "JSON" in printed["search"]["query"]
