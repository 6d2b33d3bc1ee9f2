"""What the server says no with: a gRPC status, a message and trailing metadata, worded as the real server words it."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import grpc

F = TypeVar("F", bound=Callable[..., Any])

# The engine raises nothing but bare `Exception`s, so the beginning of the text is all that tells its refusals apart.
_REFUSED_BY_ENGINE = {
    "No point with id": (grpc.StatusCode.NOT_FOUND, "Not found"),
    "Vector dimension error": (grpc.StatusCode.INVALID_ARGUMENT, "Wrong input"),
    "Not existing vector name": (grpc.StatusCode.INVALID_ARGUMENT, "Wrong input"),
    "No appropriate index": (grpc.StatusCode.INVALID_ARGUMENT, "Bad request"),
}


class QdrantRefusal(Exception):
    """A request refused with a gRPC status. `trailers` are sent as trailing metadata."""

    def __init__(self, code: grpc.StatusCode, details: str, trailers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details
        self.trailers = trailers


class Severed(Exception):
    """The connection of a request is to be cut instead of an answer."""


def wrong_input(details: str) -> QdrantRefusal:
    """The request itself cannot be right."""
    return QdrantRefusal(grpc.StatusCode.INVALID_ARGUMENT, f"Wrong input: {details}")


def not_built(what: str) -> QdrantRefusal:
    """The real server can do it and this one cannot: better refused than ignored."""
    return QdrantRefusal(grpc.StatusCode.UNIMPLEMENTED, f"The embedded server does not offer {what}")


def collection_missing(name: str) -> QdrantRefusal:
    """No collection and no alias has this name."""
    return QdrantRefusal(grpc.StatusCode.NOT_FOUND, f"Not found: Collection `{name}` doesn't exist!")


def refusing(function: F) -> F:
    """Turns what the engine raises into a `QdrantRefusal`; anything else is a bug of ours and passes through."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (ValueError, TypeError, OverflowError) as error:  # raised while a message becomes an engine object
            raise wrong_input(str(error)) from error
        except Exception as error:
            if type(error) is not Exception:
                raise
            raise _translated(str(error)) from error

    return wrapper  # type: ignore[return-value]  # functools.wraps keeps the signature, which mypy cannot see


def _translated(message: str) -> QdrantRefusal:
    for beginning, (code, prefix) in _REFUSED_BY_ENGINE.items():
        if message.startswith(beginning):
            return QdrantRefusal(code, f"{prefix}: {message}")
    return QdrantRefusal(grpc.StatusCode.INTERNAL, f"Service internal error: {message}")
