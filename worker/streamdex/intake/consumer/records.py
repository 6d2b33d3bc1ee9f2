"""aiokafka's records become ours."""

from aiokafka import ConsumerRecord

from streamdex.model import Record


def as_record(one: ConsumerRecord) -> Record:
    """The same record as a plain value; bytes are shared, not copied."""
    return Record(one.topic, one.partition, one.offset, one.timestamp, one.key, one.value, one.headers)
