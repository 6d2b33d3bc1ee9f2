"""Conditions of filters as bytes, each the content of a `Condition`; see `wire.py`. `add` puts them into a filter.

What stands around a number or an id is the same each time, so it is taken from a message of the generated classes.
"""

import struct
from collections.abc import Iterable
from typing import Literal

from qdrant_client import grpc as q

from streamdex.index.encoding.requests import IdField
from streamdex.index.encoding.wire import UUID_BYTES, delimited, key_of

Bound = Literal["lt", "lte", "gt", "gte"]

_DOUBLE = struct.Struct("<d").pack
_DOUBLE_BYTES = 8
_HAS_ID = key_of(q.Condition, "has_id")
_FILTER = key_of(q.Condition, "filter")
_ID = IdField(q.HasIdCondition, "has_id")
_MUST, _SHOULD, _MUST_NOT = [key_of(q.Filter, part) for part in ("must", "should", "must_not")]


class Comparison:
    """Compares a field with a number, as doubles: exact below 2^53."""

    def __init__(self, field: str, bound: Bound) -> None:
        condition = q.Condition(field=q.FieldCondition(key=field, range=q.Range(**{bound: 0.0})))
        self._head = condition.SerializeToString()[:-_DOUBLE_BYTES]

    def with_(self, number: float) -> bytes:
        """The condition."""
        return bytes(self._head + _DOUBLE(number))


class PointAbove:
    """One point whose field is above a number: as `group(must=(has_id((uuid,)),), should=(above,))`, at a third of its
    cost, since a batch of new documents has one for each.
    """

    def __init__(self, above: Comparison) -> None:
        text = "0" * UUID_BYTES
        whole = group(must=(has_id((text,)),), should=(above.with_(0.0),))
        self._before, _, after = whole.partition(text.encode())
        self._between = after[:-_DOUBLE_BYTES]

    def with_(self, uuid: str, number: float) -> bytes:
        """The condition. Raises ValueError for an id in another form."""
        text = uuid.encode()
        if len(text) != UUID_BYTES:
            raise ValueError("a UUID has 36 characters")
        return b"".join((self._before, text, self._between, _DOUBLE(number)))


def has_id(uuids: Iterable[str]) -> bytes:
    """One of these ids."""
    return _HAS_ID + delimited(b"".join([_ID.holds(uuid) for uuid in uuids]))


def has_any_id(ids: Iterable[str]) -> bytes:
    """One of these ids, of which some may be numbers: those of points that are not ours."""
    wanted = [q.PointId(num=int(one)) if one.isdecimal() else q.PointId(uuid=one) for one in ids]
    return bytes(q.Condition(has_id=q.HasIdCondition(has_id=wanted)).SerializeToString())


def holds(field: str, value: str | int) -> bytes:
    """A field that holds this keyword or whole number."""
    match = q.Match(keyword=value) if isinstance(value, str) else q.Match(integer=value)
    return bytes(q.Condition(field=q.FieldCondition(key=field, match=match)).SerializeToString())


def group(must: Iterable[bytes] = (), should: Iterable[bytes] = (), must_not: Iterable[bytes] = ()) -> bytes:
    """Conditions that hold together: all of `must`, one of `should` if there is any, none of `must_not`."""
    return _FILTER + delimited(_parts(must, should, must_not))


def add(to: q.Filter, must: Iterable[bytes] = (), should: Iterable[bytes] = (), must_not: Iterable[bytes] = ()) -> None:
    """Add conditions to those that a filter has."""
    to.MergeFromString(_parts(must, should, must_not))


def _parts(must: Iterable[bytes], should: Iterable[bytes], must_not: Iterable[bytes]) -> bytes:
    parts = [_MUST + delimited(condition) for condition in must]
    parts += [_SHOULD + delimited(condition) for condition in should]
    parts += [_MUST_NOT + delimited(condition) for condition in must_not]
    return b"".join(parts)
