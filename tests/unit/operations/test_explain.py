"""What an event would do, as if it came next: the outcomes that the worker would come to."""

import json
from typing import Any

import pytest

from streamdex.config import Settings
from streamdex.model import Manifest, Outcome, Rank, Record
from streamdex.operations.explain import Forecast, Supposed, forecast
from streamdex.operations.verify.evidence import Expectation
from streamdex.operations.verify.interpretation import Interpreter

TEXT = "First paragraph of the guide.\n\nSecond paragraph of the guide.\n\nThird paragraph of the guide."


def settings_of(**sections: dict[str, Any]) -> Settings:
    return Settings.model_validate({"chunk": {"max_tokens": 10}, **sections})


def told(settings: Settings, value: bytes | None, manifest: Manifest | None, there: set[str] | None = None) -> Forecast:
    listed = set(manifest.chunk_ids) if manifest else set()
    return forecast(settings, "guide", Supposed(value), manifest, listed if there is None else there, 0)


def body(text: str, **more: object) -> bytes:
    return json.dumps({"id": "guide", "text": text, **more}).encode()


def manifest_after(settings: Settings, value: bytes, rank: Rank) -> Manifest:
    """The manifest that the event has left."""
    interpreter = Interpreter(settings, {("documents", 0, 0): 5_000}, 0)
    asked = interpreter.expectation(Record("documents", 0, 0, 0, b"guide", value))
    assert isinstance(asked, Expectation)
    return Manifest("guide", rank, asked.position, asked.chunk_ids, asked.content_hash, 0)


def test_a_new_document_embeds_all_its_chunks() -> None:
    found = told(settings_of(), body(TEXT), None)
    assert found.outcome is Outcome.INDEXED
    assert [chunk.embedded for chunk in found.chunks] == [True] * 3
    assert found.tokens_to_embed == sum(chunk.tokens for chunk in found.chunks) > 0


def test_only_what_is_new_would_be_embedded() -> None:
    settings = settings_of()
    manifest = manifest_after(settings, body(TEXT), Rank(9_000))
    changed = told(settings, body(TEXT.replace("Second", "Other")), manifest)
    assert [chunk.embedded for chunk in changed.chunks] == [False, True, False]
    assert told(settings, body(TEXT), manifest).outcome is Outcome.UNCHANGED
    more = told(settings, body(TEXT, metadata={"team": "ops"}), manifest)
    assert (more.outcome, more.tokens_to_embed) == (Outcome.INDEXED, 0)


def test_a_listed_chunk_whose_point_is_gone_would_be_embedded_again() -> None:
    settings = settings_of()
    manifest = manifest_after(settings, body(TEXT), Rank(9_000))
    found = told(settings, body(TEXT), manifest, set(manifest.chunk_ids[1:]))
    assert [chunk.embedded for chunk in found.chunks] == [True, False, False]


def test_late_chunking_embeds_all_or_nothing() -> None:
    settings = settings_of(jina={"late_chunking": True})
    manifest = manifest_after(settings, body(TEXT), Rank(9_000))
    assert told(settings, body(TEXT, metadata={"team": "ops"}), manifest).tokens_to_embed == 0
    found = told(settings, body(TEXT), manifest, set(manifest.chunk_ids[1:]))
    assert [chunk.embedded for chunk in found.chunks] == [True, True, True]


def test_in_version_order_the_events_version_decides() -> None:
    settings = settings_of(worker={"order": "version"})
    manifest = manifest_after(settings, body(TEXT, version=7), Rank(7, 9_000))
    assert told(settings, body("old", version=6), manifest).outcome is Outcome.SUPERSEDED
    assert told(settings, body("same version, later", version=7), manifest).outcome is Outcome.INDEXED
    missing = told(settings, body("without"), manifest)
    assert (missing.outcome, missing.reason) == (Outcome.DEAD_LETTERED, "no_version")


@pytest.mark.parametrize(
    ("value", "caps", "reason"),
    [
        (b"no JSON", {}, "not_json"),
        (body(TEXT), {"document_chunks": 2}, "too_many_chunks"),
        (body(TEXT), {"document_tokens": 10}, "too_many_tokens"),
        (body("x", metadata={"deep": [[[1]]]}), {"payload_depth": 4}, "too_deep"),
    ],
)
def test_what_would_be_a_dead_letter(value: bytes, caps: dict[str, int], reason: str) -> None:
    found = told(settings_of(caps=caps), value, None)
    assert (found.outcome, found.reason) == (Outcome.DEAD_LETTERED, reason)
    assert found.fault


def test_a_null_value_deletes() -> None:
    settings = settings_of()
    assert told(settings, None, manifest_after(settings, body(TEXT), Rank(9_000))).outcome is Outcome.DELETED
