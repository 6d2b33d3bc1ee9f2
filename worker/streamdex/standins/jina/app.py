"""HTTP around the service: reads a request, waits as long as the latency model says, sends the reply its way."""

from collections.abc import Awaitable, Callable

import orjson
from pydantic import BaseModel, ConfigDict
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from streamdex.standins.control import PREFIX, FaultControl, as_json
from streamdex.standins.jina.billing import BillingLog
from streamdex.standins.jina.faults import JinaFault, JinaFaultKind
from streamdex.standins.jina.service import Admitted, JinaService, Manner, Reply

FAULT_HEADER = "x-streamdex-fault"
STAND_IN_HEADER = (b"x-streamdex-stand-in", b"lexical vectors")
_PLAINLY = (
    "This is streamdex's stand-in for the Jina embedding API: POST /v1/embeddings.\n"
    "Its vectors are lexical: texts that share words are near each other. No model is behind it.\n"
    "Faults: header x-streamdex-fault; GET, POST and DELETE /_control/faults. Statistics: GET /_control/stats.\n"
)
_DRIPS = 20  # a slow answer comes in so many pieces

Sleep = Callable[[float], Awaitable[object]]
Cut = Callable[[Scope], None]


def create_app(
    service: JinaService, clock_s: Callable[[], float], sleep: Sleep, cut: Cut, bills: BillingLog | None = None
) -> Starlette:
    """The application. `cut` ends the connection of a scope abruptly, which ASGI itself has no word for."""
    faults = service.faults
    control = FaultControl(_parsed, lambda fault: faults.add(fault, clock_s()), faults.clear, lambda: faults.active)

    async def stats(_: Request) -> Response:
        """All counters and the log of the last requests."""
        return as_json({**service.stats.as_json(), "faults_fired": dict(faults.fired)})

    return Starlette(
        routes=[
            Route("/", _index),
            Route("/v1/embeddings", Embeddings(service, clock_s, sleep, cut, bills), methods=["POST"]),
            *control.routes(),
            Route(f"{PREFIX}/stats", stats),
        ]
    )


async def _index(_request: Request) -> Response:
    return PlainTextResponse(_PLAINLY)


class Embeddings:
    """POST /v1/embeddings, as a plain ASGI application: some faults need what a response object cannot do."""

    def __init__(
        self, service: JinaService, clock_s: Callable[[], float], sleep: Sleep, cut: Cut, bills: BillingLog | None
    ) -> None:
        self._service = service
        self._clock_s = clock_s
        self._sleep = sleep
        self._cut = cut
        self._bills = bills

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            body = await _read(request, self._service.options.max_body_bytes)
        except ClientDisconnect:
            return
        if body is None:
            await _send_whole(send, Reply(413, orjson.dumps({"detail": "Request body too large"})))
            return
        begun = self._service.begin(
            request.headers.get("authorization"), request.headers.get(FAULT_HEADER), body, self._clock_s()
        )
        if isinstance(begun, Reply):
            await _send_whole(send, begun)
            return
        try:
            await self._carry_out(begun, scope, receive, send)
        finally:
            self._service.leave()

    async def _carry_out(self, admitted: Admitted, scope: Scope, receive: Receive, send: Send) -> None:
        began = self._bills.now() if self._bills is not None else 0.0
        if admitted.delay_s > 0:
            await self._sleep(admitted.delay_s)
        reply = self._service.finish(admitted)
        try:
            await self._send(reply, scope, receive, send)
        finally:
            if reply.billed and self._bills is not None:
                fault = admitted.fault.kind.value if admitted.fault else None
                whole = reply.manner is not Manner.CUT
                self._bills.note(scope, admitted.request, began, whole=whole, fault=fault)

    async def _send(self, reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
        match reply.manner:
            case Manner.WHOLE:
                await _send_whole(send, reply)
            case Manner.DRIP:
                await self._drip(send, reply)
            case Manner.HANG:
                await self._hang(reply.seconds, scope, receive)
            case Manner.RESET:
                self._cut(scope)
                await _until_gone(receive)
            case Manner.CUT:
                await _send_start(send, reply)
                half = reply.body[: len(reply.body) // 2]
                await send({"type": "http.response.body", "body": half, "more_body": True})
                self._cut(scope)
                await _until_gone(receive)

    async def _drip(self, send: Send, reply: Reply) -> None:
        await _send_start(send, reply)
        size = max(1, len(reply.body) // _DRIPS)
        for start in range(0, len(reply.body), size):
            await send({"type": "http.response.body", "body": reply.body[start : start + size], "more_body": True})
            await self._sleep((reply.seconds or 0.0) / _DRIPS)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _hang(self, seconds: float | None, scope: Scope, receive: Receive) -> None:
        """Say nothing until the client leaves; after `seconds`, if given, cut the connection."""
        if seconds is not None:
            await self._sleep(seconds)
            self._cut(scope)
        await _until_gone(receive)


class _FaultFields(BaseModel):
    """The fields of a fault, with their types checked."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    kind: JinaFaultKind
    argument: str = ""
    match: str | None = None
    times: int | None = None
    duration_s: float | None = None
    probability: float = 1.0


def _parsed(body: bytes) -> JinaFault:
    return JinaFault(**_FaultFields.model_validate_json(body).model_dump())


async def _read(request: Request, limit_bytes: int) -> bytes | None:
    """The body, or None when it is larger than the limit."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit_bytes:
            return None
        parts.append(part)
    return b"".join(parts)


async def _send_start(send: Send, reply: Reply) -> None:
    headers = [
        (b"content-type", reply.content_type.encode()),
        (b"content-length", str(len(reply.body)).encode()),
        STAND_IN_HEADER,
        *((name.encode(), value.encode()) for name, value in reply.headers),
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})


async def _send_whole(send: Send, reply: Reply) -> None:
    await _send_start(send, reply)
    await send({"type": "http.response.body", "body": reply.body})


async def _until_gone(receive: Receive) -> None:
    message = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()
