"""Any bytes decode to an event or a RecordFault, nothing else, and no message quotes them."""

import json

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from worker.config import CapsSettings, MappingSettings
from worker.errors import RecordFault, Stage
from worker.intake import Decoder
from worker.model import Event, Record

CANARY = "canary-7f3a"
DECODERS = [
    Decoder(MappingSettings(), CapsSettings(record_bytes=2048)),
    Decoder(
        MappingSettings(id="id", text="{text} {metadata.a}", metadata="metadata", version="version", deleted="op"),
        CapsSettings(record_bytes=2048),
    ),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", CANARY]), inner, max_size=4),
    max_leaves=12,
)
ENVELOPES = st.dictionaries(st.sampled_from(["id", "op", "text", "metadata", "version", CANARY]), JSON)
NAMES = st.sampled_from(
    ["streamdex.version", *("__streamdex." + name for name in ("topic", "partition", "epoch", "offset", "timestamp"))]
)
HEADERS = st.lists(st.tuples(NAMES | st.text(max_size=5), st.none() | st.binary(max_size=9)), max_size=7).map(tuple)


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()  # unlike orjson it writes NaN and wide integers, as some producers do


@given(
    value=st.none() | st.binary(max_size=300) | ENVELOPES.map(as_json) | JSON.map(as_json),
    key=st.none() | st.binary(max_size=9),
    headers=HEADERS,
    which=st.sampled_from(range(len(DECODERS))),
)
@example(value=b"[" * 1024 + b"]" * 1024, key=None, headers=(), which=0)
@example(value=b'{"text":' + b"[" * 1000 + b"]" * 1000 + b"}", key=b"k", headers=(), which=1)
@example(value=b'{"metadata":{"a":1e400}}', key=b"k", headers=(), which=1)
def test_an_event_or_a_record_fault(
    value: bytes | None, key: bytes | None, headers: tuple[tuple[str, bytes | None], ...], which: int
) -> None:
    record = Record("documents", 0, 5, 6, key, value, headers)
    outcome = decode(DECODERS[which], record)
    if isinstance(outcome, RecordFault):
        assert outcome.stage is Stage.DECODE
        assert CANARY not in outcome.message
        assert len(outcome.message.encode()) <= 512
    else:
        assert outcome.document_key[:2] in ("s:", "i:")
        assert len(outcome.document_key) > 2
        orjson.dumps(outcome.metadata)  # what was accepted can be stored
        (outcome.text or "").encode()


def decode(decoder: Decoder, record: Record) -> Event | RecordFault:
    try:
        return decoder.decode(record, epoch=0)
    except RecordFault as fault:
        return fault
