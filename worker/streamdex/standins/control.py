"""Faults of a stand-in over HTTP, for one that runs as a process of its own.

`POST /_control/faults` with the fields of a fault sets it and returns its number · `GET` lists those in force ·
`DELETE` clears all · `GET` and `DELETE /_control/faults/NUMBER` return how often one fired; `DELETE` also clears it.
"""

from collections.abc import Callable, Collection
from typing import Any, Generic, Protocol, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PREFIX = "/_control"


class ControlledFault(Protocol):
    """What the faults of all stand-ins have in common."""

    kind: Any
    fired: int


F = TypeVar("F", bound=ControlledFault)


class FaultControl(Generic[F]):
    """The routes for the faults of one stand-in.

    `parse` makes a fault of a JSON body and raises ValueError; `clear` clears the fault given, or all for None.
    """

    def __init__(
        self,
        parse: Callable[[bytes], F],
        inject: Callable[[F], object],
        clear: Callable[[F | None], object],
        active: Callable[[], Collection[F]],
    ) -> None:
        self._parse = parse
        self._inject = inject
        self._clear = clear
        self._active = active
        self._all: list[F] = []  # a fault's number is its place; one that was injected in-process gets it when listed

    def routes(self) -> list[Route]:
        """For the application of the stand-in."""
        faults = f"{PREFIX}/faults"
        return [
            Route(faults, self._list),
            Route(faults, self._set, methods=["POST"]),
            Route(faults, self._clear_all, methods=["DELETE"]),
            Route(faults + "/{number:int}", self._one, methods=["GET", "DELETE"]),
        ]

    async def _list(self, _: Request) -> Response:
        return as_json([self._described(fault) for fault in self._active()])

    async def _set(self, request: Request) -> Response:
        try:
            fault = self._parse(await request.body())
        except (ValueError, TypeError) as error:  # pydantic's is a ValueError
            return as_json({"detail": f"not a fault: {error}"}, status=422)
        self._inject(fault)
        return as_json(self._described(fault), status=201)

    async def _clear_all(self, _: Request) -> Response:
        self._clear(None)
        return Response(status_code=204)

    async def _one(self, request: Request) -> Response:
        number = request.path_params["number"]
        if number >= len(self._all):
            return as_json({"detail": "there is no such fault"}, status=404)
        if request.method == "DELETE":
            self._clear(self._all[number])
        return as_json(self._described(self._all[number]))

    def _described(self, fault: F) -> dict[str, Any]:
        number = next((at for at, one in enumerate(self._all) if one is fault), None)
        if number is None:
            number = len(self._all)
            self._all.append(fault)
        return {"number": number, "kind": fault.kind, "fired": fault.fired}


def as_json(value: object, status: int = 200) -> Response:
    """A JSON response; keys need not be strings."""
    body = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    return Response(body, status_code=status, media_type="application/json")
