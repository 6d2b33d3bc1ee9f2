"""Faults and figures over HTTP, for a server that runs as a process of its own.

Beside the faults (see `standins/control.py`): `GET /_control/stats`; `POST /_control/release` lets held requests land;
`POST /_control/reset` cuts every connection.
"""

from pydantic import BaseModel, ConfigDict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamdex.standins.control import PREFIX, FaultControl, as_json
from streamdex.standins.qdrant.faults import FaultKind, QdrantFault
from streamdex.standins.qdrant.server import EmbeddedQdrant


class QdrantFaultFields(BaseModel):
    """The fields of a fault, with their types checked."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    kind: FaultKind
    methods: frozenset[str] = frozenset()
    times: int | None = None
    probability: float = 1.0
    delay_s: float | None = None
    retry_after_s: int | None = None
    capacity: int = 0
    marker: str = ""


def control_app(server: EmbeddedQdrant) -> Starlette:
    """The control interface of a server, as an ASGI application."""
    faults = server.faults
    control = FaultControl(_parsed, faults.inject, faults.heal, lambda: faults.active)

    async def stats(_: Request) -> Response:
        counted = server.stats
        names = ("requests", "refused", "points_upserted", "operations")
        return as_json({name: getattr(counted, name) for name in names} | {"held": server.service.held})

    async def release(_: Request) -> Response:
        return as_json({"released": await server.release()})

    async def reset(_: Request) -> Response:
        await server.reset_connections()
        return as_json({})

    return Starlette(
        routes=[
            *control.routes(),
            Route(f"{PREFIX}/stats", stats),
            Route(f"{PREFIX}/release", release, methods=["POST"]),
            Route(f"{PREFIX}/reset", reset, methods=["POST"]),
        ]
    )


def _parsed(body: bytes) -> QdrantFault:
    return QdrantFault(**QdrantFaultFields.model_validate_json(body).model_dump())
