"""Faults and figures over HTTP, for a server that runs as a process of its own.

`GET /stats` · `GET /faults` · `POST /faults` with the fields of a `Fault` · `DELETE /faults` heals all,
`DELETE /faults/NUMBER` one, and tells as `GET` does how often it fired · `POST /release` lets held requests land ·
`POST /reset` cuts every connection.
"""

import json
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from streamdex.standins.qdrant.faults import Fault, Kind
from streamdex.standins.qdrant.server import EmbeddedQdrant

_FIELDS = {"times", "probability", "delay_s", "retry_after_s", "capacity", "marker"}


def control_app(server: EmbeddedQdrant) -> Starlette:
    """The control interface of a server, as an ASGI application."""
    control = _Control(server)
    return Starlette(
        routes=[
            Route("/stats", control.stats),
            Route("/faults", control.faults),
            Route("/faults", control.inject, methods=["POST"]),
            Route("/faults", control.heal, methods=["DELETE"]),
            Route("/faults/{number:int}", control.one_fault, methods=["GET", "DELETE"]),
            Route("/release", control.release, methods=["POST"]),
            Route("/reset", control.reset, methods=["POST"]),
        ]
    )


class _Control:
    def __init__(self, server: EmbeddedQdrant) -> None:
        self._server = server
        self._injected: list[Fault] = []  # a fault's number is its place

    async def stats(self, _: Request) -> JSONResponse:
        stats = self._server.stats
        return JSONResponse(
            {
                "requests": stats.requests,
                "refused": stats.refused,
                "points_upserted": stats.points_upserted,
                "operations": stats.operations,
                "held": self._server.service.held,
            }
        )

    async def faults(self, _: Request) -> JSONResponse:
        return JSONResponse([_described(fault) for fault in self._server.faults.active])

    async def inject(self, request: Request) -> JSONResponse:
        try:
            fault = _parsed(json.loads(await request.body()))
        except (ValueError, TypeError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        self._injected.append(self._server.faults.inject(fault))
        return JSONResponse({"number": len(self._injected) - 1, **_described(fault)}, status_code=201)

    async def one_fault(self, request: Request) -> JSONResponse:
        number = request.path_params["number"]
        if number >= len(self._injected):
            return JSONResponse({"error": "there is no such fault"}, status_code=404)
        if request.method == "DELETE":
            self._server.faults.heal(self._injected[number])
        return JSONResponse({"number": number, **_described(self._injected[number])})

    async def heal(self, _: Request) -> JSONResponse:
        self._server.faults.heal()
        return JSONResponse({})

    async def release(self, _: Request) -> JSONResponse:
        return JSONResponse({"released": await self._server.release()})

    async def reset(self, _: Request) -> JSONResponse:
        await self._server.reset_connections()
        return JSONResponse({})


def _parsed(fields: dict[str, Any]) -> Fault:
    kind = Kind(fields.pop("kind", None))
    methods = frozenset(fields.pop("methods", ()))
    unknown = fields.keys() - _FIELDS
    if unknown:
        raise ValueError(f"unknown fields: {', '.join(sorted(unknown))}")
    return Fault(kind, methods, **fields)


def _described(fault: Fault) -> dict[str, Any]:
    described = {name: getattr(fault, name) for name in sorted(_FIELDS)}
    return {"kind": fault.kind, "methods": sorted(fault.methods), "fired": fault.fired, **described}
