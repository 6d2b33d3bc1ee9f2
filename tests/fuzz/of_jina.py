"""Answers of the embedding service: checked vectors or one fault of ours, whatever its status, headers and body say."""

import json
import math
import struct
from collections.abc import Mapping

import httpx
import pybase64
from hypothesis import strategies as st

from fuzz.mutation import mutated
from fuzz.target import CANARY, Target, plain, told
from streamdex.embed.http.answers import Answer, read_answer, read_quota
from streamdex.embed.http.errors import classify
from streamdex.errors import AccountFault, ServiceFault, SuspectFault

DIMENSION = 4
NOW_S = 1_795_000_000.0


def _vector(*numbers: float) -> str:
    return pybase64.b64encode(struct.pack(f"<{DIMENSION}f", *numbers)).decode()


USAGE = {"total_tokens": 12, "prompt_tokens": 12}
VECTORS = [_vector(1, 0, 0.5, -2), _vector(0.1, 0.2, 0.3, 0.4), _vector(-1, 1, -1, 1)]
NOT_VECTORS = [_vector(0, 0, 0, 0), _vector(math.nan, 1, 1, 1), _vector(math.inf, 0, 0, 0), VECTORS[0][:-4], "====", ""]
ROWS = [{"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(VECTORS)]
ANSWERS = [
    json.dumps({"model": "m", "object": "list", "usage": USAGE, "data": data}).encode()
    for data in (ROWS, ROWS[::-1], [{**row, "embedding": bad} for row, bad in zip(ROWS, NOT_VECTORS, strict=False)])
]
REFUSALS = [
    json.dumps(body).encode()
    for body in (
        {"detail": "Failed to encode text"},
        {"detail": {"code": "INPUT_TOKEN_LIMIT_EXCEEDED", "message": CANARY}},
        {"code": "RATE_TOKEN_LIMIT_EXCEEDED", "message": CANARY, "request_id": "x"},
        {
            "detail": "Validation error",
            "errors": [{"type": "string_type", "field": "body -> input", "message": CANARY}],
        },
        {"code": "INPUT_MODEL_NOT_FOUND", "detail": None},
    )
] + [b"<html><body>502 Bad Gateway</body></html>", b""]
WAITS = [
    b"7",
    b"0",
    b"99999999",
    b"Wed, 21 Oct 2026 07:28:00 GMT",
    b"Wed, 21 Oct 9999 07:28:00 -2359",
    b"-1",
    b"1.5",
    b"",
]
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        b"retry-after": mutated(WAITS) | mutated(WAITS) | st.binary(max_size=20),
        b"x-ratelimit-remaining-requests": mutated([b"17", b"0"]),
        b"x-ratelimit-remaining-tokens": st.text("0123456789²٣ -+.", max_size=20).map(str.encode),
    },
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(VECTORS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["data", "index", "embedding", "usage", "total_tokens", "detail", "code", "errors", "type"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
MADE = JSON.map(lambda value: json.dumps(value).encode())


def _answer(body: bytes) -> str:
    try:
        answer = read_answer(body, len(ROWS), DIMENSION)
    except SuspectFault as fault:
        return told(fault).partition("the answer is wrong: ")[2]
    _check(answer)
    return "vectors"


def _check(answer: Answer) -> None:
    assert len(answer.vectors) == len(ROWS)
    for vector in answer.vectors:
        numbers = struct.unpack(f"<{DIMENSION}f", vector)
        assert all(map(math.isfinite, numbers))
        assert any(numbers)
    assert answer.total_tokens is None or answer.total_tokens >= 0


def _refusal(one: tuple[int, Mapping[bytes, bytes], bytes]) -> str:
    status, raw, body = one
    headers = httpx.Headers(dict(raw))
    fault = classify(status, headers, body, NOW_S)
    assert isinstance(fault, SuspectFault | ServiceFault | AccountFault)
    told(fault)
    if isinstance(fault, ServiceFault) and fault.retry_after_s is not None:
        assert 0 <= fault.retry_after_s < math.inf
    for left in read_quota(headers):
        assert left is None or left >= 0
    return type(fault).__name__


STATUSES = st.sampled_from([204, 301, 400, 400, 401, 402, 403, 404, 407, 409, 413, 422, 422, 429, 429, 500, 503])
TARGETS = [
    Target("Jina: answers", mutated(ANSWERS) | mutated(ANSWERS) | MADE | st.binary(max_size=200), plain(_answer)),
    Target(
        "Jina: refusals",
        st.tuples(STATUSES | st.integers(0, 999), HEADERS, mutated(REFUSALS) | MADE | st.binary(max_size=100)),
        plain(_refusal),
    ),
]
