"""Error answers: whose fault they are, and that nothing of the user's gets into the message."""

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdex.embed.http.errors import Busy, classify, retry_after_s
from streamdex.errors import AccountFault, Reason, ServiceFault, StreamdexError, SuspectFault

NOW_S = 1_800_000_000.0
HTML = b"<html>nginx</html>"


def fault(status: int, body: object = None, **headers: str) -> StreamdexError:
    raw = body if isinstance(body, bytes) else orjson.dumps(body or {"detail": "x"})
    return classify(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw, NOW_S)


SHAPES = [
    {"detail": "Input too long: SECRET TEXT", "request_id": "r", "code": "INPUT_TOKEN_LIMIT_EXCEEDED"},
    {"detail": {"message": "SECRET TEXT", "request_id": "r", "code": "INPUT_TOKEN_LIMIT_EXCEEDED"}},
    {
        "detail": "[RID: 1] Validation errors in 2 fields",
        "errors": [{"field": "body -> task", "message": "SECRET", "type": "extra_forbidden", "input": "SECRET TEXT"}],
    },
]


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_refusal_in_any_shape_is_suspect_and_quotes_nothing(status: int, shape: dict[str, Any]) -> None:
    found = fault(status, shape)
    assert isinstance(found, SuspectFault)
    assert found.reason is Reason.REFUSED_BY_EMBEDDER
    assert "SECRET" not in str(found)
    assert "INPUT_TOKEN_LIMIT_EXCEEDED" in str(found) or "extra_forbidden" in str(found)


@pytest.mark.parametrize("status", [400, 403, 422])
@pytest.mark.parametrize("body", [HTML, b"", b'"text"', b"[1]"])
def test_a_refusal_that_is_not_the_services_own_makes_no_suspects(status: int, body: bytes) -> None:
    found = fault(status, body)
    assert isinstance(found, ServiceFault)
    assert not isinstance(found, Busy)


@pytest.mark.parametrize(
    ("status", "body", "fix"),
    [
        (400, {"detail": "no", "code": "INPUT_MODEL_NOT_FOUND"}, "jina.model"),
        (422, {"detail": {"code": "INPUT_MODEL_NOT_FOUND"}}, "jina.model"),
        (401, {"detail": "no", "code": "AUTH_INVALID_API_KEY"}, "jina.api_key"),
        (401, HTML, "jina.api_key"),
        (402, {"detail": "no"}, "Top up"),
        (403, {"detail": "no", "code": "AUTHZ_INSUFFICIENT_BALANCE"}, "Top up"),
        (404, HTML, "jina.base_url"),
        (404, {"detail": "no", "code": "RESOURCE_NOT_FOUND"}, "jina.model"),
        (405, HTML, "jina.base_url"),
        (407, HTML, "HTTPS_PROXY"),
        (301, b"", "jina.base_url"),
        (308, b"", "jina.base_url"),
    ],
)
def test_what_a_person_must_fix_names_the_fix(status: int, body: object, fix: str) -> None:
    found = fault(status, body)
    assert isinstance(found, AccountFault)
    assert fix in found.fix


@pytest.mark.parametrize("status", [409, 429])
def test_no_input_is_at_fault_for_a_limit(status: int) -> None:
    assert isinstance(fault(status, {"detail": "x", "code": "RATE_REQUEST_LIMIT_EXCEEDED"}), Busy)


@pytest.mark.parametrize("status", [100, 204, 408, 418, 500, 502, 503, 504, 599])
def test_anything_else_is_the_services_fault(status: int) -> None:
    found = fault(status, HTML)
    assert isinstance(found, ServiceFault)
    assert not isinstance(found, Busy)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_comes_along(status: int) -> None:
    found = fault(status, retry_after="17")
    assert isinstance(found, ServiceFault)
    assert found.retry_after_s == 17.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 30 ", 30.0),
        ("9" * 400, 999_999_999.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
        (format_datetime(datetime.fromtimestamp(NOW_S + 90, UTC), usegmt=True), 90.0),
        (format_datetime(datetime.fromtimestamp(NOW_S - 90, UTC), usegmt=True), 0.0),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, NOW_S) == seconds


@pytest.mark.parametrize("errors", [[{"type": []}], [{"type": None}], [[]], {}, "text", [{"type": "Said THE user"}]])
def test_strange_validation_errors_do_not_get_into_the_message(errors: object) -> None:
    assert str(fault(422, {"errors": errors})) == "Jina answered 422"


@given(st.integers(100, 999), st.text(), st.binary(max_size=100))
def test_any_answer_ends_in_a_fault_of_ours(status: int, header: str, body: bytes) -> None:
    assert isinstance(classify(status, {"retry-after": header}, body, NOW_S), StreamdexError)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["detail", "errors", "code", "type"]), inner),
        max_leaves=12,
    )
)
def test_any_json_ends_in_a_fault_of_ours(body: object) -> None:
    assert isinstance(fault(400, body), StreamdexError)
