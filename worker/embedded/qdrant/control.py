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

from worker.embedded.qdrant.faults import Fault, Kind
from worker.embedded.qdrant.server import EmbeddedQdrant

_FIELDS = {"times", "probability", "delay_s", "retry_after_s", "capacity", "marker"}


def control_app(server: EmbeddedQdrant) -> Starlette:
    """The control interface of a server, as an ASGI application."""

    injected: list[Fault] = []  # a fault's number is its place

    async def stats(_: Request) -> JSONResponse:
        return JSONResponse(
            {
                "requests": server.stats.requests,
                "refused": server.stats.refused,
                "points_upserted": server.stats.points_upserted,
                "operations": server.stats.operations,
                "held": server.service.held,
            }
        )

    async def faults(_: Request) -> JSONResponse:
        return JSONResponse([_described(fault) for fault in server.faults.active])

    async def inject(request: Request) -> JSONResponse:
        try:
            fault = _parsed(json.loads(await request.body()))
        except (ValueError, TypeError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        injected.append(server.faults.inject(fault))
        return JSONResponse({"number": len(injected) - 1, **_described(fault)}, status_code=201)

    async def one_fault(request: Request) -> JSONResponse:
        number = request.path_params["number"]
        if number >= len(injected):
            return JSONResponse({"error": "there is no such fault"}, status_code=404)
        if request.method == "DELETE":
            server.faults.heal(injected[number])
        return JSONResponse({"number": number, **_described(injected[number])})

    async def heal(_: Request) -> JSONResponse:
        server.faults.heal()
        return JSONResponse({})

    async def release(_: Request) -> JSONResponse:
        return JSONResponse({"released": await server.release()})

    async def reset(_: Request) -> JSONResponse:
        await server.reset_connections()
        return JSONResponse({})

    return Starlette(
        routes=[
            Route("/stats", stats),
            Route("/faults", faults),
            Route("/faults", inject, methods=["POST"]),
            Route("/faults", heal, methods=["DELETE"]),
            Route("/faults/{number:int}", one_fault, methods=["GET", "DELETE"]),
            Route("/release", release, methods=["POST"]),
            Route("/reset", reset, methods=["POST"]),
        ]
    )


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
