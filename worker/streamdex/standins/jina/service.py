"""The embedding endpoint without HTTP around it: decides everything, awaits nothing.

    reply_or_admitted = service.begin(…)      # refused at once, or let in
    … wait admitted.delay_s …
    reply = service.finish(admitted)
    … send the reply …
    service.leave()                           # only now is its place free

So it runs in virtual time as well as behind a socket.
"""

import hmac
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from enum import StrEnum
from uuid import uuid4

from streamdex.standins.jina.answers import ErrorAnswer, ErrorShape, Refused, limit_error, number, success
from streamdex.standins.jina.faults import (
    ABSURD_RETRY_AFTER_S,
    DEFAULT_DRIP_S,
    JinaFault,
    JinaFaultKind,
    JinaFaults,
    error_of,
    from_header,
    spoil,
)
from streamdex.standins.jina.limits import Limiter, LimitRefusal
from streamdex.standins.jina.options import Options, QuotaHeaders
from streamdex.standins.jina.requests import EmbeddingRequest, parse, peek
from streamdex.standins.jina.stats import JinaStats, RequestNote
from streamdex.standins.jina.vectors import Space, embed

NO_ANSWER = 0  # the status noted for a request that gets none
_HTML = b"<html><head><title>Bad Gateway</title></head><body><center><h1>Bad Gateway</h1></center></body></html>"


class Manner(StrEnum):
    """How a reply is sent."""

    WHOLE = "whole"
    DRIP = "drip"
    HANG = "hang"
    RESET = "reset"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Reply:
    """What to send. `seconds` belongs to the manner: how long to drip, or to hang before the connection is cut.

    `billed`: it carries vectors, also wrong ones.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    manner: Manner = Manner.WHOLE
    seconds: float | None = None
    billed: bool = False


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that was let in: answer it after `delay_s`."""

    request: EmbeddingRequest
    fault: JinaFault | None
    at_s: float
    delay_s: float
    headers: tuple[tuple[str, str], ...] = field(default=())


class JinaService:
    """The embedding endpoint. `wall_clock_s` (epoch seconds) is asked for Retry-After dates alone."""

    def __init__(self, options: Options, rng: Callable[[], float], wall_clock_s: Callable[[], float]) -> None:
        self.options = options
        self.limiter = Limiter(options.limits)
        self.faults = JinaFaults()
        self.stats = JinaStats()
        self._rng = rng
        self._wall_clock_s = wall_clock_s

    def begin(self, authorization: str | None, fault_header: str | None, body: bytes, now_s: float) -> Reply | Admitted:
        """Check the key and the request, then the limits, then the faults."""
        self.stats.requests += 1
        try:
            asked_fault = _asked_fault(fault_header)
            _authorize(authorization, self.options.api_key)
            request = parse(body, self.options.fields)
        except Refused as refused:
            return self._refuse(refused.answer, body, now_s)
        refusal = self.limiter.admit(now_s, request.tokens)
        headers = self._quota_headers(now_s)
        if refusal:
            return self._refuse(limit_error(refusal), body, now_s, headers + self._retry_after(refusal))
        self.stats.peak_concurrency = max(self.stats.peak_concurrency, self.limiter.in_flight)
        fault = self.faults.claim(request.texts, now_s, self._rng, asked_fault)
        return Admitted(request, fault, now_s, self.options.latency.seconds(request.tokens), headers)

    def finish(self, admitted: Admitted) -> Reply:
        """The answer to a request that was let in: vectors, or what its fault makes of them."""
        request, fault = admitted.request, admitted.fault
        if fault and (reply := self._instead(fault)):
            self._note(admitted, reply)
            return reply
        reply = Reply(200, self._answer(request, fault), headers=admitted.headers, billed=True)
        if fault and fault.kind is JinaFaultKind.TRUNCATED_JSON:
            reply = replace(reply, body=reply.body[: len(reply.body) // 2])
        if fault and fault.kind is JinaFaultKind.DRIP:
            reply = replace(reply, manner=Manner.DRIP, seconds=fault.seconds or DEFAULT_DRIP_S)
        if fault and fault.kind is JinaFaultKind.CUT:
            reply = replace(reply, manner=Manner.CUT)
        self.stats.embedded(request.texts, request.tokens)
        self._note(admitted, reply)
        return reply

    def leave(self) -> None:
        """The reply to a request that was let in has been sent, or its client is gone."""
        self.limiter.leave()

    def _answer(self, request: EmbeddingRequest, fault: JinaFault | None) -> bytes:
        space = Space(request.model.name, request.dimension, request.task)
        vectors = embed(request.texts, space, normalized=request.normalized, late_chunking=request.late_chunking)
        rows = number(vectors)
        if fault and fault.spoils_rows:
            rows = spoil(rows, fault, fault.place(request.texts))
        return success(
            request.model.name, rows, request.embedding_type, request.tokens, prompt_tokens=request.model.prompt_tokens
        )

    def _instead(self, fault: JinaFault) -> Reply | None:
        """What a fault sends instead of vectors, if it is of that sort."""
        if error := error_of(fault):
            asked = fault.retry_after(self._wall_clock_s()) if fault.kind is JinaFaultKind.THROTTLE else None
            return self._error(error, (("retry-after", asked),) if asked else ())
        match fault.kind:
            case JinaFaultKind.HTML:
                return Reply(fault.status, _HTML, content_type="text/html")
            case JinaFaultKind.HANG:
                return Reply(NO_ANSWER, b"", manner=Manner.HANG, seconds=fault.seconds)
            case JinaFaultKind.RESET:
                return Reply(NO_ANSWER, b"", manner=Manner.RESET)
            case _:
                return None

    def _error(self, answer: ErrorAnswer, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
        shape = self.options.error_shape
        if shape and answer.shape is not ErrorShape.VALIDATION:
            answer = replace(answer, shape=shape)
        return Reply(answer.status, answer.body(uuid4().hex), headers=headers)

    def _refuse(
        self, answer: ErrorAnswer, body: bytes, now_s: float, headers: tuple[tuple[str, str], ...] = ()
    ) -> Reply:
        model, inputs, sent = peek(body)
        self.stats.note(RequestNote(now_s, answer.status, answer.code, model, inputs, 0, sent))
        return self._error(answer, headers)

    def _note(self, admitted: Admitted, reply: Reply) -> None:
        request, fault = admitted.request, admitted.fault
        self.stats.note(
            RequestNote(
                at_s=admitted.at_s,
                status=reply.status,
                code=None,
                model=request.model.name,
                inputs=len(request.texts),
                tokens=request.tokens,
                sent=request.sent,
                fault=fault.kind.value if fault else None,
            )
        )

    def _quota_headers(self, now_s: float) -> tuple[tuple[str, str], ...]:
        if self.options.quota_headers is QuotaHeaders.ABSENT:
            return ()
        left = self.limiter.remaining(now_s)
        known = (("x-ratelimit-remaining-requests", left.requests), ("x-ratelimit-remaining-tokens", left.tokens))
        return tuple((name, str(value)) for name, value in known if value is not None)

    def _retry_after(self, refusal: LimitRefusal) -> tuple[tuple[str, str], ...]:
        wait_s = refusal.wait_s if math.isfinite(refusal.wait_s) else ABSURD_RETRY_AFTER_S
        match self.options.quota_headers:
            case QuotaHeaders.SECONDS:
                return (("retry-after", str(math.ceil(wait_s))),)
            case QuotaHeaders.DATE:
                # HTTP dates have whole seconds; rounded up, a client that obeys is not early.
                return (("retry-after", formatdate(math.ceil(self._wall_clock_s() + wait_s), usegmt=True)),)
            case QuotaHeaders.ABSURD:
                return (("retry-after", str(ABSURD_RETRY_AFTER_S)),)
            case QuotaHeaders.ABSENT:
                return ()


def _authorize(authorization: str | None, api_key: str | None) -> None:
    """Raise Refused unless the header carries the key (any key, when none is set)."""
    if not authorization:
        raise Refused(ErrorAnswer(401, "Missing API key. Send it as a Bearer token.", "AUTH_MISSING_API_KEY"))
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Refused(ErrorAnswer(401, "Invalid Authorization header format.", "AUTH_INVALID_FORMAT"))
    if api_key is not None and not hmac.compare_digest(key.strip().encode(), api_key.encode()):
        raise Refused(ErrorAnswer(401, "Invalid API key.", "AUTH_INVALID_API_KEY"))


def _asked_fault(header: str | None) -> JinaFault | None:
    if header is None:
        return None
    try:
        return from_header(header)
    except ValueError as error:
        raise Refused(ErrorAnswer(422, f"x-streamdex-fault: {error}", "STAND_IN_UNKNOWN_FAULT")) from None
