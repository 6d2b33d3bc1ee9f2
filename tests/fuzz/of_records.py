"""Records: whatever stands in key, value and headers, it becomes a dead letter, or an event that can be kept."""

import json
import random
from collections.abc import Callable

from hypothesis import strategies as st
from qdrant_client import grpc as q

from fuzz.mutation import DICE, NUMBERS, damaged, mutated
from fuzz.target import CANARY, Target, plain, told
from streamdex.config import CapsSettings, MappingSettings, Settings
from streamdex.deadletter.headers import dead_letter_headers, parse_dead_letter, replay_headers
from streamdex.errors import Reason, RecordFault, Stage
from streamdex.index.encoding.requests import with_points
from streamdex.index.guards import Guards
from streamdex.index.schema.manifests import ManifestFormat
from streamdex.index.schema.payload import PackedVector, PointFormat, check_payload, indexed_at
from streamdex.intake import Decoder
from streamdex.kafka.position_headers import PREFIX, Headers, build_position, first_position, parse_position
from streamdex.model import DocumentWrite, Event, Order, Position, Record
from streamdex.plan import Chunker, Planner, Ranking

NOW_MS = 1_795_000_000_123
CAPS = CapsSettings(record_bytes=8_192, payload_bytes=8_192, document_tokens=2_000)
SETTINGS = Settings(caps=CAPS, chunk={"max_tokens": 64})
MAPPINGS = (
    MappingSettings(),
    MappingSettings(
        id="id", text="{text} {metadata.a}", metadata="metadata", version="version", deleted_when="op == 'delete'"
    ),
    MappingSettings(id="after.id", text="after.text", metadata="after.a, after.b.0", deleted="after.gone"),
)
DECODERS = tuple(Decoder(Settings(caps=CAPS, mapping=mapping)) for mapping in MAPPINGS)
PLANNER = Planner(SETTINGS, Chunker(SETTINGS), 0)
RANKING = Ranking(Order.OFFSET, 0, 0)
RANKING.add_bases({("documents", 0, 0): 1_790_000_000_000})

VALUES = [
    json.dumps(value).encode()
    for value in (
        {"id": "doc-1", "text": "some text, " * 20, "metadata": {"a": 1, "b": [1.5, None, True, {"c": CANARY}]}},
        {"id": 77, "op": "upsert", "text": f"ein Text, naïve 🙂 {CANARY}", "version": 12},
        {"id": "doc-2", "op": "delete", "version": 13},
        {"text": "the key is the id", "metadata": {}},
        {"id": "x", "text": "paragraph\n\n" * 60, "metadata": {"a": "b" * 300}},
        {"after": {"id": 5, "text": CANARY, "a": {"b": [1, 2]}, "b": [{"c": 2.5}], "gone": "false"}},
    )
]
FAULT = RecordFault(Stage.EMBED, Reason.REFUSED_BY_EMBEDDER, "Jina answered 400")
POSITION = Position("documents", 0, 0, 7, 1_790_000_000_000)
LETTER = dead_letter_headers(
    Record("documents", 0, 7, 1, b"k", b"v", (("own", b"1"),)), FAULT, POSITION, NOW_MS, "w", 2
)
HEADER_VALUES = [value for _, value in LETTER if value]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", CANARY]), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["id", "op", "text", "metadata", "version", "after", CANARY])
OBJECTS = st.dictionaries(st.sampled_from(["a", "b", CANARY]), JSON, max_size=4)
EVENTS = st.fixed_dictionaries(
    {"text": st.text()}, optional={"id": JSON, "metadata": OBJECTS, "version": st.integers()}
)
MADE = st.builds(
    lambda value: json.dumps(value).encode(),  # unlike orjson it writes NaN and wide integers, as some producers do
    EVENTS | EVENTS | st.dictionaries(NAMES, JSON) | JSON,
)


def _damaged_headers(headers: Headers, rng: random.Random) -> Headers:
    """Some left out, doubled, renamed or with another value."""
    found = [header for header in headers if rng.random() < 0.97]
    for place in range(len(found)):
        name, value = found[place]
        if rng.random() < 0.15:
            found[place] = name, rng.choice((None, rng.choice(NUMBERS), damaged(value or b"", HEADER_VALUES, rng)))
        if rng.random() < 0.03:
            found[place] = rng.choice((CANARY, "", PREFIX, "streamdex.version", rng.choice(found)[0])), value
    if found and rng.random() < 0.1:
        found.insert(rng.randint(0, len(found)), (rng.choice(found)[0], rng.choice(HEADER_VALUES)))
    return tuple(found)


VERSIONED = (("streamdex.version", b"7"),)
HEADERS = st.builds(_damaged_headers, st.sampled_from(((), VERSIONED, build_position(POSITION), LETTER)), DICE)


def _decode(one: tuple[bytes | None, bytes | None, Headers, Decoder]) -> str:
    value, key, headers, decoder = one
    try:
        event = decoder.decode(Record("documents", 0, 5, 6, key, value, headers), epoch=0)
        assert isinstance(event, Event)
        assert event.document_id
        _keep(event)
    except RecordFault as fault:
        told(fault)
        return f"dead letter: {fault.reason.value}"
    return "delete" if event.text is None else "upsert"


def _keep(event: Event) -> None:
    """All that stands between an event and its first request to the store."""
    guards = Guards(Order.OFFSET)
    write = PLANNER.decide(event, RANKING.rank_of(event), None)
    assert isinstance(write, DocumentWrite)
    metadata = check_payload(write, CAPS)
    points = PointFormat(guards, "text", "metadata", PackedVector(4))
    shared = points.shared(write, metadata, indexed_at(NOW_MS))
    ones = b"\x00\x00\x80\x3f" * 4
    written = [points.point(chunk, ones, shared) for chunk in write.chunks]
    written.append(ManifestFormat(guards, 1_000).manifest(write, NOW_MS))
    request = q.UpsertPoints.FromString(with_points(q.UpsertPoints(), written))
    assert [point.id.uuid for point in request.points[:-1]] == [chunk.id for chunk in write.chunks]
    texts = [point.payload["text"].string_value for point in request.points[:-1]]
    assert texts == [chunk.text for chunk in write.chunks]


def _read_headers(headers: Headers) -> str:
    """ValueError is these functions' own word for damage; their callers make a dead letter of it, or say so."""
    record = Record("documents", 1, 5, 6, b"k", b"v", headers)
    outcomes = [
        _outcome(lambda: parse_position(headers)),
        _outcome(lambda: parse_dead_letter(record)),
        _outcome(lambda: replay_headers(record)),
    ]
    position = first_position(record, 3)
    dead_letter = dead_letter_headers(record, FAULT, position, NOW_MS, "w")
    facts = parse_dead_letter(record._replace(headers=dead_letter))
    assert (facts.position, facts.stage, facts.message) == (position, "embed", FAULT.message)
    return ", ".join(outcomes)


def _outcome(read: Callable[[], object]) -> str:
    try:
        return "nothing" if read() is None else "read"
    except ValueError:
        return "damaged"


TARGETS = [
    Target(
        "records: value",
        st.tuples(
            mutated(VALUES) | mutated(VALUES) | MADE | st.binary(max_size=300),
            st.just(b"key") | st.none() | st.binary(max_size=9),
            st.just(()),
            st.sampled_from(DECODERS),
        ),
        plain(_decode),
    ),
    Target(
        "records: value and headers",
        st.tuples(st.none() | st.sampled_from(VALUES), st.just(b"key"), HEADERS, st.just(DECODERS[0])),
        plain(_decode),
    ),
    Target("headers of positions and dead letters", HEADERS, plain(_read_headers)),
]
