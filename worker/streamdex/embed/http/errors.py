"""Status, headers and body of an error answer become one fault of ours. Pure.

Status and code alone decide, since wordings change and may quote the user's input. Of a body only what looks like a
code (capitals and underscores) or the type of a validation error gets into a message.
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from streamdex.errors import AccountFault, Reason, Service, ServiceFault, StreamdexError, SuspectFault

_CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
_ERROR_TYPE = re.compile(r"[a-z]+(_[a-z]+)+")
_ONLY_A_FEW = 3

_KEY = "Put a valid key in jina.api_key (JINA_API_KEY) or its file; a file is read again by itself."
_BALANCE = "Top up the key's balance or give another key; the worker goes on by itself."
_ADDRESS = "Put the address that answers embeddings in jina.base_url."
_MODEL = "Set jina.model to one that the service offers."
_PROXY = "Put the proxy's user and password in HTTPS_PROXY."
_FIXES = {
    401: _KEY,
    402: _BALANCE,
    403: _BALANCE,
    404: f"{_ADDRESS} {_MODEL}",
    405: _ADDRESS,
    407: _PROXY,
    **dict.fromkeys(range(300, 400), _ADDRESS),  # a redirect would carry the key elsewhere, so none is followed
}
_REFUSED = (400, 413, 422)


class Busy(ServiceFault):
    """The service cannot take this now, whatever the input: limits reached, or not reachable at all."""


class Throttled(Busy):
    """429: too much for one of the key's limits. `code` is the service's own name of the limit, if it gave one."""

    def __init__(self, message: str, *, retry_after_s: float | None = None, code: str | None = None) -> None:
        super().__init__(Service.JINA, message, retry_after_s=retry_after_s)
        self.code = code


def is_refusal(fault: Exception) -> bool:
    """Whether the service has read the texts and refuses them. That is an answer: there is nothing to wait out."""
    return isinstance(fault, SuspectFault) and fault.reason is Reason.REFUSED_BY_EMBEDDER


def classify(status: int, headers: Mapping[str, str], body: bytes, now_s: float) -> StreamdexError:
    """The fault that an answer other than 200 stands for. `headers` ignore case, `now_s` is in seconds since 1970.

    400, 413 and 422 with the service's own body make the inputs suspects. Without one (a proxy's page) they count as
    the service's fault, for which an input is dead-lettered only after more tries.
    """
    answer = _parsed(body)
    code = _code(answer)
    message = _message(status, code, answer)
    fix = _fix(status, code, own=answer is not None)
    if fix is not None:
        return AccountFault(Service.JINA, message, fix)
    if status in _REFUSED and answer is not None:
        return SuspectFault(Service.JINA, Reason.REFUSED_BY_EMBEDDER, message)
    asked_s = retry_after_s(headers.get("retry-after"), now_s)
    if status == 429:
        return Throttled(message, retry_after_s=asked_s, code=code)
    return (Busy if status == 409 else ServiceFault)(Service.JINA, message, retry_after_s=asked_s)


def _fix(status: int, code: str | None, *, own: bool) -> str | None:
    if code == "INPUT_MODEL_NOT_FOUND":
        return _MODEL
    if status == 403 and not own:  # a firewall that dislikes a text answers so; the service's own 403 is JSON
        return None
    return _FIXES.get(status)


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """Seconds to wait, from a Retry-After header in seconds or as an HTTP date; None when absent or nonsense."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(min(int(value.strip()[:9]), 10**9))
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now_s)
    except (ValueError, OverflowError):  # OverflowError: a year that timestamp() cannot hold
        return None


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return answer if isinstance(answer, dict) else None


def _code(answer: dict[str, Any] | None) -> str | None:
    """The code, at either level; `detail` may be a string or an object."""
    if answer is None:
        return None
    detail = answer.get("detail")
    levels = (answer, detail) if isinstance(detail, dict) else (answer,)
    codes = (level.get("code") for level in levels)
    return next((code for code in codes if isinstance(code, str) and len(code) <= 64 and _CODE.fullmatch(code)), None)


def _message(status: int, code: str | None, answer: dict[str, Any] | None) -> str:
    errors = answer.get("errors") if answer else None
    kinds = [error.get("type") for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    named = {kind for kind in kinds if isinstance(kind, str) and len(kind) <= 64 and _ERROR_TYPE.fullmatch(kind)}
    details = [detail for detail in (code, *sorted(named)[:_ONLY_A_FEW]) if detail]
    return f"Jina answered {status}" + (f" ({', '.join(details)})" if details else "")


def kind_of(fault: Exception) -> str:
    """The metric's label for a failed request."""
    if isinstance(fault, SuspectFault):
        return fault.reason.value
    for known, label in ((AccountFault, "account"), (Busy, "busy"), (ServiceFault, "service")):
        if isinstance(fault, known):
            return label
    return "internal"
