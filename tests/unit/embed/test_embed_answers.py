"""Answers: what is taken, and that nothing wrong is ever passed on."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdex.embed.http.answers import read_answer
from streamdex.errors import Reason, SuspectFault

DIMENSION = 4


def encoded(*numbers: float) -> str:
    return base64.b64encode(np.array(numbers, dtype="<f4").tobytes()).decode()


def answer(count: int = 3) -> dict[str, Any]:
    data = [
        {"object": "embedding", "index": index, "embedding": encoded(index + 1, 0, 0, 0.5)} for index in range(count)
    ]
    return {"model": "m", "object": "list", "usage": {"total_tokens": 17}, "data": data}


def test_a_good_answer_becomes_packed_vectors() -> None:
    vectors, tokens, _ = read_answer(orjson.dumps(answer()), 3, DIMENSION)
    assert tokens == 17
    assert [np.frombuffer(vector, "<f4").tolist() for vector in vectors] == [[n, 0, 0, 0.5] for n in (1, 2, 3)]


@given(st.permutations(range(130)))
def test_any_order_is_sorted_by_index(order: list[int]) -> None:
    body = answer(130)
    body["data"] = [body["data"][place] for place in order]
    vectors = read_answer(orjson.dumps(body), 130, DIMENSION).vectors
    assert [np.frombuffer(vector, "<f4")[0] for vector in vectors] == list(range(1, 131))


@pytest.mark.parametrize("usage", [None, {}, {"total_tokens": "17"}, {"total_tokens": -1}, {"total_tokens": True}, []])
def test_a_bill_that_is_none_is_none(usage: object) -> None:
    assert read_answer(orjson.dumps({**answer(), "usage": usage}), 3, DIMENSION).total_tokens is None


def _change(**changes: object) -> Callable[[dict[str, Any]], None]:
    return lambda body: body["data"][1].update(changes)


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "one vector too few": lambda body: body["data"].pop(),
    "one vector too many": lambda body: body["data"].append({"index": 3, "embedding": encoded(1, 1, 1, 1)}),
    "no data": lambda body: body.pop("data"),
    "data no list": lambda body: body.update(data={"0": 1}),
    "duplicate index": _change(index=0),
    "missing index": lambda body: body["data"][1].pop("index"),
    "index out of range": _change(index=3),
    "index negative": _change(index=-1),
    "index a truth value": _change(index=True),
    "index a text": _change(index="1"),
    "vector no object": lambda body: body["data"].__setitem__(1, "vector"),
    "missing embedding": lambda body: body["data"][1].pop("embedding"),
    "embedding null": _change(embedding=None),
    "embedding a list": _change(embedding=[1.0, 2.0, 3.0, 4.0]),
    "embedding not base64": _change(embedding="!!!! not base64 !!!!"),
    "embedding badly padded": _change(embedding=encoded(1, 1, 1, 1)[:-1]),
    "embedding not ASCII": _change(embedding="é" * 24),
    "one number too few": _change(embedding=encoded(1, 2, 3)),
    "one number too many": _change(embedding=encoded(1, 2, 3, 4, 5)),
    "NaN": _change(embedding=encoded(1, float("nan"), 1, 1)),
    "infinite": _change(embedding=encoded(1, float("inf"), 1, 1)),
    "minus infinite": _change(embedding=encoded(1, 1, 1, float("-inf"))),
    "zero vector": _change(embedding=encoded(0, 0, -0.0, 0)),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_wrong_answer_is_never_passed_on(change: Callable[[dict[str, Any]], object]) -> None:
    body = answer()
    change(body)
    _refused(orjson.dumps(body))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html><body>Bad gateway</body></html>", orjson.dumps(answer())[:-30], b"[]", b"null", b"\xff\xfe"],
    ids=["empty", "html", "truncated", "list", "null", "bytes"],
)
def test_what_is_no_answer_is_never_passed_on(body: bytes) -> None:
    _refused(body)


@pytest.mark.parametrize("place", [0, 63, 64, 99])
def test_each_vector_of_a_long_answer_is_looked_at(place: int) -> None:
    body = answer(100)
    body["data"][place]["embedding"] = encoded(0, 0, 0, 0)
    _refused(orjson.dumps(body), count=100)


@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_fault_of_ours(body: bytes) -> None:
    _refused(body)


def _refused(body: bytes, count: int = 3) -> None:
    with pytest.raises(SuspectFault) as caught:
        read_answer(body, count, DIMENSION)
    assert caught.value.reason is Reason.WRONG_ANSWER
    assert len(str(caught.value)) < 120
