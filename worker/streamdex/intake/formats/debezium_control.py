"""What Debezium sends beside the changes of rows: heartbeats, transactions, changes of a table's schema.

Specification: Debezium's documentation, "heartbeat.interval.ms", "Transaction metadata", "Schema change topic".
"""

from streamdex.intake.formats.connect_json import payload_of
from streamdex.intake.formats.fields import parsed_key
from streamdex.model import JsonObject, Record

_HEARTBEAT_TOPIC = "__debezium-heartbeat"
_TRANSACTION = frozenset(("status", "id", "event_count", "data_collections"))
_SCHEMA_CHANGE = frozenset(("source", "databaseName", "ddl"))
_TIMES = frozenset(("ts_ms", "ts_us", "ts_ns"))


def control_event(payload: JsonObject, record: Record) -> str:
    """What the record is, where it is known to come from Debezium; empty where it is no control event."""
    if _is_time_alone(payload) or _on_heartbeat_topic(record):
        return "a heartbeat"
    return _by_its_fields(payload)


def must_be_control(payload: JsonObject, record: Record) -> bool:
    """Whether nothing but Debezium sends such a record: a lone `ts_ms` needs the topic or the key of a heartbeat."""
    if _is_time_alone(payload):
        return _on_heartbeat_topic(record) or _has_heartbeat_key(record)
    return bool(_by_its_fields(payload))


def _by_its_fields(payload: JsonObject) -> str:
    fields = payload.keys()
    if fields >= _TRANSACTION and payload["status"] in ("BEGIN", "END"):
        return "a transaction's begin or end"
    if fields >= _SCHEMA_CHANGE and type(payload["source"]) is dict and "connector" in payload["source"]:
        return "a change of a table's schema"
    return ""


def _is_time_alone(payload: JsonObject) -> bool:
    return "ts_ms" in payload and payload.keys() <= _TIMES


def _on_heartbeat_topic(record: Record) -> bool:
    return record.topic.startswith(_HEARTBEAT_TOPIC)


def _has_heartbeat_key(record: Record) -> bool:
    key = parsed_key(record)
    fields = payload_of(key) if type(key) is dict else None
    return type(fields) is dict and fields.keys() == {"serverName"}
