"""Filters from the wire (protobuf) to the engine's own.

Geographic and slice conditions, and a match on a boolean (which the engine's binding takes for an integer), are
refused: a condition that is silently left out would make a filtered delete destroy what it must not touch.
"""

from collections.abc import Callable, Iterable
from typing import Any

from qdrant_client import grpc as pb
from qdrant_edge import (
    FieldCondition,
    Filter,
    HasIdCondition,
    HasVectorCondition,
    IsEmptyCondition,
    IsNullCondition,
    MatchAny,
    MatchExcept,
    MatchPhrase,
    MatchPrefix,
    MatchSubstring,
    MatchText,
    MatchTextAny,
    MatchValue,
    MinShould,
    NestedCondition,
    RangeDateTime,
    RangeFloat,
    ValuesCount,
)

from streamdex.standins.qdrant.payloads import decode_id
from streamdex.standins.qdrant.refusals import not_built, wrong_input

_BOUNDS = ("gte", "gt", "lte", "lt")

_MATCHES: dict[str, Callable[[Any], Any]] = {
    "keyword": MatchValue,
    "integer": MatchValue,
    "keywords": lambda value: MatchAny(value.strings[:]),
    "integers": lambda value: MatchAny(value.integers[:]),
    "except_keywords": lambda value: MatchExcept(value.strings[:]),
    "except_integers": lambda value: MatchExcept(value.integers[:]),
    "text": MatchText,
    "text_any": MatchTextAny,
    "phrase": MatchPhrase,
    "prefix": MatchPrefix,
    "substring": MatchSubstring,
}


def decode_filter(message: pb.Filter) -> Filter:
    """A filter in the engine's terms; without any clause it matches every point."""
    min_should = None
    if message.HasField("min_should"):
        min_should = MinShould(_conditions(message.min_should.conditions), message.min_should.min_count)
    return Filter(
        must=_conditions(message.must) or None,
        should=_conditions(message.should) or None,
        must_not=_conditions(message.must_not) or None,
        min_should=min_should,
    )


def _conditions(messages: Iterable[pb.Condition]) -> list[Any]:
    return [_condition(message) for message in messages]


def _condition(message: pb.Condition) -> Any:
    kind = message.WhichOneof("condition_one_of")
    if kind is None:
        raise wrong_input("Malformed condition: it has no kind")
    if kind not in _CONDITIONS:
        raise not_built(f"the condition {kind}")
    return _CONDITIONS[kind](getattr(message, kind))


def _field(message: pb.FieldCondition) -> FieldCondition:
    parts: dict[str, Any] = {}
    for part, value in message.ListFields():
        match part.name:
            case "key":
                continue
            case "match":
                parts["match"] = _match(value)
            case "range":
                parts["range"] = RangeFloat(**_bounds(value))
            case "datetime_range":
                parts["range"] = RangeDateTime(**{k: v.ToJsonString() for k, v in _bounds(value).items()})
            case "values_count":
                parts["values_count"] = ValuesCount(**_bounds(value))
            case "is_empty" | "is_null":
                parts[part.name] = value
            case geographic:
                raise not_built(f"the condition {geographic}")
    return FieldCondition(message.key, **parts)


def _match(message: pb.Match) -> Any:
    kind = message.WhichOneof("match_value")
    if kind is None:
        raise wrong_input("Malformed Match condition: it has no value")
    if kind not in _MATCHES:
        raise not_built(f"the match on a {kind}")
    return _MATCHES[kind](getattr(message, kind))


def _bounds(message: Any) -> dict[str, Any]:
    return {bound: getattr(message, bound) for bound in _BOUNDS if message.HasField(bound)}


_CONDITIONS: dict[str, Callable[[Any], Any]] = {
    "field": _field,
    "filter": decode_filter,
    "has_id": lambda condition: HasIdCondition({decode_id(point_id) for point_id in condition.has_id}),
    "is_empty": lambda condition: IsEmptyCondition(condition.key),
    "is_null": lambda condition: IsNullCondition(condition.key),
    "nested": lambda condition: NestedCondition(condition.key, decode_filter(condition.filter)),
    "has_vector": lambda condition: HasVectorCondition(condition.has_vector),
}
